//! Shell: ControlledShutdown, 0 to 3: a broker asks the controller to take its leadership away.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};

use crate::api::context::{RequestContext, Services};

/// Moves leadership away and tells what is left.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: ControlledShutdownRequest,
) -> ControlledShutdownResponse {
    let (broker, epoch) = (request.broker_id, request.broker_epoch);
    let (code, remaining) = match services.controller.controlled_shutdown(broker, epoch).await {
        Ok(remaining) => (ErrorCode::None, remaining),
        Err(code) => (code, Vec::new()),
    };
    let partition = |left: crate::zk::znodes::TopicPartition| RemainingPartition {
        topic_name: left.topic.into(),
        partition_index: left.partition,
    };
    ControlledShutdownResponse {
        error_code: code.code(),
        remaining_partitions: remaining.into_iter().map(partition).collect(),
    }
}
