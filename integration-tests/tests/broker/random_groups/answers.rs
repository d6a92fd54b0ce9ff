//! Pure: what of the answers of two brokers must be the same: ids by their order, lists without one.

use std::collections::HashMap;

use bytestring::ByteString;
use kafka_wire::messages::delete_groups::DeleteGroupsResponse;
use kafka_wire::messages::describe_groups::DescribeGroupsResponse;
use kafka_wire::messages::heartbeat::HeartbeatResponse;
use kafka_wire::messages::join_group::JoinGroupResponse;
use kafka_wire::messages::leave_group::LeaveGroupResponse;
use kafka_wire::messages::list_groups::ListGroupsResponse;
use kafka_wire::messages::offset_commit::OffsetCommitResponse;
use kafka_wire::messages::offset_delete::OffsetDeleteResponse;
use kafka_wire::messages::offset_fetch::OffsetFetchResponse;
use kafka_wire::messages::sync_group::SyncGroupResponse;
use kafka_wire::messages::txn_offset_commit::TxnOffsetCommitResponse;
use kafka_wire::messages::write_txn_markers::WriteTxnMarkersResponse;

/// Letters of a UUID as text.
const UUID_LENGTH: usize = 36;

/// The member ids of one broker, and what they are called here.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, String>);

impl Ids {
    /// The random end of a member id.
    pub fn uuid(member_id: &str) -> Option<&str> {
        let at = member_id.len().checked_sub(UUID_LENGTH)?;
        let uuid = member_id.get(at..)?;
        (uuid.matches('-').count() == 4).then_some(uuid)
    }

    /// Has been given a name.
    pub fn knows(&self, member_id: &str) -> bool {
        Self::uuid(member_id).is_some_and(|uuid| self.0.contains_key(uuid))
    }

    /// Gives a name to a member id.
    pub fn insert(&mut self, member_id: &str, name: &str) {
        if let Some(uuid) = Self::uuid(member_id) {
            self.0.insert(uuid.to_owned(), name.to_owned());
        }
    }

    /// A member id with its random end replaced; one whose join is not answered has no name yet.
    pub fn name(&self, member_id: &str) -> ByteString {
        match Self::uuid(member_id) {
            Some(uuid) => {
                let name = self.0.get(uuid).map_or("#unnamed", |name| name);
                member_id.replace(uuid, name).into()
            }
            None => member_id.into(),
        }
    }

    /// A text with all known ids in it replaced.
    pub fn replace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (uuid, name) in &self.0 {
            text = text.replace(uuid, name);
        }
        text
    }
}

/// Makes an answer comparable.
pub trait Tidy {
    /// Names ids, sorts lists that have no order.
    fn tidy(&mut self, ids: &Ids);
}

impl Tidy for JoinGroupResponse {
    fn tidy(&mut self, ids: &Ids) {
        self.member_id = ids.name(&self.member_id);
        self.leader = ids.name(&self.leader);
        for member in &mut self.members {
            member.member_id = ids.name(&member.member_id);
        }
        self.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
}

impl Tidy for SyncGroupResponse {
    fn tidy(&mut self, _ids: &Ids) {}
}

impl Tidy for HeartbeatResponse {
    fn tidy(&mut self, _ids: &Ids) {}
}

impl Tidy for LeaveGroupResponse {
    fn tidy(&mut self, ids: &Ids) {
        for member in &mut self.members {
            member.member_id = ids.name(&member.member_id);
        }
    }
}

impl Tidy for DescribeGroupsResponse {
    fn tidy(&mut self, ids: &Ids) {
        for group in &mut self.groups {
            for member in &mut group.members {
                member.member_id = ids.name(&member.member_id);
            }
            group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        }
    }
}

impl Tidy for ListGroupsResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

impl Tidy for DeleteGroupsResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

impl Tidy for OffsetCommitResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
    }
}

impl Tidy for TxnOffsetCommitResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
    }
}

impl Tidy for OffsetDeleteResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
    }
}

impl Tidy for OffsetFetchResponse {
    fn tidy(&mut self, _ids: &Ids) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
        for group in &mut self.groups {
            group.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut group.topics {
                topic.partitions.sort_by_key(|p| p.partition_index);
            }
        }
    }
}

impl Tidy for WriteTxnMarkersResponse {
    fn tidy(&mut self, _ids: &Ids) {
        for marker in &mut self.markers {
            marker.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut marker.topics {
                topic.partitions.sort_by_key(|p| p.partition_index);
            }
        }
    }
}

/// What kafka-dump-log says of a partition of `__consumer_offsets`, without what differs by chance:
/// times, sizes, ids, the order of records in a batch and of members in a group. Batches of the groups
/// that were given up are left out, and so that they can be, all offsets.
pub fn dumped(text: &str, ids: &Ids, given_up: &[ByteString]) -> Vec<String> {
    const VARYING: &[&str] = &[
        "baseOffset",
        "lastOffset",
        "CreateTime",
        "sequence",
        "position",
        "size",
        "crc",
        "keySize",
        "valueSize",
        "offset",
        "magic",
    ];
    let mut batches: Vec<Vec<String>> = Vec::new();
    for line in ids.replace(text).lines() {
        let is_batch = line.starts_with("baseOffset");
        if !is_batch && !line.starts_with('|') {
            continue;
        }
        let (head, payload) = line.split_once(" key: ").unwrap_or((line, ""));
        let words: Vec<&str> = head.split(' ').collect();
        let mut kept = Vec::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let is_varying = word
                .strip_suffix(':')
                .is_some_and(|name| VARYING.contains(&name));
            if is_varying {
                words.next();
            } else {
                kept.push(word);
            }
        }
        let line = format!("{} {}", kept.join(" "), sorted_assignment(payload));
        match batches.last_mut() {
            Some(batch) if !is_batch => batch.push(line),
            _ => batches.push(vec![line]),
        }
    }
    let is_given_up = |batch: &Vec<String>| {
        let mut lines = batch.iter();
        lines.any(|line| {
            given_up.iter().any(|name| {
                line.contains(&format!("group={name},")) || line.contains(&format!("group={name} "))
            })
        })
    };
    batches.retain(|batch| !is_given_up(batch));
    for batch in &mut batches {
        if let Some(records) = batch.get_mut(1..) {
            records.sort();
        }
    }
    batches.concat()
}

/// The members in `"assignment":"{a=[t-0],b=[]}"` have the order of a hash table.
fn sorted_assignment(payload: &str) -> String {
    let parts = payload
        .split_once("\"assignment\":\"{")
        .and_then(|(head, rest)| Some((head, rest.rsplit_once("}\"")?)));
    let Some((head, (members, tail))) = parts else {
        return payload.to_owned();
    };
    let mut members: Vec<&str> = members
        .split_inclusive(']')
        .map(|m| m.trim_start_matches(','))
        .collect();
    members.sort_unstable();
    format!("{head}\"assignment\":\"{{{}}}\"{tail}", members.join(","))
}
