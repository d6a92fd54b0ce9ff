//! Shell: the list of what this broker serves: API, versions, handler. ApiVersions answers from it, so that nothing
//! is advertised that is not there.
//!
//! To add an API write `pub async fn handle(services: &Arc<Services>, context: &RequestContext, request: XRequest)
//! -> XResponse` and a row here, in the order of the keys. Kafka's own ranges are `ApiKey::versions`.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use kafka_wire::api_key::ApiKey;
use kafka_wire::header::{RequestHeader, ResponseHeader};
use kafka_wire::message::Message;
use kafka_wire::reader::Reader;
use kafka_wire::wire::WireError;
use kafka_wire::writer::{Segment, Writer};

use crate::api::admin::{
    alter_configs, create_partitions, create_topics, delete_topics, describe_configs,
    describe_log_dirs, elect_leaders, incremental_alter_configs, list_partition_reassignments,
};
use crate::api::cluster::{api_versions, describe_cluster, metadata};
use crate::api::context::{RequestContext, Services};
use crate::api::data::produce::Pending;
use crate::api::data::{delete_records, fetch, list_offsets, offset_for_leader_epoch, produce};
use crate::api::group::{
    delete_groups, describe_groups, find_coordinator, heartbeat, join_group, leave_group,
    list_groups, offset_commit, offset_delete, offset_fetch, sync_group, txn_offset_commit,
};
use crate::api::replication::{
    allocate_producer_ids, alter_partition, controlled_shutdown, leader_and_isr, stop_replica,
    update_metadata,
};
use crate::api::transaction::{
    add_offsets_to_txn, add_partitions_to_txn, describe_producers, describe_transactions, end_txn,
    init_producer_id, list_transactions, write_txn_markers,
};

/// Where a request came from.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The name of the listener.
    pub listener: &'a Arc<str>,
    /// The client's address.
    pub client_address: IpAddr,
}

/// What goes back to the client.
#[derive(Debug)]
pub enum Reply {
    /// A whole frame, its size in front.
    Send(Vec<Segment>),
    /// Nothing, as a produce with acks=0 wants it.
    Nothing,
    /// The end of the connection.
    Close,
}

/// A reply in the making.
pub type PendingReply = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// How far a handler got at once.
pub enum Started {
    /// The reply is ready.
    Done(Reply),
    /// Records that are appended with those of the next requests, if these are there already; see `produce::append_all`.
    Append(Box<Pending>),
    /// What must happen in request order has happened; the next request may start.
    Staged(PendingReply),
    /// The next request must wait until this one is answered.
    Serial(PendingReply),
}

type Start = fn(&Arc<Services>, RequestContext, Reader) -> Result<Started, WireError>;

/// One API that is served.
struct Row {
    key: ApiKey,
    min_version: i16,
    max_version: i16,
    start: Start,
}

/// A row whose handler is one `async fn`.
macro_rules! row {
    ($key:ident $min:literal..=$max:literal $handle:path) => {
        Row {
            key: ApiKey::$key,
            min_version: $min,
            max_version: $max,
            start: |services, context, mut body| {
                let request = Message::decode(&mut body, context.header.api_version)?;
                let services = Arc::clone(services);
                Ok(Started::Serial(Box::pin(async move {
                    let response = $handle(&services, &context, request).await;
                    reply(&context.header, &response)
                })))
            },
        }
    };
}

/// A row whose handler does what must happen in order at once, and says itself how far it got.
macro_rules! staged_row {
    ($key:ident $min:literal..=$max:literal $start:path) => {
        Row {
            key: ApiKey::$key,
            min_version: $min,
            max_version: $max,
            start: |services, context, mut body| {
                let request = Message::decode(&mut body, context.header.api_version)?;
                Ok($start(services, context, request))
            },
        }
    };
}

/// All that is served, in the order of the keys.
static TABLE: &[Row] = &[
    staged_row!(Produce 0..=10 produce::start),
    row!(Fetch 0..=16 fetch::handle),
    row!(ListOffsets 0..=8 list_offsets::handle),
    row!(Metadata 0..=12 metadata::handle),
    row!(LeaderAndIsr 0..=7 leader_and_isr::handle),
    row!(StopReplica 0..=4 stop_replica::handle),
    row!(UpdateMetadata 0..=8 update_metadata::handle),
    row!(ControlledShutdown 0..=3 controlled_shutdown::handle),
    row!(OffsetCommit 0..=9 offset_commit::handle),
    row!(OffsetFetch 0..=9 offset_fetch::handle),
    row!(FindCoordinator 0..=4 find_coordinator::handle),
    row!(JoinGroup 0..=9 join_group::handle),
    row!(Heartbeat 0..=4 heartbeat::handle),
    row!(LeaveGroup 0..=5 leave_group::handle),
    row!(SyncGroup 0..=5 sync_group::handle),
    row!(DescribeGroups 0..=5 describe_groups::handle),
    row!(ListGroups 0..=4 list_groups::handle),
    row!(ApiVersions 0..=3 api_versions::handle),
    row!(CreateTopics 0..=7 create_topics::handle),
    row!(DeleteTopics 0..=6 delete_topics::handle),
    row!(DeleteRecords 0..=2 delete_records::handle),
    row!(InitProducerId 0..=4 init_producer_id::handle),
    row!(OffsetForLeaderEpoch 0..=4 offset_for_leader_epoch::handle),
    row!(AddPartitionsToTxn 0..=4 add_partitions_to_txn::handle),
    row!(AddOffsetsToTxn 0..=3 add_offsets_to_txn::handle),
    row!(EndTxn 0..=3 end_txn::handle),
    row!(WriteTxnMarkers 0..=1 write_txn_markers::handle),
    row!(TxnOffsetCommit 0..=3 txn_offset_commit::handle),
    row!(DescribeConfigs 0..=4 describe_configs::handle),
    row!(AlterConfigs 0..=2 alter_configs::handle),
    row!(DescribeLogDirs 0..=4 describe_log_dirs::handle),
    row!(CreatePartitions 0..=3 create_partitions::handle),
    row!(DeleteGroups 0..=2 delete_groups::handle),
    row!(ElectLeaders 0..=2 elect_leaders::handle),
    row!(IncrementalAlterConfigs 0..=1 incremental_alter_configs::handle),
    row!(ListPartitionReassignments 0..=0 list_partition_reassignments::handle),
    row!(OffsetDelete 0..=0 offset_delete::handle),
    row!(AlterPartition 0..=3 alter_partition::handle),
    row!(DescribeCluster 0..=1 describe_cluster::handle),
    row!(DescribeProducers 0..=0 describe_producers::handle),
    row!(DescribeTransactions 0..=0 describe_transactions::handle),
    row!(ListTransactions 0..=0 list_transactions::handle),
    row!(AllocateProducerIds 0..=0 allocate_producer_ids::handle),
];

/// Row numbers by key; `None` where nothing is served.
static BY_KEY: LazyLock<Vec<Option<&'static Row>>> = LazyLock::new(|| {
    let last = TABLE.iter().map(|row| row.key.code()).max().unwrap_or(-1);
    (0..=last)
        .map(|key| TABLE.iter().find(|row| row.key.code() == key))
        .collect()
});

/// The keys and version ranges to advertise, ascending.
pub fn advertised() -> impl Iterator<Item = (ApiKey, i16, i16)> {
    TABLE
        .iter()
        .map(|row| (row.key, row.min_version, row.max_version))
}

/// Starts answering one request, given without its size.
///
/// Bytes that are no request, and APIs or versions that are not served, end the connection as Kafka ends it; only
/// ApiVersions answers a version that it does not know, in the format of version 0.
pub fn start(services: &Arc<Services>, origin: Origin<'_>, request: Bytes) -> Started {
    let is_produce = request.first_chunk::<2>() == Some(&ApiKey::Produce.code().to_be_bytes());
    // Strings are slices of the request, and some are kept for long (topics, groups). So that these do not keep the
    // connection's whole buffer, only records stay where they were received.
    let request = if is_produce {
        request
    } else {
        Bytes::copy_from_slice(&request)
    };
    let mut reader = Reader::new(request);
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(error) => return refused(origin.client_address, format_args!("bad header: {error}")),
    };
    let (key, version) = (header.api_key, header.api_version);
    let row = usize::try_from(key.code())
        .ok()
        .and_then(|key| BY_KEY.get(key).copied().flatten());
    let Some(row) = row else {
        return refused(
            origin.client_address,
            format_args!("{} is not served", key.name()),
        );
    };
    if !(row.min_version..=row.max_version).contains(&version) {
        if key == ApiKey::ApiVersions {
            let header = RequestHeader {
                api_version: 0,
                ..header
            };
            return Started::Done(reply(&header, &api_versions::unsupported_version()));
        }
        let reason = format_args!("{} version {version} is not served", key.name());
        return refused(origin.client_address, reason);
    }
    let context = RequestContext {
        header,
        principal: services.anonymous.clone(),
        listener: origin.listener.clone(),
        client_address: origin.client_address,
    };
    match (row.start)(services, context, reader) {
        Ok(started) => started,
        Err(error) => {
            let reason = format_args!("bad {} version {version} request: {error}", key.name());
            refused(origin.client_address, reason)
        }
    }
}

fn refused(client: IpAddr, reason: std::fmt::Arguments<'_>) -> Started {
    tracing::error!("Closing connection from {client}: {reason}");
    Started::Done(Reply::Close)
}

/// Encodes a response for the version of its request.
pub fn reply<R: Message>(header: &RequestHeader, response: &R) -> Reply {
    let mut writer = Writer::with_capacity(256);
    let head = ResponseHeader {
        correlation_id: header.correlation_id,
    };
    let encoded = head
        .encode(&mut writer, header.api_key, header.api_version)
        .and_then(|()| response.encode(&mut writer, header.api_version))
        .and_then(|()| writer.into_frame());
    match encoded {
        Ok(frame) => Reply::Send(frame),
        Err(error) => {
            let (api, version) = (header.api_key.name(), header.api_version);
            tracing::error!("cannot write a {api} version {version} response: {error}");
            Reply::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_stay_within_kafkas_versions() {
        let keys: Vec<ApiKey> = advertised().map(|(key, _, _)| key).collect();
        assert!(
            keys.is_sorted(),
            "ApiVersions lists keys in ascending order: {keys:?}"
        );
        for (key, min, max) in advertised() {
            let (lowest, highest) = key.versions();
            assert!(
                lowest <= min && min <= max && max <= highest,
                "{key:?} {min}-{max}"
            );
            let row = BY_KEY[key.code() as usize].unwrap();
            assert_eq!((row.key, row.min_version, row.max_version), (key, min, max));
        }
    }
}
