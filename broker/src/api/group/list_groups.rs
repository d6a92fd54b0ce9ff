//! Shell: ListGroups, 0 to 4: the groups that this broker coordinates. 4 filters by state
//! (KIP-518).

use std::sync::Arc;

use kafka_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::coordinator::GroupOverview;

/// Lists groups.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let (error, groups) = services.groups.list(&request.states_filter);
    let listed = |group: GroupOverview| ListedGroup {
        group_id: group.group_id,
        protocol_type: group.protocol_type,
        group_state: group.state.into(),
    };
    ListGroupsResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
        groups: groups.into_iter().map(listed).collect(),
    }
}
