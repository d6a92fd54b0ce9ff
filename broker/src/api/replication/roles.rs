//! Shell: tells the group coordinator which partitions of its topic this broker leads now, and which no more.

use std::sync::Arc;

use crate::api::context::Services;
use crate::metadata::topic_names::GROUP_METADATA_TOPIC;
use crate::replica::leadership::Applied;

/// Passes on what a request of the controller changed.
pub async fn announce(services: &Arc<Services>, applied: &Applied) {
    for change in applied
        .resigned
        .iter()
        .filter(|change| change.topic == GROUP_METADATA_TOPIC)
    {
        services
            .groups
            .on_resigned(change.partition, change.leader_epoch);
    }
    for change in applied
        .elected
        .iter()
        .filter(|change| change.topic == GROUP_METADATA_TOPIC)
    {
        services
            .groups
            .on_elected(change.partition, change.leader_epoch.unwrap_or_default());
    }
}
