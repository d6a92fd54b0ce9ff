//! Shell: JoinGroup, 0 to 9: becoming a member, and waiting for the generation to begin.
//!
//! 1 has a rebalance timeout of its own; from 4 a dynamic member must come back with the id it is
//! given (KIP-394); 5 static members (KIP-345); 7 the protocol type, and no protocol is null; 8 a
//! reason (KIP-800); 9 static leaders may be told to skip the assignment (KIP-814).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::message::{JoinRequest, JoinResult, Protocol};
use crate::coordinator::java;

/// Joins; the answer may take as long as the rebalance.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.header.api_version;
    let group_id = request.group_id.clone();
    let protocol = |p: kafka_wire::messages::join_group::JoinGroupRequestProtocol| Protocol {
        name: p.name,
        metadata: p.metadata,
    };
    let rebalance_timeout_ms = match version {
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    let join = JoinRequest {
        member_id: request.member_id,
        require_known_member_id: version >= 4 && request.group_instance_id.is_none(),
        group_instance_id: request.group_instance_id,
        client_id: context.client_id().into(),
        client_host: java::address(context.client_address).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request.protocols.into_iter().map(protocol).collect(),
        can_skip_assignment: version >= 9,
        reason: request.reason,
        fresh_uuid: random_uuid(),
    };
    response(version, services.groups.join(&group_id, join).await)
}

fn response(version: i16, result: JoinResult) -> JoinGroupResponse {
    let protocol_name = match result.protocol_name {
        None if version < 7 => Some(ByteString::new()),
        Some(name) if version >= 7 && name.is_empty() => None,
        name => name,
    };
    let members = result
        .members
        .into_iter()
        .map(|member| JoinGroupResponseMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            metadata: member.metadata,
        });
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: result.error.code(),
        generation_id: result.generation,
        protocol_type: result.protocol_type,
        protocol_name,
        leader: result.leader,
        skip_assignment: result.skip_assignment,
        member_id: result.member_id,
        members: members.collect(),
    }
}

/// A random UUID (version 4) as Java prints it: member ids end with one.
fn random_uuid() -> ByteString {
    let mut bits: u128 = rand::random();
    bits = bits & !(0xf << 76) | (0x4 << 76);
    bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_end_with_a_random_uuid_of_version_4() {
        let (one, other) = (random_uuid(), random_uuid());
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]));
    }
}
