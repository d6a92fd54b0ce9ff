//! Shell: asks transaction coordinators, by AddPartitionsToTxn with `VerifyOnly`, whether partitions are part of a
//! transaction (KIP-890, `AddPartitionsToTxnManager.scala`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::api_key::ApiKey;
use kafka_wire::client::connection::{Connection, ConnectionError, ConnectionOptions};
use kafka_wire::client::versions::BrokerVersions;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::broker::BrokerConfig;
use crate::metadata::cache::MetadataCache;
use crate::metadata::topic_names::TRANSACTION_STATE_TOPIC;
use crate::replica::verification_queue::{Question, VerificationQueue};

/// The version that knows `VerifyOnly`.
const VERIFYING_VERSION: i16 = 4;

/// Spreads transactional ids over that many partitions.
pub type PartitionFor = fn(transactional_id: &str, partitions: i32) -> i32;

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The partitions that are not part of the transaction, and why; all others are.
    Unverified(Vec<(ByteString, i32, ErrorCode)>),
    /// None is known to be part of it.
    Failed(ErrorCode),
}

type Asked = Vec<(Question, oneshot::Sender<Verdict>)>;

/// The way to all coordinators.
#[derive(Debug)]
pub struct TransactionVerifier {
    metadata: Arc<MetadataCache>,
    listener: String,
    client_id: ByteString,
    limit: Duration,
    partition_for: PartitionFor,
    coordinators: Mutex<HashMap<String, Arc<Coordinator>>>,
}

/// The way to one broker.
#[derive(Debug)]
struct Coordinator {
    address: String,
    client_id: ByteString,
    limit: Duration,
    queue: Mutex<VerificationQueue<oneshot::Sender<Verdict>>>,
    /// The connection, and whether its broker can verify.
    connection: tokio::sync::Mutex<Option<(Connection, bool)>>,
}

impl TransactionVerifier {
    /// Asks over the listener of the brokers, in the name of `broker_id`.
    pub fn new(
        broker_id: i32,
        config: &BrokerConfig,
        metadata: Arc<MetadataCache>,
        partition_for: PartitionFor,
    ) -> Self {
        let limit = u64::try_from(config.request_timeout_ms).unwrap_or(0);
        Self {
            metadata,
            listener: config.inter_broker_listener_name.clone(),
            client_id: ByteString::from(broker_id.to_string()),
            limit: Duration::from_millis(limit),
            partition_for,
            coordinators: Mutex::default(),
        }
    }

    /// Answers those of the question's partitions that are not known to be part of the transaction, and why.
    pub async fn verify(&self, question: Question) -> Vec<(ByteString, i32, ErrorCode)> {
        let partitions = question.partitions.clone();
        let verdict = match self.coordinator_of(&question.transactional_id) {
            Some(coordinator) => coordinator.ask(question).await,
            None => Verdict::Failed(ErrorCode::CoordinatorNotAvailable),
        };
        match verdict {
            Verdict::Unverified(partitions) => partitions,
            Verdict::Failed(error) => partitions
                .into_iter()
                .map(|(topic, partition)| (topic, partition, error))
                .collect(),
        }
    }

    fn coordinator_of(&self, transactional_id: &str) -> Option<Arc<Coordinator>> {
        let snapshot = self.metadata.snapshot();
        let topic = snapshot.topics.get(TRANSACTION_STATE_TOPIC)?;
        let count = i32::try_from(topic.partitions.len()).ok()?;
        let partition = (self.partition_for)(transactional_id, count);
        let leader = topic.partitions.get(&partition)?.leader;
        let endpoint = snapshot.brokers.get(&leader)?.endpoint(&self.listener)?;
        let address = if endpoint.host.contains(':') {
            format!("[{}]:{}", endpoint.host, endpoint.port)
        } else {
            format!("{}:{}", endpoint.host, endpoint.port)
        };
        let mut coordinators = self.coordinators.lock();
        if let Some(known) = coordinators.get(&address) {
            return Some(Arc::clone(known));
        }
        let coordinator = Arc::new(Coordinator {
            address: address.clone(),
            client_id: self.client_id.clone(),
            limit: self.limit,
            queue: Mutex::default(),
            connection: tokio::sync::Mutex::new(None),
        });
        coordinators.insert(address, Arc::clone(&coordinator));
        Some(coordinator)
    }
}

impl Coordinator {
    async fn ask(self: &Arc<Self>, question: Question) -> Verdict {
        let (asker, answer) = oneshot::channel();
        let (refused, next) = {
            let mut queue = self.queue.lock();
            (queue.add(question, asker), queue.take_next())
        };
        if let Some((refused, error)) = refused {
            // Fails only if nobody waits any more.
            let _ = refused.send(Verdict::Failed(error));
        }
        if let Some(next) = next {
            let coordinator = Arc::clone(self);
            tokio::spawn(async move { coordinator.run(next).await });
        }
        answer
            .await
            .unwrap_or(Verdict::Failed(ErrorCode::NetworkException))
    }

    /// Sends requests until nobody asks.
    async fn run(&self, first: Asked) {
        let mut next = Some(first);
        while let Some(asked) = next {
            self.send(asked).await;
            let mut queue = self.queue.lock();
            queue.done();
            next = queue.take_next();
        }
    }

    async fn send(&self, asked: Asked) {
        let request = AddPartitionsToTxnRequest {
            transactions: asked
                .iter()
                .map(|(question, _)| transaction(question))
                .collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        let verdicts = match self.request(&request).await {
            Ok(Some(response)) => Verdicts::of(response),
            Ok(None) => {
                tracing::warn!(
                    coordinator = self.address,
                    "cannot verify transactions, going on without"
                );
                Verdicts::All(Verdict::Unverified(Vec::new()))
            }
            Err(error) => {
                tracing::warn!(coordinator = self.address, %error, "cannot verify transactions");
                Verdicts::All(Verdict::Failed(ErrorCode::NetworkException))
            }
        };
        for (question, asker) in asked {
            // Fails only if nobody waits any more.
            let _ = asker.send(verdicts.on(&question.transactional_id));
        }
    }

    /// `None` if the broker cannot verify.
    async fn request(
        &self,
        request: &AddPartitionsToTxnRequest,
    ) -> Result<Option<AddPartitionsToTxnResponse>, ConnectionError> {
        let (connection, can_verify) = self.connect().await?;
        if !can_verify {
            // Asked again next time: the broker may have been upgraded.
            *self.connection.lock().await = None;
            return Ok(None);
        }
        let response = connection
            .send(request, VERIFYING_VERSION, self.limit)
            .await;
        if response.is_err() {
            *self.connection.lock().await = None;
        }
        response.map(Some)
    }

    async fn connect(&self) -> Result<(Connection, bool), ConnectionError> {
        let mut current = self.connection.lock().await;
        if let Some((connection, can_verify)) = &*current
            && connection.ended().is_none()
        {
            return Ok((connection.clone(), *can_verify));
        }
        *current = None;
        let options = ConnectionOptions {
            client_id: self.client_id.clone(),
            connect_timeout: self.limit,
            ..ConnectionOptions::default()
        };
        let connection = Connection::connect(&self.address, &options).await?;
        let versions = BrokerVersions::ask(&connection, self.limit).await?;
        let can_verify = versions
            .best(ApiKey::AddPartitionsToTxn)
            .is_some_and(|best| best >= VERIFYING_VERSION);
        *current = Some((connection.clone(), can_verify));
        Ok((connection, can_verify))
    }
}

fn transaction(question: &Question) -> AddPartitionsToTxnTransaction {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for (name, partition) in &question.partitions {
        match topics.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(*partition),
            None => topics.push(AddPartitionsToTxnTopic {
                name: name.clone(),
                partitions: vec![*partition],
            }),
        }
    }
    AddPartitionsToTxnTransaction {
        transactional_id: question.transactional_id.clone(),
        producer_id: question.producer_id,
        producer_epoch: question.producer_epoch,
        verify_only: true,
        topics,
    }
}

/// What a response says to those who asked.
enum Verdicts {
    All(Verdict),
    Each(HashMap<ByteString, Verdict>),
}

impl Verdicts {
    fn of(response: AddPartitionsToTxnResponse) -> Self {
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            // Producers are not to hear of the brokers' own authorization.
            ErrorCode::ClusterAuthorizationFailed => {
                return Verdicts::All(Verdict::Failed(ErrorCode::InvalidTxnState));
            }
            error => return Verdicts::All(Verdict::Failed(error)),
        }
        let each = response.results_by_transaction.into_iter().map(|result| {
            let unverified = unverified(&result);
            (result.transactional_id, Verdict::Unverified(unverified))
        });
        Verdicts::Each(each.collect())
    }

    fn on(&self, transactional_id: &ByteString) -> Verdict {
        match self {
            Verdicts::All(verdict) => verdict.clone(),
            Verdicts::Each(verdicts) => verdicts
                .get(transactional_id)
                .cloned()
                // Left out of the answer: nothing is known, so the producer is to try again.
                .unwrap_or(Verdict::Failed(ErrorCode::NetworkException)),
        }
    }
}

fn unverified(result: &AddPartitionsToTxnResult) -> Vec<(ByteString, i32, ErrorCode)> {
    let mut unverified = Vec::new();
    for topic in &result.topic_results {
        for partition in &topic.results_by_partition {
            let error = match ErrorCode::from_code(partition.partition_error_code) {
                ErrorCode::None => continue,
                // The code by which producers of all versions know that they are fenced.
                ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
                error => error,
            };
            unverified.push((topic.name.clone(), partition.partition_index, error));
        }
    }
    unverified
}
