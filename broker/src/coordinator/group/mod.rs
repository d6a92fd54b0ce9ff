//! Consumer groups of the classic protocol.

pub mod commit;
pub mod coordinator;
#[expect(
    clippy::module_inception,
    reason = "the file is named after its main type"
)]
pub mod group;
pub mod join;
pub mod load;
pub mod member;
pub mod membership;
pub mod message;
pub mod offsets;
pub mod records;
pub mod shard;
pub mod subscription;
pub mod sync;
