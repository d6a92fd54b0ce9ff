//! Shell: what the controller tells a broker about its replicas: lead, follow, stop, delete.
//!
//! Fencing as in Kafka's `ReplicaManager.becomeLeaderOrFollower` and `stopReplicas`: an older controller is refused
//! as a whole; for each partition a leader epoch must be newer than the one known, and a topic's id must be the one
//! of the log.

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::wire::Uuid;

use crate::log::partition_log::PartitionLog;
use crate::replica::clock::now_ms;
use crate::replica::hosted::Partition;
use crate::replica::manager::{Hosted, ReplicaManager};
use crate::replica::partition::{Decision, Taken};

/// The leader epoch of a StopReplica for a topic that is being deleted: beats every other.
pub const EPOCH_DURING_DELETE: i32 = -2;
/// The leader epoch of requests that carry none.
pub const NO_EPOCH: i32 = -1;

/// How many threads obey the orders of one request, and how many orders are worth a thread.
const MAX_THREADS: usize = 16;
const MIN_SHARE: usize = 3;

/// A decision of the controller on one partition.
#[derive(Clone, Debug)]
pub struct Order {
    /// The topic's name.
    pub topic: ByteString,
    /// The topic's id, zero when the controller sent none.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// Whether the partition is new, so that a log may be made although a directory is offline.
    pub is_new: bool,
    /// Who leads, who is in sync.
    pub decision: Decision,
}

/// A partition that this broker should let go.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// The leader epoch, or one of the two sentinels above.
    pub leader_epoch: i32,
    /// Whether its records go too.
    pub delete: bool,
}

/// A partition whose role on this broker changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleChange {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// The leader epoch from which the role holds; `None` when the partition was deleted without one.
    pub leader_epoch: Option<i32>,
}

/// A role that a partition has on this broker from now on, with its leader epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NewRole {
    Leader(i32),
    Follower(i32),
}

/// What an order meant, or the code to answer it with.
type Outcome = Result<Option<NewRole>, ErrorCode>;

/// What became of a controller's request.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Each partition's result, in the order of the request.
    pub results: Vec<(ByteString, i32, ErrorCode)>,
    /// Partitions that this broker leads from now on and did not before.
    pub elected: Vec<RoleChange>,
    /// Partitions that this broker no longer leads, or that are gone.
    pub resigned: Vec<RoleChange>,
}

impl ReplicaManager {
    /// Takes note of the epoch of a controller that says something.
    ///
    /// # Errors
    /// `STALE_CONTROLLER_EPOCH` when a newer controller is known.
    pub fn heed_controller(&self, controller_epoch: i32) -> Result<(), ErrorCode> {
        let mut known_epoch = self.controller_epoch.lock();
        if controller_epoch < *known_epoch {
            tracing::warn!(
                "ignoring controller epoch {controller_epoch}, {} is known",
                *known_epoch
            );
            return Err(ErrorCode::StaleControllerEpoch);
        }
        *known_epoch = controller_epoch;
        Ok(())
    }

    /// Makes this broker leader or follower as decided. The whole request is refused with STALE_CONTROLLER_EPOCH
    /// when its controller is not the newest.
    ///
    /// Creates logs, so it blocks on the disk.
    ///
    /// # Errors
    /// The code to answer the whole request with.
    pub fn become_leader_or_follower(
        &self,
        controller_epoch: i32,
        orders: Vec<Order>,
    ) -> Result<Applied, ErrorCode> {
        let mut known_epoch = self.controller_epoch.lock();
        if controller_epoch < *known_epoch {
            tracing::warn!(
                "ignoring LeaderAndIsr of controller epoch {controller_epoch}, {} is known",
                *known_epoch
            );
            return Err(ErrorCode::StaleControllerEpoch);
        }
        *known_epoch = controller_epoch;
        let mut applied = Applied::default();
        for (order, outcome) in self.obey_all(&orders) {
            let change = |leader_epoch| RoleChange {
                topic: order.topic.clone(),
                partition: order.partition,
                leader_epoch: Some(leader_epoch),
            };
            let error = match outcome {
                Ok(role) => {
                    match role {
                        Some(NewRole::Leader(epoch)) => applied.elected.push(change(epoch)),
                        Some(NewRole::Follower(epoch)) => applied.resigned.push(change(epoch)),
                        None => {}
                    }
                    ErrorCode::None
                }
                Err(error) => error,
            };
            applied
                .results
                .push((order.topic.clone(), order.partition, error));
        }
        Ok(applied)
    }

    /// Obeys many orders at a time: most of what an order costs is waiting for the disk, and a file system does many
    /// such waits as one.
    fn obey_all<'a>(&self, orders: &'a [Order]) -> Vec<(&'a Order, Outcome)> {
        let obey = |order: &'a Order| (order, self.obey(order));
        let share = orders.len().div_ceil(MAX_THREADS).max(MIN_SHARE);
        if orders.len() <= share {
            return orders.iter().map(obey).collect();
        }
        std::thread::scope(|scope| {
            let spawn = |share: &'a [Order]| {
                scope.spawn(move || share.iter().map(obey).collect::<Vec<_>>())
            };
            let workers: Vec<_> = orders.chunks(share).map(spawn).collect();
            let failed = |share: &'a [Order]| -> Vec<(&'a Order, Outcome)> {
                share
                    .iter()
                    .map(|order| (order, Err(ErrorCode::UnknownServerError)))
                    .collect()
            };
            let joined = workers.into_iter().zip(orders.chunks(share));
            joined
                .flat_map(|(worker, share)| worker.join().unwrap_or_else(|_| failed(share)))
                .collect()
        })
    }

    fn obey(&self, order: &Order) -> Outcome {
        let partition = match self.hosted(&order.topic, order.partition) {
            Some(Hosted::Offline) => return Err(ErrorCode::KafkaStorageError),
            Some(Hosted::Online(partition)) => partition,
            None => self.host(&order.topic, order.partition),
        };
        self.check_order(order, &partition)?;
        if order.decision.leader == self.broker_id() {
            self.lead(order, &partition)
        } else {
            self.follow(order, &partition)
        }
    }

    fn check_order(&self, order: &Order, partition: &Partition) -> Result<(), ErrorCode> {
        let log = partition
            .log()
            .or_else(|| self.logs().get(&order.topic, order.partition));
        let log_id = log
            .as_ref()
            .and_then(|log| log.topic_id())
            .filter(|id| !id.is_zero());
        let order_id = Some(order.topic_id).filter(|id| !id.is_zero());
        if let (Some(log_id), Some(order_id)) = (log_id, order_id)
            && log_id != order_id
        {
            tracing::error!(
                "topic id {log_id} of {}-{} is not {order_id} of the controller's request",
                order.topic,
                order.partition
            );
            return Err(ErrorCode::InconsistentTopicId);
        }
        let current = partition.leader_epoch();
        if order.decision.leader_epoch > current {
            let is_replica = order.decision.replicas.contains(&self.broker_id());
            return if is_replica {
                Ok(())
            } else {
                Err(ErrorCode::UnknownTopicOrPartition)
            };
        }
        if order.decision.leader_epoch == current
            && log_id.is_none()
            && let (Some(log), Some(id)) = (log, order_id)
        {
            // A controller that learnt topic ids sends them without a new epoch.
            return match log.assign_topic_id(id) {
                Ok(()) => Err(ErrorCode::None),
                Err(error) => Err(self.disk_failed(partition, &error)),
            };
        }
        Err(ErrorCode::StaleControllerEpoch)
    }

    fn lead(&self, order: &Order, partition: &Arc<Partition>) -> Outcome {
        let log = self.open_log(order, partition)?;
        let leader_epoch = order.decision.leader_epoch;
        let mut state = partition.state.write();
        let log_end = log.log_end_offset();
        let mut next = state.clone();
        let taken = next.become_leader(order.decision.clone(), log_end, now_ms());
        let mut role = None;
        if let Taken::NewEpoch { new_role } = taken {
            // Before serving: a follower with records of a later, unclean epoch must learn where this one starts.
            if let Err(error) = log.assign_epoch_start_offset(leader_epoch, log_end) {
                drop(state);
                return Err(self.disk_failed(partition, &error));
            }
            tracing::info!(
                "Leader {}-{} starts at leader epoch {leader_epoch} from offset {log_end} with high watermark {}, ISR {:?}",
                order.topic,
                order.partition,
                log.high_watermark(),
                next.isr(),
            );
            role = new_role.then_some(NewRole::Leader(leader_epoch));
        }
        *state = next;
        partition.set_log(log.clone());
        self.with_surroundings(|around| partition.advance_quietly(&state, &log, around));
        drop(state);
        partition.waiters().wake();
        Ok(role)
    }

    fn follow(&self, order: &Order, partition: &Arc<Partition>) -> Outcome {
        let log = self.open_log(order, partition)?;
        partition.set_log(log);
        if !self.is_alive(order.decision.leader) {
            // The controller names every leader's broker before it names the leader; without it nothing can be
            // fetched, so the partition keeps its state, but its high watermark is checkpointed from now on.
            tracing::error!(
                "cannot follow {} for {}-{}: that broker is not known to be alive",
                order.decision.leader,
                order.topic,
                order.partition
            );
            return Ok(None);
        }
        let taken = partition
            .state
            .write()
            .become_follower(order.decision.clone());
        partition.waiters().wake();
        let is_new = matches!(taken, Taken::NewEpoch { .. });
        Ok(is_new.then_some(NewRole::Follower(order.decision.leader_epoch)))
    }

    /// The partition's log, made if it is not there.
    fn open_log(
        &self,
        order: &Order,
        partition: &Arc<Partition>,
    ) -> Result<Arc<PartitionLog>, ErrorCode> {
        if let Some(log) = partition.log() {
            return Ok(log);
        }
        let id = Some(order.topic_id).filter(|id| !id.is_zero());
        self.create_log(partition, id, order.is_new)
    }

    /// Lets go of partitions, and deletes their logs if asked to.
    ///
    /// # Errors
    /// The code to answer the whole request with.
    pub fn stop_replicas(
        &self,
        controller_epoch: i32,
        stops: Vec<Stop>,
    ) -> Result<Applied, ErrorCode> {
        let mut known_epoch = self.controller_epoch.lock();
        if controller_epoch < *known_epoch {
            tracing::warn!(
                "ignoring StopReplica of controller epoch {controller_epoch}, {} is known",
                *known_epoch
            );
            return Err(ErrorCode::StaleControllerEpoch);
        }
        *known_epoch = controller_epoch;
        let mut applied = Applied::default();
        let deletes = stops.iter().any(|stop| stop.delete);
        for stop in stops {
            let error = self
                .stop(&stop, &mut applied)
                .err()
                .unwrap_or(ErrorCode::None);
            applied.results.push((stop.topic, stop.partition, error));
        }
        if deletes {
            // Before the controller hears of it: a new topic of the same name must not inherit a recovery point.
            self.logs().checkpoint();
        }
        Ok(applied)
    }

    fn stop(&self, stop: &Stop, applied: &mut Applied) -> Result<(), ErrorCode> {
        match self.hosted(&stop.topic, stop.partition) {
            Some(Hosted::Offline) => return Err(ErrorCode::KafkaStorageError),
            Some(Hosted::Online(partition)) => {
                let is_sentinel = [EPOCH_DURING_DELETE, NO_EPOCH].contains(&stop.leader_epoch);
                if !is_sentinel && stop.leader_epoch < partition.leader_epoch() {
                    return Err(ErrorCode::FencedLeaderEpoch);
                }
                if stop.delete {
                    self.forget(&partition);
                } else {
                    partition.waiters().wake();
                }
            }
            None => {}
        }
        if stop.delete {
            self.delete_log(&stop.topic, stop.partition)?;
            applied.resigned.push(RoleChange {
                topic: stop.topic.clone(),
                partition: stop.partition,
                leader_epoch: Some(stop.leader_epoch).filter(|epoch| *epoch >= 0),
            });
        }
        Ok(())
    }
}
