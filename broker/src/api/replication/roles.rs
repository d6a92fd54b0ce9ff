//! Shell: tells the coordinators which partitions of their topics this broker leads now, and which no more.

use std::sync::Arc;

use crate::api::context::Services;
use crate::metadata::topic_names::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};
use crate::replica::leadership::Applied;

/// Passes on what a request of the controller changed.
pub async fn announce(services: &Arc<Services>, applied: &Applied) {
    for change in &applied.resigned {
        let (partition, epoch) = (change.partition, change.leader_epoch);
        match &*change.topic {
            GROUP_METADATA_TOPIC => services.groups.on_resigned(partition, epoch),
            TRANSACTION_STATE_TOPIC => services.transactions.on_resigned(partition, epoch),
            _ => {}
        }
    }
    for change in &applied.elected {
        let (partition, epoch) = (change.partition, change.leader_epoch.unwrap_or_default());
        match &*change.topic {
            GROUP_METADATA_TOPIC => services.groups.on_elected(partition, epoch),
            TRANSACTION_STATE_TOPIC => services.transactions.on_elected(partition, epoch),
            _ => {}
        }
    }
}
