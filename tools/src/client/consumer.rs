//! Shell: a consumer of topics, of topics that match a pattern, or of one partition.
//!
//! The caller's task owns all state; only heartbeats and fetches under way run beside it. Each
//! broker has at most one fetch under way, for the partitions whose records are used up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use regex_lite::Regex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::assignor::Place;
use crate::client::cluster::Cluster;
use crate::client::consumer_options::{ConsumerOptions, group_options};
use crate::client::error::ClientError;
use crate::client::fetched::{ConsumerRecord, Fetched};
use crate::client::group::{Membership, Standing};
use crate::client::offsets;
use crate::client::settings::{ClusterOptions, Settings};
use crate::client::topic_metadata::{self, PartitionLeader};

/// The last version of Fetch that names topics.
const FETCH_CAP: i16 = 12;
/// The epoch of a fetch outside of any session.
const NO_SESSION_EPOCH: i32 = -1;

/// What to consume.
#[derive(Debug, Clone)]
pub enum Subscription {
    /// Topics, shared with the group.
    Topics(Vec<ByteString>),
    /// All topics whose name matches, shared with the group.
    Pattern(Regex),
    /// One partition from an offset, a time of ListOffsets, without a group.
    Partition(Place, i64),
}

/// A partition that is being consumed.
#[derive(Debug, Default)]
struct Partition {
    /// The offset after the last record that was handed out.
    position: Option<i64>,
    /// Epoch of the leader that wrote the record before the position, or -1.
    epoch: i32,
    /// Where to look for a position: a timestamp of ListOffsets.
    seek: Option<i64>,
    fetched: Option<Fetched>,
    leader: Option<PartitionLeader>,
}

struct Answer {
    leader: i32,
    /// Positions that were asked for.
    asked: BTreeMap<Place, i64>,
    response: Result<FetchResponse, ClientError>,
}

/// A consumer.
pub struct Consumer {
    cluster: Arc<Cluster>,
    options: ConsumerOptions,
    subscription: Subscription,
    group: Option<Membership>,
    partitions: BTreeMap<Place, Partition>,
    fetches: JoinSet<Answer>,
    fetching: HashSet<i32>,
    /// Partition whose records are being handed out.
    current: Option<Place>,
    /// Partitions of the group's topics, if this member assigned them.
    counts: BTreeMap<ByteString, i32>,
    /// When to look whether the group's topics changed.
    metadata_due: Instant,
    commit_due: Option<Instant>,
}

impl Consumer {
    /// Checks the settings; connects to nobody yet.
    ///
    /// # Errors
    /// [`ClientError::Config`] and [`ClientError::Construct`].
    pub async fn new(settings: &Settings, subscription: Subscription) -> Result<Self, ClientError> {
        let options = ConsumerOptions::read(settings)?;
        let group = group_options(settings)?;
        let client_id = settings.text("client.id", "consumer-1");
        let prefix = format!("[Consumer clientId={client_id}, groupId={}]", group.group);
        let made = async { Cluster::new(ClusterOptions::read(settings, prefix)?).await };
        let failed =
            |cause| ClientError::Construct("Failed to construct kafka consumer", Box::new(cause));
        let cluster = made.await.map_err(failed)?;
        let mut partitions = BTreeMap::new();
        let mut membership = None;
        if let Subscription::Partition(place, offset) = &subscription {
            let mut partition = Partition {
                epoch: -1,
                ..Partition::default()
            };
            match offset {
                offset if *offset >= 0 => partition.position = Some(*offset),
                timestamp => partition.seek = Some(*timestamp),
            }
            partitions.insert(place.clone(), partition);
        } else {
            membership = Some(Membership::new(Arc::clone(&cluster), group));
        }
        let commit_due = options
            .auto_commit
            .map(|interval| Instant::now() + interval);
        Ok(Self {
            cluster,
            options,
            subscription,
            group: membership,
            partitions,
            fetches: JoinSet::new(),
            fetching: HashSet::new(),
            current: None,
            counts: BTreeMap::new(),
            metadata_due: Instant::now(),
            commit_due,
        })
    }

    /// Whether the next record is here already, unpacked: what was fetched may end in a part of a batch.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        self.partitions.values().any(|partition| {
            partition
                .fetched
                .as_ref()
                .is_some_and(Fetched::has_unpacked)
        })
    }

    /// Waits for the next record.
    ///
    /// # Errors
    /// [`ClientError`] when going on would not help.
    pub async fn next(&mut self) -> Result<ConsumerRecord, ClientError> {
        loop {
            self.keep_membership().await?;
            self.commit_if_due().await;
            if let Some(record) = self.take()? {
                return Ok(record);
            }
            match self.prepare().await {
                Err(error) if error.is_retriable() => {
                    self.forget_leaders();
                    if let Some(group) = &mut self.group {
                        group.look_again(&error);
                    }
                    tokio::time::sleep(self.cluster.options.retry_backoff).await;
                    continue;
                }
                result => result?,
            }
            self.wait().await?;
        }
    }

    /// Waits for an answer, for news of the group, or until something is due.
    async fn wait(&mut self) -> Result<(), ClientError> {
        let mut due = self.metadata_due;
        if let Some(commit) = self.commit_due {
            due = due.min(commit);
        }
        let disturbed = async {
            match &mut self.group {
                Some(group) => group.disturbed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(answer) = self.fetches.join_next(), if !self.fetches.is_empty() => {
                if let Ok(answer) = answer {
                    self.receive(answer)?;
                }
            }
            () = disturbed => {}
            () = tokio::time::sleep_until(due) => {}
        }
        Ok(())
    }

    /// Hands out the next buffered record, staying with a partition until it is used up.
    fn take(&mut self) -> Result<Option<ConsumerRecord>, ClientError> {
        loop {
            let buffered = |partition: &Partition| partition.fetched.is_some();
            let current = self
                .current
                .take()
                .filter(|place| self.partitions.get(place).is_some_and(buffered));
            let next = || {
                let mut found = self.partitions.iter().filter(|(_, it)| buffered(it));
                found.next().map(|(place, _)| place.clone())
            };
            let Some(place) = current.or_else(next) else {
                return Ok(None);
            };
            let Some(partition) = self.partitions.get_mut(&place) else {
                continue;
            };
            let Some(fetched) = &mut partition.fetched else {
                continue;
            };
            match fetched.next()? {
                Ok((record, after)) => {
                    partition.position = Some(after);
                    partition.epoch = fetched.leader_epoch();
                    self.current = Some(place);
                    return Ok(Some(record));
                }
                Err(position) => {
                    partition.position = Some(position);
                    partition.fetched = None;
                }
            }
        }
    }

    /// Joins the group when that is due, and looks whether its topics changed.
    async fn keep_membership(&mut self) -> Result<(), ClientError> {
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let standing = group.standing();
        let refresh = Instant::now() >= self.metadata_due;
        match standing {
            Standing::Good if !refresh => return Ok(()),
            Standing::Moved => return group.follow_coordinator().await,
            _ => {}
        }
        let topics = self.topics().await?;
        let missing = topics.values().any(|count| *count == 0) || topics.is_empty();
        let again = match missing {
            true => self.cluster.options.retry_backoff,
            false => self.options.metadata_max_age,
        };
        self.metadata_due = Instant::now() + again;
        let leads = !self.counts.is_empty();
        let changed = leads
            && topics
                .iter()
                .any(|(name, count)| self.counts.get(name) != Some(count));
        if standing == Standing::Good && !changed {
            return Ok(());
        }
        self.commit().await;
        self.revoke();
        let names: Vec<ByteString> = topics.into_keys().collect();
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let assigned = group.join(&names, &mut self.counts).await?;
        for place in assigned {
            self.partitions.insert(
                place,
                Partition {
                    epoch: -1,
                    ..Partition::default()
                },
            );
        }
        Ok(())
    }

    fn revoke(&mut self) {
        self.partitions.clear();
        self.fetches.abort_all();
        self.fetches = JoinSet::new();
        self.fetching.clear();
        self.current = None;
    }

    /// Subscribed topics and how many partitions they have now.
    async fn topics(&self) -> Result<BTreeMap<ByteString, i32>, ClientError> {
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let (names, pattern) = match &self.subscription {
            Subscription::Topics(names) => (Some(names.as_slice()), None),
            Subscription::Pattern(pattern) => (None, Some(pattern)),
            Subscription::Partition(..) => return Ok(BTreeMap::new()),
        };
        let response = self
            .cluster
            .metadata(names, self.options.auto_create, far)
            .await?;
        let mut topics = BTreeMap::new();
        for topic in &response.topics {
            let name = topic.name.clone().unwrap_or_default();
            let hidden = topic.is_internal && self.options.exclude_internal;
            if pattern.is_some_and(|pattern| hidden || !pattern.is_match(&name)) {
                continue;
            }
            let partitions = topic_metadata::partitions(&self.cluster, topic)?;
            topics.insert(name, partitions.len() as i32);
        }
        Ok(topics)
    }

    fn forget_leaders(&mut self) {
        for partition in self.partitions.values_mut() {
            partition.leader = None;
        }
    }

    /// Finds leaders and positions that are missing, and sends fetches.
    async fn prepare(&mut self) -> Result<(), ClientError> {
        self.find_leaders().await?;
        self.find_positions().await?;
        self.fetch().await
    }

    async fn find_leaders(&mut self) -> Result<(), ClientError> {
        let without = self
            .partitions
            .iter()
            .filter(|(_, partition)| partition.leader.is_none());
        let topics: BTreeSet<ByteString> = without.map(|((topic, _), _)| topic.clone()).collect();
        for topic in topics {
            let deadline = Instant::now() + self.cluster.options.request_timeout;
            let auto_create = self.options.auto_create;
            let found = topic_metadata::fetch(&self.cluster, &topic, auto_create, deadline).await?;
            for leader in found.iter().filter(|leader| leader.leader >= 0) {
                let place = (topic.clone(), leader.partition);
                if let Some(partition) = self.partitions.get_mut(&place) {
                    partition.leader = Some(*leader);
                }
            }
        }
        if self
            .partitions
            .values()
            .any(|partition| partition.leader.is_none())
        {
            return Err(ClientError::api(ErrorCode::LeaderNotAvailable.code(), None));
        }
        Ok(())
    }

    async fn find_positions(&mut self) -> Result<(), ClientError> {
        let missing = |partition: &Partition| partition.position.is_none();
        if !self.partitions.values().any(missing) {
            return Ok(());
        }
        let unsought: Vec<Place> = self
            .partitions
            .iter()
            .filter(|(_, partition)| missing(partition) && partition.seek.is_none())
            .map(|(place, _)| place.clone())
            .collect();
        if let Some(group) = &mut self.group
            && !unsought.is_empty()
        {
            let committed = offsets::committed(group, &unsought).await?;
            for (place, (offset, epoch)) in committed {
                if let Some(partition) = self.partitions.get_mut(&place) {
                    partition.position = Some(offset);
                    partition.epoch = epoch;
                }
            }
        }
        let mut wanted = BTreeMap::new();
        for (place, partition) in self.partitions.iter().filter(|(_, it)| missing(it)) {
            let Some(timestamp) = partition.seek.or(self.options.reset) else {
                return Err(ClientError::Other(
                    "org.apache.kafka.clients.consumer.NoOffsetForPartitionException",
                    format!(
                        "Undefined offset with no reset policy for partitions: [{}-{}]",
                        place.0, place.1
                    ),
                ));
            };
            if let Some(leader) = partition.leader {
                wanted.insert(place.clone(), (timestamp, leader));
            }
        }
        let isolation_level = i8::from(self.options.read_committed);
        for (place, offset) in offsets::listed(&self.cluster, &wanted, isolation_level).await? {
            if let Some(partition) = self.partitions.get_mut(&place) {
                partition.position = Some(offset.max(0));
                partition.seek = None;
            }
        }
        Ok(())
    }

    /// Sends a fetch to each leader that has none under way.
    async fn fetch(&mut self) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<(Place, i64, i32)>> = BTreeMap::new();
        for (place, partition) in &self.partitions {
            let (Some(position), Some(leader)) = (partition.position, partition.leader) else {
                continue;
            };
            if partition.fetched.is_none() && !self.fetching.contains(&leader.leader) {
                let wanted = (place.clone(), position, leader.leader_epoch);
                by_leader.entry(leader.leader).or_default().push(wanted);
            }
        }
        for (leader, wanted) in by_leader {
            let link = self.cluster.node(leader).await?;
            let mut topics: BTreeMap<ByteString, Vec<FetchPartition>> = BTreeMap::new();
            for ((topic, partition), fetch_offset, current_leader_epoch) in &wanted {
                topics
                    .entry(topic.clone())
                    .or_default()
                    .push(FetchPartition {
                        partition: *partition,
                        current_leader_epoch: *current_leader_epoch,
                        fetch_offset: *fetch_offset,
                        partition_max_bytes: self.options.partition_max_bytes,
                        ..FetchPartition::default()
                    });
            }
            let topic = |(topic, partitions)| FetchTopic {
                topic,
                partitions,
                ..FetchTopic::default()
            };
            let request = FetchRequest {
                max_wait_ms: self.options.max_wait_ms,
                min_bytes: self.options.min_bytes,
                max_bytes: self.options.max_bytes,
                isolation_level: i8::from(self.options.read_committed),
                session_epoch: NO_SESSION_EPOCH,
                topics: topics.into_iter().map(topic).collect(),
                rack_id: self.options.rack.clone(),
                ..FetchRequest::default()
            };
            let answer = link.send(&request, FETCH_CAP);
            let asked = wanted
                .into_iter()
                .map(|(place, offset, _)| (place, offset))
                .collect();
            self.fetching.insert(leader);
            self.fetches.spawn(async move {
                Answer {
                    leader,
                    asked,
                    response: answer.await,
                }
            });
        }
        Ok(())
    }

    /// Takes in what a fetch brought.
    fn receive(&mut self, answer: Answer) -> Result<(), ClientError> {
        self.fetching.remove(&answer.leader);
        let response = match answer.response {
            Ok(response) => response,
            Err(error) if error.is_retriable() => {
                self.forget_leaders();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        ClientError::check(response.error_code, None)?;
        for topic in response.responses {
            for data in topic.partitions {
                let place = (topic.topic.clone(), data.partition_index);
                let Some(asked) = answer.asked.get(&place) else {
                    continue;
                };
                self.receive_partition(place, *asked, data)?;
            }
        }
        Ok(())
    }

    fn receive_partition(
        &mut self,
        place: Place,
        asked: i64,
        data: PartitionData,
    ) -> Result<(), ClientError> {
        let Some(partition) = self.partitions.get_mut(&place) else {
            return Ok(());
        };
        if partition.position != Some(asked) {
            return Ok(());
        }
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let Some(reset) = self.options.reset else {
                    return Err(ClientError::Other(
                        "org.apache.kafka.clients.consumer.OffsetOutOfRangeException",
                        format!(
                            "Fetch position {asked} is out of range for partition {}-{}",
                            place.0, place.1
                        ),
                    ));
                };
                partition.position = None;
                partition.seek = Some(reset);
                return Ok(());
            }
            ErrorCode::TopicAuthorizationFailed => {
                return Err(ClientError::Api {
                    code: ErrorCode::TopicAuthorizationFailed,
                    message: format!("Not authorized to access topics: [{}]", place.0),
                });
            }
            code if code.is_retriable() && code != ErrorCode::CorruptMessage => {
                partition.leader = None;
                return Ok(());
            }
            code => return Err(ClientError::api(code.code(), None)),
        }
        let bytes = match data.records {
            Some(kafka_wire::wire::Records::Memory(bytes)) => bytes,
            _ => return Ok(()),
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let aborted = self.options.read_committed.then(|| {
            let listed = data.aborted_transactions.unwrap_or_default();
            listed
                .iter()
                .map(|it| (it.first_offset, it.producer_id))
                .collect()
        });
        partition.fetched = Some(Fetched::new(place, asked, bytes, aborted));
        Ok(())
    }

    async fn commit_if_due(&mut self) {
        let Some(due) = self.commit_due else { return };
        if Instant::now() < due {
            return;
        }
        self.commit_due = self
            .options
            .auto_commit
            .map(|interval| Instant::now() + interval);
        self.commit().await;
    }

    /// Commits the positions, if that is asked for. A failure is not fatal: the next commit
    /// carries the same positions or later ones.
    async fn commit(&mut self) {
        let Some(group) = &mut self.group else { return };
        if self.options.auto_commit.is_none() {
            return;
        }
        let positions = self.partitions.iter();
        let positions: BTreeMap<Place, (i64, i32)> = positions
            .filter_map(|(place, it)| Some((place.clone(), (it.position?, it.epoch))))
            .collect();
        if let Err(error) = offsets::commit(group, &positions).await {
            group.look_again(&error);
            let class = "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator";
            self.cluster
                .warn(class, &format!("Offset commit failed: {error}"));
        }
    }

    /// Commits, leaves the group and ends.
    pub async fn close(mut self) {
        self.commit().await;
        if let Some(group) = &mut self.group {
            group.leave().await;
        }
    }
}
