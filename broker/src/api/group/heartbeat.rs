//! Shell: Heartbeat, 0 to 4: a member lives, and learns of a rebalance. 3 static members (KIP-345).

use std::sync::Arc;

use kafka_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::api::context::{RequestContext, Services};

/// Starts the member's session anew.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let error = services.groups.heartbeat(
        &request.group_id,
        &request.member_id,
        request.group_instance_id.as_deref(),
        request.generation_id,
    );
    HeartbeatResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
    }
}
