//! Shell: DescribeGroups, 0 to 5: state, protocol, members. 3 operations allowed on the group
//! (KIP-430); 4 static members (KIP-345).

use std::sync::Arc;

use kafka_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::api::cluster::operations;
use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::message::{GroupSummary, MemberSummary};

/// Describes groups that this broker coordinates.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let describe = |group_id: bytestring::ByteString| {
        let described = services.groups.describe(&group_id);
        let (error_code, summary) = match described {
            Ok(summary) => (0, summary),
            Err(error) => (error.code(), GroupSummary::none()),
        };
        let is_asked = request.include_authorized_operations && error_code == 0;
        DescribedGroup {
            error_code,
            group_id,
            group_state: summary.state.into(),
            protocol_type: summary.protocol_type,
            protocol_data: summary.protocol,
            members: summary.members.into_iter().map(member).collect(),
            authorized_operations: match is_asked {
                true => operations::GROUP,
                false => operations::NOT_ASKED,
            },
        }
    };
    DescribeGroupsResponse {
        throttle_time_ms: 0,
        groups: request.groups.into_iter().map(describe).collect(),
    }
}

fn member(member: MemberSummary) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
