//! Shell: a producer: batches per partition, idempotent, one batch of a partition under way.
//!
//! One task owns all state. It takes records from a bounded queue, fills batches, sends those that
//! are full, old enough or to be flushed, and tries again what failed for a while. Because a
//! partition has one batch under way at a time, sequence numbers and order need no repair.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch::increment_sequence;
use kafka_wire::records::record::{Record, RecordHeader};
use kafka_wire::wire::Records;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::client::cluster::Cluster;
use crate::client::error::ClientError;
use crate::client::log;
use crate::client::partitioner::{Sticky, for_key};
use crate::client::producer_batch::{BATCH_OVERHEAD, Batch, Callback, Pending, Sequence};
use crate::client::producer_options::{ProducerOptions, ProducerRecord};
use crate::client::settings::{ClusterOptions, Settings};
use crate::client::topic_metadata::{self, PartitionLeader};

const SENDER: &str = "org.apache.kafka.clients.producer.internals.Sender";
/// Records that may wait for the owner of the batches.
const QUEUED_RECORDS: usize = 1024;

enum Command {
    Send(ProducerRecord, Callback),
    Flush(oneshot::Sender<()>),
}

/// A handle to the task that sends records.
pub struct Producer {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Producer {
    /// Checks the settings and starts the task.
    ///
    /// # Errors
    /// [`ClientError::Config`] and [`ClientError::Construct`].
    pub async fn new(settings: &Settings) -> Result<Self, ClientError> {
        let options = ProducerOptions::read(settings)?;
        let prefix = format!(
            "[Producer clientId={}]",
            settings.text("client.id", "producer-1")
        );
        let made = async { Cluster::new(ClusterOptions::read(settings, prefix)?).await };
        let failed =
            |cause| ClientError::Construct("Failed to construct kafka producer", Box::new(cause));
        let cluster = made.await.map_err(failed)?;
        let (commands, queue) = mpsc::channel(QUEUED_RECORDS);
        let sender = Sender {
            cluster,
            options,
            topics: HashMap::new(),
            partitions: BTreeMap::new(),
            flights: JoinSet::new(),
            flushing: Vec::new(),
            identity: None,
            buffered_bytes: 0,
        };
        Ok(Self {
            commands,
            task: tokio::spawn(sender.run(queue)),
        })
    }

    /// Queues a record, waiting while too much is buffered.
    pub async fn send(&self, record: ProducerRecord, callback: Callback) {
        // The task ends only after this handle is gone.
        let _ = self.commands.send(Command::Send(record, callback)).await;
    }

    /// Sends what is buffered now and waits until it is done.
    pub async fn flush(&self) {
        let (done, waiting) = oneshot::channel();
        let _ = self.commands.send(Command::Flush(done)).await;
        let _ = waiting.await;
    }

    /// Sends what is left and ends.
    pub async fn close(self) {
        drop(self.commands);
        let _ = self.task.await;
    }
}

#[derive(Default)]
struct Partition {
    /// The last one is still being filled.
    batches: VecDeque<Batch>,
    under_way: bool,
    retry_at: Option<Instant>,
    /// Identity under which sequence numbers are given out, and the next of them.
    numbering: Option<(i64, i32)>,
}

#[derive(Default)]
struct Topic {
    partitions: Vec<PartitionLeader>,
    stale: bool,
    sticky: Sticky,
}

type Place = (ByteString, i32);

struct Flight {
    place: Place,
    batch: Batch,
    result: Result<(), ClientError>,
}

struct Sender {
    cluster: Arc<Cluster>,
    options: ProducerOptions,
    topics: HashMap<ByteString, Topic>,
    partitions: BTreeMap<Place, Partition>,
    flights: JoinSet<Flight>,
    flushing: Vec<oneshot::Sender<()>>,
    identity: Option<(i64, i16)>,
    buffered_bytes: usize,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut open = true;
        loop {
            self.launch(!open).await;
            if self.buffered_bytes == 0 {
                for done in self.flushing.drain(..) {
                    let _ = done.send(());
                }
                if !open {
                    if self.options.acks == 0 {
                        self.cluster.drain().await;
                    }
                    return;
                }
            }
            let wake = self.next_deadline();
            tokio::select! {
                command = queue.recv(), if open && self.buffered_bytes < self.options.buffer_bytes => {
                    match command {
                        Some(Command::Send(record, callback)) => self.accept(record, callback).await,
                        Some(Command::Flush(done)) => self.flushing.push(done),
                        None => open = false,
                    }
                }
                Some(Ok(flight)) = self.flights.join_next(), if !self.flights.is_empty() => {
                    self.land(flight);
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Puts a record into the batch of its partition.
    async fn accept(&mut self, record: ProducerRecord, callback: Callback) {
        let size = record.size();
        let largest = self.options.max_request_bytes;
        let placed = if size + BATCH_OVERHEAD > largest {
            Err(ClientError::Api {
                code: ErrorCode::MessageTooLarge,
                message: format!(
                    "The message is {} bytes when serialized which is larger than {largest}, \
                     which is the value of the max.request.size configuration.",
                    size + BATCH_OVERHEAD
                ),
            })
        } else {
            self.place(&record, size).await
        };
        let place = match placed {
            Ok(place) => place,
            Err(error) => return callback(Err(error)),
        };
        let header = |(key, value)| RecordHeader { key, value };
        let record = Record {
            offset: 0,
            timestamp: log::now_ms(),
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(header).collect(),
        };
        self.buffered_bytes += size;
        let partition = self.partitions.entry(place).or_default();
        let fits = |batch: &&mut Batch| {
            batch.sequence.is_none() && batch.bytes + size <= self.options.batch_bytes
        };
        let pending = Pending {
            record,
            size,
            callback,
        };
        match partition.batches.back_mut().filter(fits) {
            Some(batch) => {
                batch.bytes += size;
                batch.records.push(pending);
            }
            None => {
                let mut batch = Batch::new();
                batch.bytes += size;
                batch.records.push(pending);
                partition.batches.push_back(batch);
            }
        }
    }

    async fn place(&mut self, record: &ProducerRecord, size: usize) -> Result<Place, ClientError> {
        self.learn(&record.topic).await?;
        let topic = self.topics.entry(record.topic.clone()).or_default();
        let partition = match &record.key {
            Some(key) => for_key(key, topic.partitions.len() as i32),
            None => {
                let led = topic
                    .partitions
                    .iter()
                    .filter(|partition| partition.leader >= 0);
                let mut candidates: Vec<i32> = led.map(|partition| partition.partition).collect();
                if candidates.is_empty() {
                    candidates = topic.partitions.iter().map(|it| it.partition).collect();
                }
                topic
                    .sticky
                    .choose(size, self.options.batch_bytes, &candidates, rand::random())
            }
        };
        Ok((record.topic.clone(), partition))
    }

    /// Waits until the partitions of a topic are known.
    async fn learn(&mut self, name: &ByteString) -> Result<(), ClientError> {
        if self
            .topics
            .get(name)
            .is_some_and(|topic| !topic.partitions.is_empty())
        {
            return Ok(());
        }
        let deadline = Instant::now() + self.options.max_block;
        loop {
            match topic_metadata::fetch(&self.cluster, name, true, deadline).await {
                Ok(partitions) if !partitions.is_empty() => {
                    self.topics.entry(name.clone()).or_default().partitions = partitions;
                    return Ok(());
                }
                Err(error) if !error.is_retriable() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            let pause = self.cluster.options.retry_backoff;
            if Instant::now() + pause >= deadline {
                let waited = self.options.max_block.as_millis();
                let text = format!("Topic {name} not present in metadata after {waited} ms.");
                return Err(ClientError::timeout(text));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends the first batch of each partition that is due.
    async fn launch(&mut self, closing: bool) {
        let flush = closing || !self.flushing.is_empty();
        let now = Instant::now();
        let due: Vec<Place> = self
            .partitions
            .iter()
            .filter(|(_, partition)| self.is_due(partition, flush, now))
            .map(|(place, _)| place.clone())
            .collect();
        for place in due {
            let Some(partition) = self.partitions.get_mut(&place) else {
                continue;
            };
            let Some(batch) = partition.batches.pop_front() else {
                continue;
            };
            if batch.created.elapsed() >= self.options.delivery_timeout {
                let text = format!(
                    "Expiring {} record(s) for {}-{}:{} ms has passed since batch creation",
                    batch.records.len(),
                    place.0,
                    place.1,
                    batch.created.elapsed().as_millis()
                );
                self.fail(&place, batch, ClientError::timeout(text));
                continue;
            }
            self.depart(place, batch).await;
        }
    }

    fn is_due(&self, partition: &Partition, flush: bool, now: Instant) -> bool {
        let Some(batch) = partition.batches.front() else {
            return false;
        };
        if partition.under_way || partition.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        flush
            || batch.attempts > 0
            || partition.batches.len() > 1
            || batch.bytes >= self.options.batch_bytes
            || batch.created + self.options.linger <= now
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self
            .partitions
            .values()
            .filter(|partition| !partition.under_way);
        let due = waiting.filter_map(|partition| {
            let batch = partition.batches.front()?;
            Some(
                partition
                    .retry_at
                    .unwrap_or(batch.created + self.options.linger),
            )
        });
        due.min()
    }

    async fn depart(&mut self, place: Place, mut batch: Batch) {
        batch.attempts += 1;
        let prepared = async {
            let stale = self.topics.get(&place.0).is_none_or(|topic| topic.stale);
            if stale {
                let deadline = Instant::now() + self.cluster.options.request_timeout;
                let found = topic_metadata::fetch(&self.cluster, &place.0, true, deadline).await?;
                let topic = self.topics.entry(place.0.clone()).or_default();
                topic.partitions = found;
                topic.stale = false;
            }
            if self.options.idempotent && self.identity.is_none() {
                self.identity = Some(self.init_producer_id().await?);
            }
            let topic = self.topics.get(&place.0);
            let leaders = topic.into_iter().flat_map(|topic| &topic.partitions);
            let leader = leaders.into_iter().find(|it| it.partition == place.1);
            let code = ErrorCode::LeaderNotAvailable.code();
            let unknown = || ClientError::api(code, None);
            let leader = leader.filter(|it| it.leader >= 0).ok_or_else(unknown)?;
            self.cluster.node(leader.leader).await
        };
        let link = prepared.await;
        self.number(&place, &mut batch);
        let partition = self.partitions.entry(place.clone()).or_default();
        partition.under_way = true;
        partition.retry_at = None;
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                return self.land(Flight {
                    place,
                    batch,
                    result: Err(error),
                });
            }
        };
        let request = self.request(&place, &batch);
        if self.options.acks == 0 {
            let result = request.and_then(|request| link.send_unanswered(&request, i16::MAX));
            return self.land(Flight {
                place,
                batch,
                result,
            });
        }
        let answer = request.map(|request| link.send(&request, i16::MAX));
        self.flights.spawn(async move {
            let result = async {
                let response = answer?.await?;
                let topic = response.responses.first();
                let partition = topic.and_then(|topic| topic.partition_responses.first());
                let Some(partition) = partition else {
                    return Err(ClientError::api(ErrorCode::UnknownServerError.code(), None));
                };
                let record_errors = partition.record_errors.first();
                let message = record_errors
                    .and_then(|error| error.batch_index_error_message.as_deref())
                    .or(partition.error_message.as_deref())
                    .filter(|message| !message.is_empty());
                ClientError::check(partition.error_code, message)
            };
            let result = result.await;
            Flight {
                place,
                batch,
                result,
            }
        });
    }

    /// Gives the batch its sequence numbers, once.
    fn number(&mut self, place: &Place, batch: &mut Batch) {
        let Some((producer_id, producer_epoch)) = self.identity else {
            return;
        };
        if !self.options.idempotent || batch.sequence.is_some() {
            return;
        }
        let partition = self.partitions.entry(place.clone()).or_default();
        let first = match partition.numbering {
            Some((known, next)) if known == producer_id => next,
            _ => 0,
        };
        let next = increment_sequence(first, batch.records.len() as i32);
        partition.numbering = Some((producer_id, next));
        batch.sequence = Some(Sequence {
            producer_id,
            producer_epoch,
            first,
        });
    }

    fn request(&self, place: &Place, batch: &Batch) -> Result<ProduceRequest, ClientError> {
        let records = batch.encode(self.options.codec)?;
        let data = PartitionProduceData {
            index: place.1,
            records: Some(Records::Memory(records)),
        };
        let timeout = self.cluster.options.request_timeout.as_millis();
        Ok(ProduceRequest {
            transactional_id: None,
            acks: self.options.acks,
            timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: place.0.clone(),
                partition_data: vec![data],
            }],
        })
    }

    async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let deadline = Instant::now() + self.options.max_block;
        loop {
            let response = self.cluster.ask_any(&request, i16::MAX, deadline).await?;
            match ClientError::check(response.error_code, None) {
                // A broker that has just started has no ids to give yet.
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    tokio::time::sleep(self.cluster.options.retry_backoff).await;
                }
                result => return result.map(|()| (response.producer_id, response.producer_epoch)),
            }
        }
    }

    /// Ends a batch's journey: done, again later, in halves, or failed.
    fn land(&mut self, flight: Flight) {
        let Flight {
            place,
            mut batch,
            result,
        } = flight;
        let partition = self.partitions.entry(place.clone()).or_default();
        partition.under_way = false;
        let error = match result {
            Ok(()) => return self.succeed(batch),
            Err(error) => error,
        };
        match error.code() {
            Some(ErrorCode::DuplicateSequenceNumber) => return self.succeed(batch),
            Some(ErrorCode::MessageTooLarge) if batch.records.len() > 1 => {
                // The halves keep the numbers that their records had.
                let second = batch.records.split_off(batch.records.len() / 2);
                let count = batch.records.len() as i32;
                let sequence = batch.sequence.map(|sequence| Sequence {
                    first: increment_sequence(sequence.first, count),
                    ..sequence
                });
                partition.batches.push_front(Batch {
                    records: second,
                    sequence,
                    created: batch.created,
                    ..Batch::new()
                });
                partition.batches.push_front(batch);
                return;
            }
            Some(ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch) => {
                self.identity = None;
                batch.sequence = None;
            }
            _ => {}
        }
        let again = error.is_retriable() || self.options.idempotent && batch.sequence.is_none();
        if again && batch.attempts <= self.options.retries {
            let left = self.options.retries - batch.attempts;
            if let Some(code) = error.code() {
                self.cluster.warn(
                    SENDER,
                    &format!(
                        "Got error produce response on topic-partition {}-{}, retrying ({left} \
                         attempts left). Error: {code}",
                        place.0, place.1
                    ),
                );
            }
            if let Some(topic) = self.topics.get_mut(&place.0) {
                topic.stale = true;
            }
            let partition = self.partitions.entry(place).or_default();
            partition.retry_at = Some(Instant::now() + self.cluster.options.retry_backoff);
            partition.batches.push_front(batch);
            return;
        }
        self.fail(&place, batch, error);
    }

    fn succeed(&mut self, batch: Batch) {
        for pending in batch.records {
            self.buffered_bytes -= pending.size;
            (pending.callback)(Ok(()));
        }
    }

    fn fail(&mut self, place: &Place, batch: Batch, error: ClientError) {
        // The broker will see a gap in the numbers: start anew under another identity.
        if batch.sequence.is_some() {
            self.identity = None;
            if let Some(partition) = self.partitions.get_mut(place) {
                for waiting in &mut partition.batches {
                    waiting.sequence = None;
                }
            }
        }
        for pending in batch.records {
            self.buffered_bytes -= pending.size;
            (pending.callback)(Err(error.clone()));
        }
    }
}
