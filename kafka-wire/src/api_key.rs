//! Pure: the API keys of a broker in ZooKeeper mode (`common/protocol/ApiKeys.java`).

macro_rules! api_keys {
    ($($variant:ident $key:literal $name:literal versions $min:literal $max:literal
        flexible $flexible:expr;)*) => {
        /// An API that a ZooKeeper-mode 3.7.1 broker serves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("`", $name, "` (", $key, ")")]
                $variant = $key,
            )*
        }

        impl ApiKey {
            /// All keys, ascending.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The API with this key.
            #[must_use]
            pub fn from_code(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The constant's name in Kafka, e.g. `LIST_OFFSETS`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The lowest and highest version of 3.7.1.
            #[must_use]
            pub fn versions(self) -> (i16, i16) {
                match self {
                    $(Self::$variant => ($min, $max),)*
                }
            }

            /// The first version with compact lengths and tagged fields, if there is one.
            #[must_use]
            pub fn first_flexible_version(self) -> Option<i16> {
                match self {
                    $(Self::$variant => $flexible,)*
                }
            }
        }
    };
}

impl ApiKey {
    /// The key on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether this version has compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.first_flexible_version()
            .is_some_and(|first| version >= first)
    }
}

api_keys! {
    Produce 0 "PRODUCE" versions 0 10 flexible Some(9);
    Fetch 1 "FETCH" versions 0 16 flexible Some(12);
    ListOffsets 2 "LIST_OFFSETS" versions 0 8 flexible Some(6);
    Metadata 3 "METADATA" versions 0 12 flexible Some(9);
    LeaderAndIsr 4 "LEADER_AND_ISR" versions 0 7 flexible Some(4);
    StopReplica 5 "STOP_REPLICA" versions 0 4 flexible Some(2);
    UpdateMetadata 6 "UPDATE_METADATA" versions 0 8 flexible Some(6);
    ControlledShutdown 7 "CONTROLLED_SHUTDOWN" versions 0 3 flexible Some(3);
    OffsetCommit 8 "OFFSET_COMMIT" versions 0 9 flexible Some(8);
    OffsetFetch 9 "OFFSET_FETCH" versions 0 9 flexible Some(6);
    FindCoordinator 10 "FIND_COORDINATOR" versions 0 4 flexible Some(3);
    JoinGroup 11 "JOIN_GROUP" versions 0 9 flexible Some(6);
    Heartbeat 12 "HEARTBEAT" versions 0 4 flexible Some(4);
    LeaveGroup 13 "LEAVE_GROUP" versions 0 5 flexible Some(4);
    SyncGroup 14 "SYNC_GROUP" versions 0 5 flexible Some(4);
    DescribeGroups 15 "DESCRIBE_GROUPS" versions 0 5 flexible Some(5);
    ListGroups 16 "LIST_GROUPS" versions 0 4 flexible Some(3);
    SaslHandshake 17 "SASL_HANDSHAKE" versions 0 1 flexible None;
    ApiVersions 18 "API_VERSIONS" versions 0 3 flexible Some(3);
    CreateTopics 19 "CREATE_TOPICS" versions 0 7 flexible Some(5);
    DeleteTopics 20 "DELETE_TOPICS" versions 0 6 flexible Some(4);
    DeleteRecords 21 "DELETE_RECORDS" versions 0 2 flexible Some(2);
    InitProducerId 22 "INIT_PRODUCER_ID" versions 0 4 flexible Some(2);
    OffsetForLeaderEpoch 23 "OFFSET_FOR_LEADER_EPOCH" versions 0 4 flexible Some(4);
    AddPartitionsToTxn 24 "ADD_PARTITIONS_TO_TXN" versions 0 4 flexible Some(3);
    AddOffsetsToTxn 25 "ADD_OFFSETS_TO_TXN" versions 0 3 flexible Some(3);
    EndTxn 26 "END_TXN" versions 0 3 flexible Some(3);
    WriteTxnMarkers 27 "WRITE_TXN_MARKERS" versions 0 1 flexible Some(1);
    TxnOffsetCommit 28 "TXN_OFFSET_COMMIT" versions 0 3 flexible Some(3);
    DescribeAcls 29 "DESCRIBE_ACLS" versions 0 3 flexible Some(2);
    CreateAcls 30 "CREATE_ACLS" versions 0 3 flexible Some(2);
    DeleteAcls 31 "DELETE_ACLS" versions 0 3 flexible Some(2);
    DescribeConfigs 32 "DESCRIBE_CONFIGS" versions 0 4 flexible Some(4);
    AlterConfigs 33 "ALTER_CONFIGS" versions 0 2 flexible Some(2);
    AlterReplicaLogDirs 34 "ALTER_REPLICA_LOG_DIRS" versions 0 2 flexible Some(2);
    DescribeLogDirs 35 "DESCRIBE_LOG_DIRS" versions 0 4 flexible Some(2);
    SaslAuthenticate 36 "SASL_AUTHENTICATE" versions 0 2 flexible Some(2);
    CreatePartitions 37 "CREATE_PARTITIONS" versions 0 3 flexible Some(2);
    CreateDelegationToken 38 "CREATE_DELEGATION_TOKEN" versions 0 3 flexible Some(2);
    RenewDelegationToken 39 "RENEW_DELEGATION_TOKEN" versions 0 2 flexible Some(2);
    ExpireDelegationToken 40 "EXPIRE_DELEGATION_TOKEN" versions 0 2 flexible Some(2);
    DescribeDelegationToken 41 "DESCRIBE_DELEGATION_TOKEN" versions 0 3 flexible Some(2);
    DeleteGroups 42 "DELETE_GROUPS" versions 0 2 flexible Some(2);
    ElectLeaders 43 "ELECT_LEADERS" versions 0 2 flexible Some(2);
    IncrementalAlterConfigs 44 "INCREMENTAL_ALTER_CONFIGS" versions 0 1 flexible Some(1);
    AlterPartitionReassignments 45 "ALTER_PARTITION_REASSIGNMENTS" versions 0 0 flexible Some(0);
    ListPartitionReassignments 46 "LIST_PARTITION_REASSIGNMENTS" versions 0 0 flexible Some(0);
    OffsetDelete 47 "OFFSET_DELETE" versions 0 0 flexible None;
    DescribeClientQuotas 48 "DESCRIBE_CLIENT_QUOTAS" versions 0 1 flexible Some(1);
    AlterClientQuotas 49 "ALTER_CLIENT_QUOTAS" versions 0 1 flexible Some(1);
    DescribeUserScramCredentials 50 "DESCRIBE_USER_SCRAM_CREDENTIALS" versions 0 0 flexible Some(0);
    AlterUserScramCredentials 51 "ALTER_USER_SCRAM_CREDENTIALS" versions 0 0 flexible Some(0);
    AlterPartition 56 "ALTER_PARTITION" versions 0 3 flexible Some(0);
    UpdateFeatures 57 "UPDATE_FEATURES" versions 0 1 flexible Some(0);
    Envelope 58 "ENVELOPE" versions 0 0 flexible Some(0);
    DescribeCluster 60 "DESCRIBE_CLUSTER" versions 0 1 flexible Some(0);
    DescribeProducers 61 "DESCRIBE_PRODUCERS" versions 0 0 flexible Some(0);
    DescribeTransactions 65 "DESCRIBE_TRANSACTIONS" versions 0 0 flexible Some(0);
    ListTransactions 66 "LIST_TRANSACTIONS" versions 0 0 flexible Some(0);
    AllocateProducerIds 67 "ALLOCATE_PRODUCER_IDS" versions 0 0 flexible Some(0);
    ConsumerGroupHeartbeat 68 "CONSUMER_GROUP_HEARTBEAT" versions 0 0 flexible Some(0);
}
