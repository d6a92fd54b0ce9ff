//! Shell: membership in a consumer group by the classic protocol: join, sync, heartbeat, leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::message::{Message, encode_versioned};
use kafka_wire::messages::consumer_protocol::{
    AssignmentTopicPartition, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    SubscriptionTopicPartition,
};
use kafka_wire::messages::heartbeat::HeartbeatRequest;
use kafka_wire::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use kafka_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::reader::Reader;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::assignor::{self, Assignment, Member, Place};
use crate::client::cluster::{Cluster, Link};
use crate::client::error::ClientError;
use crate::client::topic_metadata;

/// What a join may take longer than the time that members have to come back.
const JOIN_MARGIN: Duration = Duration::from_secs(5);

/// Settings of a member.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Group.
    pub group: ByteString,
    /// Name of this member over restarts.
    pub instance_id: Option<ByteString>,
    /// Silence after which the coordinator gives the member up.
    pub session_timeout: Duration,
    /// Time that members have to come back when the group assigns anew.
    pub rebalance_timeout: Duration,
    /// Pause between heartbeats.
    pub heartbeat_interval: Duration,
    /// Names of assignors, the preferred one first.
    pub assignors: Vec<String>,
    /// Rack of this member.
    pub rack: Option<ByteString>,
}

/// What the coordinator said last in answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All is well.
    Good,
    /// The group assigns anew: join again.
    Rejoin,
    /// The coordinator no longer knows this member.
    Lost,
    /// The coordinator is another broker now.
    Moved,
}

/// A member of a group.
#[derive(Debug)]
pub struct Membership {
    cluster: Arc<Cluster>,
    options: GroupOptions,
    coordinator: Option<Arc<Link>>,
    member_id: ByteString,
    generation: i32,
    standing: watch::Receiver<Standing>,
    heartbeats: Option<AbortHandle>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

impl Membership {
    /// Not a member yet.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, options: GroupOptions) -> Self {
        let (_, standing) = watch::channel(Standing::Rejoin);
        Self {
            cluster,
            options,
            coordinator: None,
            member_id: ByteString::new(),
            generation: -1,
            standing,
            heartbeats: None,
        }
    }

    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &ByteString {
        &self.options.group
    }

    /// Id, generation and instance id, as commits carry them.
    #[must_use]
    pub fn identity(&self) -> (ByteString, i32, Option<ByteString>) {
        (
            self.member_id.clone(),
            self.generation,
            self.options.instance_id.clone(),
        )
    }

    /// Whether the group has to be joined (again).
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until the coordinator says something else than "all is well".
    pub async fn disturbed(&mut self) {
        // Without heartbeats nothing will ever come.
        if self
            .standing
            .wait_for(|standing| *standing != Standing::Good)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// The coordinator, looked up when it is not known.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn coordinator(&mut self) -> Result<Arc<Link>, ClientError> {
        if let Some(link) = &self.coordinator {
            return Ok(Arc::clone(link));
        }
        loop {
            let deadline = Instant::now() + self.cluster.options.request_timeout;
            match self
                .cluster
                .group_coordinator(&self.options.group, deadline)
                .await
            {
                Ok(link) => {
                    self.coordinator = Some(Arc::clone(&link));
                    return Ok(link);
                }
                Err(error) if error.is_retriable() => self.pause().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets the coordinator when an error says that it is not one (any more).
    pub fn look_again(&mut self, error: &ClientError) {
        let moved = [
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorNotAvailable,
        ];
        if matches!(error, ClientError::Connection(_))
            || error.code().is_some_and(|code| moved.contains(&code))
        {
            self.coordinator = None;
        }
    }

    async fn pause(&self) {
        tokio::time::sleep(self.cluster.options.retry_backoff).await;
    }

    fn stop_heartbeats(&mut self) {
        if let Some(task) = self.heartbeats.take() {
            task.abort();
        }
    }

    /// Joins, as often as it takes, and returns the partitions assigned to this member. `counts`
    /// gets the partitions of all topics of the group if this member made the assignment.
    ///
    /// # Errors
    /// [`ClientError`] when trying again would not help.
    pub async fn join(
        &mut self,
        topics: &[ByteString],
        counts: &mut BTreeMap<ByteString, i32>,
    ) -> Result<Vec<Place>, ClientError> {
        self.stop_heartbeats();
        if self.standing() == Standing::Lost {
            self.member_id = ByteString::new();
            self.generation = -1;
        }
        loop {
            let joined = async {
                let response = self.join_once(topics).await?;
                self.sync(response, counts).await
            };
            match joined.await {
                Ok(assigned) => {
                    self.start_heartbeats();
                    return Ok(assigned);
                }
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Prepares the next attempt to join, or passes the error on.
    async fn recover(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error.code() {
            Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => return Ok(()),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.member_id = ByteString::new();
                self.generation = -1;
                return Ok(());
            }
            _ => {}
        }
        self.look_again(&error);
        if !error.is_retriable() {
            return Err(error);
        }
        self.pause().await;
        Ok(())
    }

    async fn join_once(&mut self, topics: &[ByteString]) -> Result<JoinGroupResponse, ClientError> {
        let coordinator = self.coordinator().await?;
        let subscription = ConsumerProtocolSubscription {
            topics: topics.to_vec(),
            // Everything is given up before each join, so nothing is held here.
            owned_partitions: Vec::new(),
            generation_id: self.generation,
            rack_id: self.options.rack.clone(),
            ..ConsumerProtocolSubscription::default()
        };
        let metadata = encode_versioned(&subscription, ConsumerProtocolSubscription::MAX_VERSION)
            .map_err(|error| ClientError::Illegal(error.to_string()))?;
        let protocol = |name: &String| JoinGroupRequestProtocol {
            name: name.as_str().into(),
            metadata: metadata.clone(),
        };
        let request = JoinGroupRequest {
            group_id: self.options.group.clone(),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: self.options.instance_id.clone(),
            protocol_type: ByteString::from_static("consumer"),
            protocols: self.options.assignors.iter().map(protocol).collect(),
            reason: None,
        };
        let limit = self.options.rebalance_timeout + JOIN_MARGIN;
        let response = coordinator.send_within(&request, i16::MAX, limit).await?;
        if response.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = response.member_id.clone();
        }
        ClientError::check(response.error_code, None)?;
        self.member_id = response.member_id.clone();
        self.generation = response.generation_id;
        Ok(response)
    }

    async fn sync(
        &mut self,
        joined: JoinGroupResponse,
        counts: &mut BTreeMap<ByteString, i32>,
    ) -> Result<Vec<Place>, ClientError> {
        counts.clear();
        let mut assignments = Vec::new();
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        if leads {
            for (member_id, places) in self.assign(&joined, counts).await? {
                let assignment = encode_assignment(places)?;
                assignments.push(SyncGroupRequestAssignment {
                    member_id,
                    assignment,
                });
            }
        }
        let request = SyncGroupRequest {
            group_id: self.options.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.options.instance_id.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol_name: joined.protocol_name.clone(),
            assignments,
        };
        let coordinator = self.coordinator().await?;
        let limit = self.options.rebalance_timeout + JOIN_MARGIN;
        let response = coordinator.send_within(&request, i16::MAX, limit).await?;
        ClientError::check(response.error_code, None)?;
        decode_assignment(&response.assignment)
    }

    /// Assigns the partitions of all topics that any member wants.
    async fn assign(
        &self,
        joined: &JoinGroupResponse,
        counts: &mut BTreeMap<ByteString, i32>,
    ) -> Result<Assignment, ClientError> {
        let mut members = Vec::new();
        for member in &joined.members {
            let subscription: ConsumerProtocolSubscription = decode_newest(&member.metadata)?;
            let owned = subscription
                .owned_partitions
                .into_iter()
                .flat_map(places_of);
            members.push(Member {
                id: member.member_id.clone(),
                instance_id: member.group_instance_id.clone(),
                topics: subscription.topics,
                owned: owned.collect(),
                generation: subscription.generation_id,
            });
        }
        let mut topics: Vec<ByteString> = members
            .iter()
            .flat_map(|member| member.topics.iter().cloned())
            .collect();
        topics.sort();
        topics.dedup();
        let deadline = Instant::now() + self.cluster.options.request_timeout;
        let metadata = self.cluster.metadata(Some(&topics), true, deadline).await?;
        for topic in &metadata.topics {
            let known = topic_metadata::partitions(&self.cluster, topic)?;
            let name = topic.name.clone().unwrap_or_default();
            counts.insert(name, known.len() as i32);
        }
        Ok(match joined.protocol_name.as_deref() {
            Some("cooperative-sticky") => assignor::cooperative_sticky(&members, counts),
            _ => assignor::range(&members, counts),
        })
    }

    fn start_heartbeats(&mut self) {
        let (sender, receiver) = watch::channel(Standing::Good);
        self.standing = receiver;
        let Some(coordinator) = self.coordinator.clone() else {
            // It was lost right after the answer: look for it before anything else.
            sender.send_replace(Standing::Moved);
            return;
        };
        let request = HeartbeatRequest {
            group_id: self.options.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.options.instance_id.clone(),
        };
        let interval = self.options.heartbeat_interval;
        let limit = self.options.session_timeout;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let answer = coordinator.send_within(&request, i16::MAX, limit).await;
                let standing = match answer {
                    Err(_) => Standing::Moved,
                    Ok(answer) => match ErrorCode::from_code(answer.error_code) {
                        ErrorCode::None => continue,
                        ErrorCode::RebalanceInProgress => Standing::Rejoin,
                        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                            Standing::Moved
                        }
                        _ => Standing::Lost,
                    },
                };
                sender.send_replace(standing);
                if standing != Standing::Rejoin {
                    return;
                }
            }
        });
        self.heartbeats = Some(task.abort_handle());
    }

    /// Finds the coordinator again after it moved; the membership goes on there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn follow_coordinator(&mut self) -> Result<(), ClientError> {
        self.stop_heartbeats();
        self.coordinator = None;
        self.coordinator().await?;
        self.start_heartbeats();
        Ok(())
    }

    /// Leaves the group; a member with an instance id stays on the books, as in Java.
    pub async fn leave(&mut self) {
        self.stop_heartbeats();
        if self.member_id.is_empty() || self.options.instance_id.is_some() {
            return;
        }
        let Some(coordinator) = self.coordinator.take() else {
            return;
        };
        let member = MemberIdentity {
            member_id: self.member_id.clone(),
            reason: Some(ByteString::from_static("the consumer is being closed")),
            ..MemberIdentity::default()
        };
        let request = LeaveGroupRequest {
            group_id: self.options.group.clone(),
            members: vec![member],
            ..LeaveGroupRequest::default()
        };
        // If it fails the coordinator notices the silence.
        let _ = coordinator.send(&request, i16::MAX).await;
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn places_of(topic: SubscriptionTopicPartition) -> impl Iterator<Item = Place> {
    let name = topic.topic;
    topic
        .partitions
        .into_iter()
        .map(move |partition| (name.clone(), partition))
}

/// Reads metadata of the consumer protocol; of versions to come as much as is known now.
fn decode_newest<M: Message>(bytes: &Bytes) -> Result<M, ClientError> {
    let decode = || {
        let mut r = Reader::new(bytes.clone());
        let version = r.i16()?.clamp(M::MIN_VERSION, M::MAX_VERSION);
        M::decode(&mut r, version)
    };
    decode().map_err(|error| {
        ClientError::Illegal(format!("{} of the group cannot be read: {error}", M::NAME))
    })
}

fn decode_assignment(bytes: &Bytes) -> Result<Vec<Place>, ClientError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = decode_newest(bytes)?;
    let mut places = Vec::new();
    for topic in assignment.assigned_partitions {
        places.extend(
            topic
                .partitions
                .iter()
                .map(|partition| (topic.topic.clone(), *partition)),
        );
    }
    Ok(places)
}

fn encode_assignment(places: Vec<Place>) -> Result<Bytes, ClientError> {
    let mut topics: BTreeMap<ByteString, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(topic).or_default().push(partition);
    }
    let mut assignment = ConsumerProtocolAssignment::default();
    for (topic, partitions) in topics {
        assignment
            .assigned_partitions
            .push(AssignmentTopicPartition { topic, partitions });
    }
    encode_versioned(&assignment, ConsumerProtocolAssignment::MAX_VERSION)
        .map_err(|error| ClientError::Illegal(error.to_string()))
}
