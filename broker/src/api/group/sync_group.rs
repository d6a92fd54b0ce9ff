//! Shell: SyncGroup, 0 to 5: the leader brings the assignment, everybody fetches theirs.
//!
//! 3 static members (KIP-345); 5 carries the protocol's type and name, which then must be there
//! (KIP-559).

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::message::{SyncRequest, SyncResult};

/// Syncs; a follower's answer waits for the leader.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.header.api_version >= 5 && !names_protocol {
        return response(SyncResult::failed(ErrorCode::InconsistentGroupProtocol));
    }
    let sync = SyncRequest {
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|part| (part.member_id, part.assignment))
            .collect(),
    };
    response(services.groups.sync(&request.group_id, sync).await)
}

fn response(result: SyncResult) -> SyncGroupResponse {
    SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: result.error.code(),
        protocol_type: result.protocol_type,
        protocol_name: result.protocol_name,
        assignment: result.assignment,
    }
}
