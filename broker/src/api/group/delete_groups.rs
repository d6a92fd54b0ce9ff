//! Shell: DeleteGroups, 0 to 2: forgets groups without members, and their offsets (KIP-229).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_wire::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::api::context::{RequestContext, Services};

/// Deletes groups; one that is named twice is answered once.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        if seen.insert(group_id.clone()) {
            let error_code = services.groups.delete_group(&group_id).code();
            results.push(DeletableGroupResult {
                group_id,
                error_code,
            });
        }
    }
    DeleteGroupsResponse {
        throttle_time_ms: 0,
        results,
    }
}
