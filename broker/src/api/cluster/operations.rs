//! Pure: which operations a resource knows, as the bit sets of Metadata, DescribeCluster and DescribeGroups (KIP-430).
//!
//! Bit n stands for operation n of `AclOperation`; the sets are those of `AclEntry.supportedOperations`. As long as
//! there is no authorizer every client may do all of them.

/// Stands for "was not asked for".
pub const NOT_ASKED: i32 = i32::MIN;

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// What can be done with a topic.
pub const TOPIC: i32 =
    READ | WRITE | CREATE | DESCRIBE | DELETE | ALTER | DESCRIBE_CONFIGS | ALTER_CONFIGS;
/// What can be done with the cluster.
pub const CLUSTER: i32 = CREATE
    | CLUSTER_ACTION
    | DESCRIBE_CONFIGS
    | ALTER_CONFIGS
    | IDEMPOTENT_WRITE
    | ALTER
    | DESCRIBE;
/// What can be done with a group.
pub const GROUP: i32 = READ | DESCRIBE | DELETE;
