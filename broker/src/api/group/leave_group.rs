//! Shell: LeaveGroup, 0 to 5. From 3 several members leave at once, each with its own outcome, and
//! an administrator removes static ones by instance id (KIP-345); 5 reasons (KIP-800).

use std::sync::Arc;

use kafka_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::message::Leaver;

/// Removes members.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let is_single = context.header.api_version < 3;
    let leavers: Vec<Leaver> = if is_single {
        vec![Leaver {
            member_id: request.member_id,
            group_instance_id: None,
            reason: None,
        }]
    } else {
        let leaver = |member: kafka_wire::messages::leave_group::MemberIdentity| Leaver {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            reason: member.reason,
        };
        request.members.into_iter().map(leaver).collect()
    };
    let mut response = LeaveGroupResponse::default();
    match services.groups.leave(&request.group_id, &leavers) {
        Err(error) => response.error_code = error.code(),
        Ok(results) if is_single => {
            response.error_code = results.first().map_or(0, |error| error.code());
        }
        Ok(results) => {
            let member =
                |(leaver, error): (Leaver, kafka_wire::error_code::ErrorCode)| MemberResponse {
                    member_id: leaver.member_id,
                    group_instance_id: leaver.group_instance_id,
                    error_code: error.code(),
                };
            response.members = leavers.into_iter().zip(results).map(member).collect();
        }
    }
    response
}
