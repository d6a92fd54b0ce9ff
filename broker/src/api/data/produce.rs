//! Shell: Produce, 0 to 10: appends records.
//!
//! From version 3 a partition's records are exactly one batch of magic 2, from 7 zstd is allowed; 5 tells the log
//! start offset, 8 names bad records (KIP-467), 10 tells where the leader is (KIP-951). Acks 0 wants no answer: an
//! error closes the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use kafka_wire::records::batch::MAGIC_V2;
use kafka_wire::records::entries::{self, Entry, EntryError};
use kafka_wire::wire::Records;

use crate::api::context::{RequestContext, Services};
use crate::api::data::current_leader::CurrentLeaders;
use crate::api::table::{self, Reply, Started};
use crate::log::append::AppendOrigin;
use crate::log::verification::NO_GUARD;
use crate::replica::append::{
    ATTRIBUTES_OFFSET, AppendEntry, AppendRequest, AppendResult, AppendTerms, CODEC_MASK,
};
use crate::replica::verification::Work;
use crate::replica::verification_queue::Question;

/// The client id of Kafka's own tools, the only one that may write internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";
const ZSTD: u8 = 4;
const TRANSACTIONAL: u8 = 0x10;

/// Finds out what may be appended; [`append_all`] does it.
pub fn start(
    services: &Arc<Services>,
    context: RequestContext,
    request: ProduceRequest,
) -> Started {
    if let Some(refusal) = refusal(&request, context.header.api_version) {
        return Started::Done(refused(services, &context, request, &refusal));
    }
    let transactional_id = request.transactional_id.clone();
    let mut plan = Plan::of(services, &context, request);
    if let Some(transactional_id) = transactional_id
        && services.replicas.verifies_transactions()
        && plan.has_valid_acks()
    {
        match services.replicas.guard(&transactional_id, &mut plan.work) {
            Ok(None) => {}
            Ok(Some(question)) => return start_verified(services, context, plan, question),
            Err(several) => {
                plan.refuse_all(ErrorCode::InvalidProducerIdMapping, &several.to_string());
                return Started::Done(answer(services, &context, plan, Vec::new()));
            }
        }
    }
    Started::Append(Box::new(Pending { context, plan }))
}

/// A request that may be appended together with those that follow it.
pub struct Pending {
    context: RequestContext,
    plan: Plan,
}

impl Pending {
    /// How much it brings, in bytes.
    pub fn bytes(&self) -> usize {
        let entries = self.plan.work.entries.iter();
        entries.map(|entry| entry.records.len()).sum()
    }

    /// Whether an error ends the connection, so that nothing that comes later may be appended with it.
    pub fn may_close(&self) -> bool {
        self.plan.acks == 0
    }
}

/// Appends what several requests of one connection brought, at once; only the wait for other replicas is left to the
/// futures.
pub fn append_all(services: &Arc<Services>, pending: Vec<Pending>) -> Vec<Started> {
    let (mut requests, mut asked) = (Vec::new(), Vec::with_capacity(pending.len()));
    for Pending { context, mut plan } in pending {
        requests.push(plan.take_request(&context));
        asked.push((context, plan));
    }
    let appended = services.replicas.append_together(&requests);
    let started = asked.into_iter().zip(appended);
    started
        .map(|((context, plan), appended)| {
            if appended.is_complete() {
                let results = appended.into_results();
                return Started::Done(answer(services, &context, plan, results));
            }
            let services = Arc::clone(services);
            Started::Staged(Box::pin(async move {
                let results = appended.replicated(plan.timeout).await;
                answer(&services, &context, plan, results)
            }))
        })
        .collect()
}

/// Appends after the transaction's coordinator has answered; the connection's next request waits for that.
fn start_verified(
    services: &Arc<Services>,
    context: RequestContext,
    mut plan: Plan,
    question: Question,
) -> Started {
    let services = Arc::clone(services);
    Started::Serial(Box::pin(async move {
        services.replicas.verify(question, &mut plan.work).await;
        let AppendRequest { terms, entries } = plan.take_request(&context);
        let appended = services.replicas.append(terms, entries);
        let results = appended.replicated(plan.timeout).await;
        answer(&services, &context, plan, results)
    }))
}

/// What a request asks for, sorted into what may be tried and what is refused before the log is reached.
struct Plan {
    acks: i16,
    timeout: Duration,
    work: Work,
}

impl Plan {
    fn of(services: &Services, context: &RequestContext, request: ProduceRequest) -> Self {
        let version = context.header.api_version;
        let mut plan = Self {
            acks: request.acks,
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
            work: Work::default(),
        };
        let snapshot = services.metadata.snapshot();
        for topic in request.topic_data {
            for data in topic.partition_data {
                let records = match data.records {
                    Some(Records::Memory(records)) => records,
                    _ => Bytes::new(),
                };
                let error = if snapshot.partition(&topic.name, data.index).is_none() {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    check(&records, version)
                };
                let (topic, partition) = (topic.name.clone(), data.index);
                if error == ErrorCode::None {
                    plan.work.entries.push(AppendEntry {
                        topic,
                        partition,
                        records,
                        guard: NO_GUARD,
                    });
                } else {
                    plan.work
                        .refused
                        .push(AppendResult::failed(topic, partition, error));
                }
            }
        }
        plan
    }

    fn has_valid_acks(&self) -> bool {
        (-1..=1).contains(&self.acks)
    }

    /// What is to be appended, which is no longer here then.
    fn take_request(&mut self, context: &RequestContext) -> AppendRequest {
        let terms = AppendTerms {
            origin: AppendOrigin::Client,
            acks: self.acks,
            internal_allowed: context.client_id() == ADMIN_CLIENT_ID,
        };
        let entries = std::mem::take(&mut self.work.entries);
        AppendRequest { terms, entries }
    }

    /// Refuses all that the request asks for, whatever was found out so far.
    fn refuse_all(&mut self, error: ErrorCode, message: &str) {
        let Work { entries, refused } = std::mem::take(&mut self.work);
        let asked = entries
            .into_iter()
            .map(|entry| (entry.topic, entry.partition));
        let before = refused
            .into_iter()
            .map(|result| (result.topic, result.partition));
        self.work.refused = asked
            .chain(before)
            .map(|(topic, partition)| AppendResult {
                message: Some(message.to_owned()),
                ..AppendResult::failed(topic, partition, error)
            })
            .collect();
    }
}

/// What a version demands of a partition's records (`ProduceRequest.validateRecords`).
fn check(records: &[u8], version: i16) -> ErrorCode {
    if version < 3 {
        return ErrorCode::None;
    }
    match entries::split_first(records) {
        Err(_) => ErrorCode::CorruptMessage,
        Ok(None) => ErrorCode::InvalidRecord,
        Ok(Some((first, rest))) => {
            if first.magic != MAGIC_V2 {
                ErrorCode::InvalidRecord
            } else if version < 7 && codec(first) == ZSTD {
                ErrorCode::UnsupportedCompressionType
            } else {
                match entries::split_first(rest) {
                    Ok(None) => ErrorCode::None,
                    Ok(Some(_)) => ErrorCode::InvalidRecord,
                    Err(_) => ErrorCode::CorruptMessage,
                }
            }
        }
    }
}

/// Why nothing of a request is appended: an answer for all its partitions.
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
}

/// Looks for a transactional batch up to the first one found; only a request that names its transaction may have any.
fn refusal(request: &ProduceRequest, version: i16) -> Option<Refusal> {
    let sent = || {
        let partitions = request
            .topic_data
            .iter()
            .flat_map(|topic| &topic.partition_data);
        partitions.filter_map(|data| data.records.as_ref().and_then(Records::memory))
    };
    let unexpected = Refusal {
        error: ErrorCode::UnknownServerError,
        message: None,
    };
    for records in sent() {
        match entries::split_first(records) {
            Ok(Some((batch, _))) if is_transactional(batch) => {
                let refusal = Refusal {
                    error: ErrorCode::TransactionalIdAuthorizationFailed,
                    message: None,
                };
                return request.transactional_id.is_none().then_some(refusal);
            }
            Ok(_) => {}
            Err(EntryError::TooLarge(_)) => return Some(unexpected),
            Err(error) => {
                return Some(Refusal {
                    error: ErrorCode::CorruptMessage,
                    message: Some(error.to_string()),
                });
            }
        }
    }
    (version >= 3 && sent().any(|records| is_unexpected(records, version))).then_some(unexpected)
}

/// What Apache's broker stumbles over when it looks at a partition's records.
fn is_unexpected(records: &[u8], version: i16) -> bool {
    match entries::split_first(records) {
        Ok(Some((first, rest))) if first.magic == MAGIC_V2 => {
            (version < 7 && codec(first) > ZSTD)
                || matches!(entries::split_first(rest), Err(EntryError::TooLarge(_)))
        }
        _ => false,
    }
}

/// Codec number of a batch of magic 2.
fn codec(batch: Entry<'_>) -> u8 {
    batch.bytes[ATTRIBUTES_OFFSET] & CODEC_MASK
}

fn is_transactional(batch: Entry<'_>) -> bool {
    batch.magic == MAGIC_V2 && batch.bytes[ATTRIBUTES_OFFSET] & TRANSACTIONAL != 0
}

fn refused(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ProduceRequest,
    refusal: &Refusal,
) -> Reply {
    let acks = request.acks;
    let results = request.topic_data.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic
            .partition_data
            .into_iter()
            .map(move |data| AppendResult {
                message: refusal.message.clone(),
                ..AppendResult::failed(name.clone(), data.index, refusal.error)
            })
    });
    respond(services, context, acks, results.collect())
}

fn answer(
    services: &Arc<Services>,
    context: &RequestContext,
    plan: Plan,
    mut results: Vec<AppendResult>,
) -> Reply {
    results.extend(plan.work.refused);
    respond(services, context, plan.acks, results)
}

fn respond(
    services: &Arc<Services>,
    context: &RequestContext,
    acks: i16,
    results: Vec<AppendResult>,
) -> Reply {
    if acks == 0 {
        let failed = results
            .iter()
            .find(|result| result.error != ErrorCode::None);
        let Some(failed) = failed else {
            return Reply::Nothing;
        };
        tracing::info!(
            "Closing connection due to error during produce request with correlation id {} from client id {} with ack=0: {}-{}: {}",
            context.header.correlation_id,
            context.client_id(),
            failed.topic,
            failed.partition,
            failed.error
        );
        return Reply::Close;
    }
    table::reply(&context.header, &response(services, context, results))
}

fn response(
    services: &Arc<Services>,
    context: &RequestContext,
    results: Vec<AppendResult>,
) -> ProduceResponse {
    let mut leaders = CurrentLeaders::new(services, context);
    let mut responses: Vec<TopicProduceResponse> = Vec::new();
    for result in results {
        let current_leader =
            if context.header.api_version >= 10 && result.error == ErrorCode::NotLeaderOrFollower {
                let (leader_id, leader_epoch) = leaders.of(&result.topic, result.partition);
                LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                }
            } else {
                LeaderIdAndEpoch::default()
            };
        let partition = PartitionProduceResponse {
            index: result.partition,
            error_code: result.error.code(),
            base_offset: result.base_offset,
            log_append_time_ms: result.log_append_time_ms,
            log_start_offset: result.log_start_offset,
            record_errors: result.bad_records.into_iter().map(bad_record).collect(),
            error_message: result.message.map(ByteString::from),
            current_leader,
        };
        match responses
            .iter_mut()
            .rfind(|topic| topic.name == result.topic)
        {
            Some(topic) => topic.partition_responses.push(partition),
            None => responses.push(TopicProduceResponse {
                name: result.topic,
                partition_responses: vec![partition],
            }),
        }
    }
    let nodes = leaders.into_nodes().map(|node| NodeEndpoint {
        node_id: node.id,
        host: node.endpoint.host,
        port: node.endpoint.port,
        rack: node.rack,
    });
    ProduceResponse {
        responses,
        throttle_time_ms: 0,
        node_endpoints: nodes.collect(),
    }
}

fn bad_record((batch_index, message): (i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(ByteString::from(message)),
    }
}
