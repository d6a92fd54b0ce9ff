//! Pure: who becomes leader (`controller/Election.scala`).

use crate::controller::context::ControllerContext;
use crate::zk::znodes::{LeaderAndIsr, TopicPartition};

/// Why a leader is elected, which decides who may become it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The leader is gone; a replica outside the ISR only when unclean elections are allowed, always
    /// if `allow_unclean`, else as the topic's config says.
    Offline {
        /// Whether an administrator asked for an unclean election.
        allow_unclean: bool,
    },
    /// The first replica of the assignment should lead.
    Preferred,
    /// The leader is not among the target replicas of a reassignment.
    Reassign,
    /// The leader's broker is shutting down.
    ControlledShutdown,
}

/// The outcome of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// The state to write; the partition epoch is the one it replaces.
    pub state: LeaderAndIsr,
    /// Replicas that are to be told.
    pub recipients: Vec<i32>,
}

/// Elects a leader, `None` when nobody may lead. `unclean` tells whether a replica outside the ISR may.
#[must_use]
pub fn elect(
    context: &ControllerContext,
    partition: &TopicPartition,
    current: &LeaderAndIsr,
    strategy: Strategy,
    unclean: bool,
) -> Option<Elected> {
    match strategy {
        Strategy::Offline { .. } => elect_offline(context, partition, current, unclean),
        Strategy::Preferred => {
            let replicas = context.replicas(partition);
            let head = replicas.first().copied();
            elect_in_sync(context, partition, current, head.as_slice(), replicas)
        }
        Strategy::Reassign => {
            let target = context.assignment(partition)?.target();
            elect_in_sync(context, partition, current, &target, &target)
        }
        Strategy::ControlledShutdown => elect_for_shutdown(context, partition, current),
    }
}

fn elect_offline(
    context: &ControllerContext,
    partition: &TopicPartition,
    current: &LeaderAndIsr,
    unclean: bool,
) -> Option<Elected> {
    let live = online(context, partition, context.replicas(partition));
    let in_sync = live.iter().copied().find(|id| current.isr.contains(id));
    let (leader, isr, recovering) = match in_sync {
        Some(leader) => (
            leader,
            online(context, partition, &current.isr),
            current.recovering,
        ),
        None if unclean => {
            let leader = *live.first()?;
            (leader, vec![leader], true)
        }
        None => return None,
    };
    let state = LeaderAndIsr {
        isr,
        recovering,
        ..with_leader(current, leader)
    };
    Some(Elected {
        state,
        recipients: live,
    })
}

/// The first of `candidates` that is online and in sync leads; the ISR stays.
fn elect_in_sync(
    context: &ControllerContext,
    partition: &TopicPartition,
    current: &LeaderAndIsr,
    candidates: &[i32],
    replicas: &[i32],
) -> Option<Elected> {
    let live = online(context, partition, replicas);
    let leader = candidates
        .iter()
        .find(|id| live.contains(id) && current.isr.contains(id))?;
    Some(Elected {
        state: with_leader(current, *leader),
        recipients: replicas.to_vec(),
    })
}

fn elect_for_shutdown(
    context: &ControllerContext,
    partition: &TopicPartition,
    current: &LeaderAndIsr,
) -> Option<Elected> {
    let replicas = context.replicas(partition);
    // Brokers that are shutting down are still told.
    let alive: Vec<i32> = replicas
        .iter()
        .copied()
        .filter(|id| {
            let failed = context
                .offline_dirs
                .get(id)
                .is_some_and(|dirs| dirs.contains(partition));
            context.brokers.contains_key(id) && !failed
        })
        .collect();
    let stays = |id: &i32| !context.shutting_down.contains(id);
    let leader = alive
        .iter()
        .copied()
        .filter(stays)
        .find(|id| current.isr.contains(id))?;
    let isr = current.isr.iter().copied().filter(stays).collect();
    let state = LeaderAndIsr {
        isr,
        ..with_leader(current, leader)
    };
    Some(Elected {
        state,
        recipients: alive,
    })
}

fn online(context: &ControllerContext, partition: &TopicPartition, ids: &[i32]) -> Vec<i32> {
    ids.iter()
        .copied()
        .filter(|id| context.is_replica_online(*id, partition))
        .collect()
}

fn with_leader(current: &LeaderAndIsr, leader: i32) -> LeaderAndIsr {
    LeaderAndIsr {
        leader,
        leader_epoch: current.leader_epoch + 1,
        ..current.clone()
    }
}
