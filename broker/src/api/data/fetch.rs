//! Shell: Fetch, 0 to 16: reads records, for consumers and for followers.
//!
//! From version 3 the whole answer has a limit and its first batch always comes whole; 4 knows transactions, 5 log
//! start offsets, 7 sessions (KIP-227), 9 leader epochs (KIP-320), 12 truncation on fetch, 13 topic ids, 15 a
//! follower's epoch, 16 where the leader is (KIP-951). Below 4 records are converted to the older formats.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_wire::wire::Uuid;
use tokio::task::block_in_place;

use crate::api::context::{RequestContext, Services};
use crate::api::data::current_leader::CurrentLeaders;
use crate::api::data::down_conversion;
use crate::log::config::TargetCompression;
use crate::log::partition_read::FetchBound;
use crate::replica::fetch_session::{Answer, Forgotten, Interest, SessionRequest, Verdict};
use crate::replica::read::{FetchAnswer, FetchTerms};

/// The replica id of an ordinary consumer.
const CONSUMER: i32 = -1;
/// The replica id of a debugging consumer, which may read from any replica.
const DEBUGGER: i32 = -2;
const READ_COMMITTED: i8 = 1;
const ZSTD: u8 = 4;

/// An interest and what was found.
struct Found {
    interest: Interest,
    answer: FetchAnswer,
    /// Whether the answer has null in place of records.
    is_null: bool,
}

impl Found {
    fn new(interest: Interest, answer: FetchAnswer) -> Self {
        Self {
            interest,
            answer,
            is_null: false,
        }
    }

    fn refuse(&mut self, error: ErrorCode) {
        self.answer = FetchAnswer::refused(error);
        self.is_null = true;
    }
}

/// Reads, waiting for more if the client may wait.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    mut request: FetchRequest,
) -> FetchResponse {
    let version = context.header.api_version;
    let replica_id = if version >= 15 {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    let terms = terms(services, version, replica_id, &request);
    let snapshot = services.metadata.snapshot();
    // Only in a session that a newer request has opened there may be something to tell that this version cannot say.
    let asked = match version < 12 && request.session_id != 0 {
        true => request.topics.clone(),
        false => Vec::new(),
    };
    let session = session_request(version, replica_id >= 0, &mut request, |id| {
        snapshot.names.get(&id).cloned()
    });
    let fetch_context = services
        .replicas
        .open_session(session, |id| snapshot.names.get(&id).cloned());

    let mut readable = Vec::new();
    let mut without_topic = Vec::new();
    let mut unknown = Vec::new();
    for interest in fetch_context.interests().iter().cloned() {
        let (error, refused) = match &interest.topic {
            // Consumers are told of these first, as by Apache's.
            None if replica_id < 0 => (ErrorCode::UnknownTopicId, &mut without_topic),
            None => (ErrorCode::UnknownTopicId, &mut unknown),
            Some(topic) if snapshot.partition(topic, interest.partition).is_none() => {
                (ErrorCode::UnknownTopicOrPartition, &mut unknown)
            }
            Some(_) => {
                readable.push(interest);
                continue;
            }
        };
        refused.push(Found::new(interest, FetchAnswer::refused(error)));
    }
    without_topic.append(&mut unknown);
    let unknown = without_topic;
    let terms = if unknown.is_empty() || !readable.is_empty() {
        terms
    } else {
        FetchTerms {
            max_wait: Duration::ZERO,
            ..terms
        }
    };
    drop(snapshot);
    let answers = services.replicas.fetch(terms, &readable).await;
    let mut found: Vec<Found> = readable
        .into_iter()
        .zip(answers)
        .map(|(interest, answer)| Found::new(interest, answer))
        .chain(unknown)
        .collect();
    let verdict = services
        .replicas
        .close_session(fetch_context, &mut found, describe);
    if version < 12 && found.iter().any(|found| found.answer.diverging.is_some()) {
        return unspeakable(request.session_id, asked);
    }
    response(services, context, replica_id, verdict, found)
}

/// The answer if this version has no words for what was found: each partition of the request with the error.
fn unspeakable(session_id: i32, asked: Vec<FetchTopic>) -> FetchResponse {
    let error_code = ErrorCode::UnsupportedVersion.code();
    let responses = asked.into_iter().map(|topic| FetchableTopicResponse {
        topic: topic.topic,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition,
                error_code,
                high_watermark: -1,
                ..PartitionData::default()
            })
            .collect(),
        ..FetchableTopicResponse::default()
    });
    FetchResponse {
        error_code,
        session_id,
        responses: responses.collect(),
        ..FetchResponse::default()
    }
}

fn terms(services: &Services, version: i16, replica_id: i32, request: &FetchRequest) -> FetchTerms {
    let max_bytes = request.max_bytes.min(services.config.fetch_max_bytes);
    let min_bytes = request.min_bytes.min(max_bytes).max(0);
    let is_consumer = replica_id == CONSUMER || replica_id == DEBUGGER;
    let bound = if !is_consumer {
        FetchBound::LogEnd
    } else if request.isolation_level == READ_COMMITTED {
        FetchBound::LastStable
    } else {
        FetchBound::HighWatermark
    };
    FetchTerms {
        replica_id,
        bound,
        // From version 11 consumers may read from followers (KIP-392).
        needs_leader: replica_id >= 0 || (replica_id == CONSUMER && version < 11),
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        min_bytes: usize::try_from(min_bytes).unwrap_or(0),
        max_bytes,
        is_limit_hard: version <= 2,
    }
}

fn session_request(
    version: i16,
    is_follower: bool,
    request: &mut FetchRequest,
    resolve: impl Fn(Uuid) -> Option<bytestring::ByteString>,
) -> SessionRequest {
    let name = |topic: bytestring::ByteString, id: Uuid| {
        if version >= 13 {
            resolve(id)
        } else {
            Some(topic)
        }
    };
    let mut interests = Vec::new();
    for topic in request.topics.drain(..) {
        let name = name(topic.topic, topic.topic_id);
        interests.extend(topic.partitions.into_iter().map(|partition| Interest {
            topic: name.clone(),
            topic_id: topic.topic_id,
            partition: partition.partition,
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            max_bytes: partition.partition_max_bytes,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data.drain(..) {
        let name = name(topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.into_iter().map(|partition| Forgotten {
            topic: name.clone(),
            topic_id: topic.topic_id,
            partition,
        }));
    }
    SessionRequest {
        session_id: request.session_id,
        // Versions without sessions ask for none.
        session_epoch: if version >= 7 {
            request.session_epoch
        } else {
            -1
        },
        uses_topic_ids: version >= 13,
        is_follower,
        interests,
        forgotten,
    }
}

fn describe(found: &Found) -> Answer<'_> {
    Answer {
        topic: found.interest.topic.as_ref(),
        topic_id: found.interest.topic_id,
        partition: found.interest.partition,
        has_records: !found.answer.records.is_empty(),
        high_watermark: found.answer.high_watermark,
        log_start_offset: found.answer.log_start_offset,
        is_error: found.answer.error != ErrorCode::None,
        is_redirect: found.answer.diverging.is_some(),
    }
}

fn response(
    services: &Arc<Services>,
    context: &RequestContext,
    replica_id: i32,
    verdict: Verdict,
    mut found: Vec<Found>,
) -> FetchResponse {
    let version = context.header.api_version;
    let mut leaders = CurrentLeaders::new(services, context);
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    if version < 10 {
        convert_all(services, version, replica_id, &mut found);
    }
    for found in found {
        let topic = found.interest.topic.clone().unwrap_or_default();
        let topic_id = found.interest.topic_id;
        let partition = partition_data(version, found, &mut leaders);
        match responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => {
                last.partitions.push(partition);
            }
            _ => responses.push(FetchableTopicResponse {
                topic,
                topic_id,
                partitions: vec![partition],
            }),
        }
    }
    let nodes = leaders.into_nodes().map(|node| NodeEndpoint {
        node_id: node.id,
        host: node.endpoint.host,
        port: node.endpoint.port,
        rack: node.rack,
    });
    FetchResponse {
        throttle_time_ms: 0,
        error_code: verdict.error.code(),
        session_id: verdict.session_id,
        responses,
        node_endpoints: nodes.collect(),
    }
}

/// What old versions cannot read is converted or refused. What cannot be converted at all makes the whole request fail.
fn convert_all(services: &Services, version: i16, replica_id: i32, found: &mut [Found]) {
    let failed = found
        .iter_mut()
        .find_map(|found| convert(services, version, replica_id, found).err());
    if let Some(error) = failed {
        for found in found {
            found.refuse(error);
        }
    }
}

/// Converts or refuses one partition; fails with what the whole request fails with.
fn convert(
    services: &Services,
    version: i16,
    replica_id: i32,
    found: &mut Found,
) -> Result<(), ErrorCode> {
    let Some(topic) = &found.interest.topic else {
        return Ok(());
    };
    let hosted = services.replicas.partition(topic, found.interest.partition);
    let Some(log) = hosted.and_then(|partition| partition.log()) else {
        return Ok(());
    };
    let config = log.config();
    if config.compression_type == TargetCompression::Codec(ZSTD) {
        found.refuse(ErrorCode::UnsupportedCompressionType);
    } else if version > 3 {
        return Ok(());
    } else if replica_id < 0 && !config.message_downconversion_enable {
        found.refuse(ErrorCode::UnsupportedVersion);
    } else if found.answer.error == ErrorCode::None {
        let magic = if version <= 1 { 0 } else { 1 };
        let offset = found.interest.fetch_offset;
        let records = &found.answer.records;
        // The other connections of this thread go on meanwhile.
        match block_in_place(|| down_conversion::convert(records, magic, offset)) {
            Ok(records) => found.answer.records = records,
            Err(error @ ErrorCode::UnsupportedCompressionType) => found.refuse(error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn partition_data(version: i16, found: Found, leaders: &mut CurrentLeaders<'_>) -> PartitionData {
    let Found {
        interest,
        answer,
        is_null,
    } = found;
    let moved = [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch];
    let current_leader = match &interest.topic {
        Some(topic) if version >= 16 && moved.contains(&answer.error) => {
            let (leader_id, leader_epoch) = leaders.of(topic, interest.partition);
            LeaderIdAndEpoch {
                leader_id,
                leader_epoch,
            }
        }
        _ => LeaderIdAndEpoch::default(),
    };
    let diverging_epoch = answer
        .diverging
        .map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset });
    let aborted = answer.aborted.map(|all| {
        let aborted = |(producer_id, first_offset)| AbortedTransaction {
            producer_id,
            first_offset,
        };
        all.into_iter().map(aborted).collect()
    });
    // Clients of these versions do not know the newer code, and only retry on the older one.
    let error = match answer.error {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        error => error,
    };
    PartitionData {
        partition_index: interest.partition,
        error_code: error.code(),
        high_watermark: answer.high_watermark,
        last_stable_offset: answer.last_stable_offset,
        log_start_offset: answer.log_start_offset,
        diverging_epoch: diverging_epoch.unwrap_or_default(),
        current_leader,
        aborted_transactions: aborted,
        records: (!is_null).then_some(answer.records),
        ..PartitionData::default()
    }
}
