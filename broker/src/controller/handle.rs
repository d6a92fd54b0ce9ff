//! Shell: what handlers ask of the controller, whether it is this broker or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use kafka_wire::wire::Uuid;
use tokio::sync::{mpsc, oneshot};

use crate::controller::effects::{ElectionFailure, ElectionKind};
use crate::zk::cluster::ProducerIdBlock;
use crate::zk::znodes::{ReplicaAssignment, TopicPartition};

/// How long stopping may take while `ZooKeeper` does not answer.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Nobody is known to be controller.
pub(super) const NO_CONTROLLER: i32 = -1;

/// Outcome of elections that an administrator asked for.
pub type Elections = BTreeMap<TopicPartition, Result<i32, ElectionFailure>>;

/// What handlers may know without asking.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker_id: i32,
    pub(super) controller_id: AtomicI32,
    pub(super) broker_epoch: Arc<AtomicI64>,
    pub(super) unclean: bool,
}

/// What a handler wants of the controller; a dropped reply says that this broker is not it.
pub(super) enum Command {
    ControlledShutdown(
        i32,
        i64,
        oneshot::Sender<Result<Vec<TopicPartition>, ErrorCode>>,
    ),
    AlterPartition(
        Box<AlterPartitionRequest>,
        i16,
        oneshot::Sender<AlterPartitionResponse>,
    ),
    AllocateProducerIds(
        i32,
        i64,
        oneshot::Sender<Result<ProducerIdBlock, ErrorCode>>,
    ),
    ElectLeaders(
        Option<Vec<TopicPartition>>,
        ElectionKind,
        oneshot::Sender<Result<Elections, ErrorCode>>,
    ),
    ListReassignments(
        Option<Vec<TopicPartition>>,
        oneshot::Sender<Result<BTreeMap<TopicPartition, ReplicaAssignment>, ErrorCode>>,
    ),
    TopicNames(Vec<Uuid>, oneshot::Sender<HashMap<Uuid, String>>),
    QueuedForDeletion(oneshot::Sender<BTreeSet<String>>),
    UncleanAllowed(String),
    Stop(oneshot::Sender<()>),
}

/// What handlers ask of the controller; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl ControllerHandle {
    /// Whether this broker is the controller.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.shared.controller_id.load(Ordering::Acquire) == self.shared.broker_id
    }

    /// The controller's broker id as `/controller` says; `None` when nobody is.
    #[must_use]
    pub fn controller_id(&self) -> Option<i32> {
        Some(self.shared.controller_id.load(Ordering::Acquire)).filter(|id| *id != NO_CONTROLLER)
    }

    /// This broker's epoch; it changes when an expired session makes it register again.
    #[must_use]
    pub fn broker_epoch(&self) -> i64 {
        self.shared.broker_epoch.load(Ordering::Acquire)
    }

    async fn ask<T>(&self, gone: T, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, answer) = oneshot::channel();
        // A task that has ended drops the sender, and so does one that resigns.
        let _ = self.commands.send(command(reply));
        answer.await.unwrap_or(gone)
    }

    /// Moves leadership away from a broker: the partitions that it still leads.
    ///
    /// # Errors
    /// The code to answer `ControlledShutdown` with.
    pub async fn controlled_shutdown(
        &self,
        broker: i32,
        epoch: i64,
    ) -> Result<Vec<TopicPartition>, ErrorCode> {
        // Kafka answers ControllerMovedException, which has this code.
        let gone = Err(ErrorCode::StaleControllerEpoch);
        self.ask(gone, |reply| {
            Command::ControlledShutdown(broker, epoch, reply)
        })
        .await
    }

    /// Changes ISRs as leaders ask for it.
    pub async fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        version: i16,
    ) -> AlterPartitionResponse {
        let error_code = ErrorCode::NotController.code();
        let gone = AlterPartitionResponse {
            error_code,
            ..AlterPartitionResponse::default()
        };
        self.ask(gone, |reply| {
            Command::AlterPartition(Box::new(request), version, reply)
        })
        .await
    }

    /// Gives a broker a block of producer ids.
    ///
    /// # Errors
    /// The code to answer `AllocateProducerIds` with.
    pub async fn allocate_producer_ids(
        &self,
        broker: i32,
        epoch: i64,
    ) -> Result<ProducerIdBlock, ErrorCode> {
        let gone = Err(ErrorCode::NotController);
        self.ask(gone, |reply| {
            Command::AllocateProducerIds(broker, epoch, reply)
        })
        .await
    }

    /// Elects leaders; `None` means for all partitions.
    ///
    /// # Errors
    /// [`ErrorCode::NotController`].
    pub async fn elect_leaders(
        &self,
        partitions: Option<Vec<TopicPartition>>,
        kind: ElectionKind,
    ) -> Result<Elections, ErrorCode> {
        let gone = Err(ErrorCode::NotController);
        self.ask(gone, |reply| Command::ElectLeaders(partitions, kind, reply))
            .await
    }

    /// The reassignments in progress, of some partitions or of all.
    ///
    /// # Errors
    /// [`ErrorCode::NotController`].
    pub async fn list_reassignments(
        &self,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, ReplicaAssignment>, ErrorCode> {
        let gone = Err(ErrorCode::NotController);
        self.ask(gone, |reply| Command::ListReassignments(partitions, reply))
            .await
    }

    /// The names of topics by id, as far as the controller knows them.
    pub async fn topic_names(&self, ids: Vec<Uuid>) -> HashMap<Uuid, String> {
        self.ask(HashMap::new(), |reply| Command::TopicNames(ids, reply))
            .await
    }

    /// The topics that are to be deleted.
    pub async fn queued_for_deletion(&self) -> BTreeSet<String> {
        self.ask(BTreeSet::new(), Command::QueuedForDeletion).await
    }

    /// Says that unclean elections were allowed for a topic.
    pub fn allow_unclean(&self, topic: &str) {
        let _ = self
            .commands
            .send(Command::UncleanAllowed(topic.to_string()));
    }

    /// Lays down the office, if this broker has it, and takes part in no more elections. Without
    /// `ZooKeeper` that cannot be done, and the session's end will do it.
    pub async fn stop(&self) {
        if tokio::time::timeout(STOP_PATIENCE, self.ask((), Command::Stop))
            .await
            .is_err()
        {
            tracing::warn!("the controller did not stop in time");
        }
    }
}
