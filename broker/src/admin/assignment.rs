//! Pure: which brokers get the replicas of new partitions (`server-common/.../AdminUtils.java`).
//!
//! Leaders go round-robin over the brokers from a random start; the followers of one round are shifted
//! against the leader by one more than those of the round before. With racks the brokers are listed
//! alternating between racks, and a broker is skipped while its rack has a replica and another rack has
//! none.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::error_code::ErrorCode;

use crate::admin::error::ApiError;

/// A broker that may get replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The broker's id.
    pub id: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// Where to begin: the index of the first leader, the first shift of followers, and the number of the
/// first partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Index of the first leader among the brokers; random for a new topic.
    pub start: usize,
    /// First shift of the followers; random for a new topic.
    pub shift: usize,
    /// Number of the first partition.
    pub first_partition: i32,
}

/// Assigns `replication_factor` replicas to each of `partitions` new partitions. `candidates` are in
/// the order of their ids.
///
/// # Errors
/// What `CreateTopics` and `CreatePartitions` answer.
pub fn assign(
    candidates: &[Candidate],
    partitions: i32,
    replication_factor: i32,
    begin: Begin,
) -> Result<BTreeMap<i32, Vec<i32>>, ApiError> {
    if partitions <= 0 {
        let message = "Number of partitions must be larger than 0.";
        return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    }
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidReplicationFactor, message);
    if replication_factor <= 0 {
        return Err(invalid(
            "Replication factor must be larger than 0.".to_string(),
        ));
    }
    let count = candidates.len();
    let factor = usize::try_from(replication_factor).unwrap_or(usize::MAX);
    if factor > count {
        return Err(invalid(format!(
            "Replication factor: {replication_factor} larger than available brokers: {count}."
        )));
    }
    let with_rack = candidates
        .iter()
        .filter(|candidate| candidate.rack.is_some())
        .count();
    if with_rack != 0 && with_rack != count {
        // Kafka throws an exception that has no error code.
        return Err(ApiError::plain(ErrorCode::UnknownServerError));
    }
    let first = begin.first_partition.max(0);
    let numbers = first..first.saturating_add(partitions);
    if with_rack == 0 {
        let ids: Vec<i32> = candidates.iter().map(|candidate| candidate.id).collect();
        Ok(without_racks(&ids, numbers, factor, begin))
    } else {
        Ok(with_racks(candidates, numbers, factor, begin))
    }
}

fn without_racks(
    ids: &[i32],
    numbers: std::ops::Range<i32>,
    factor: usize,
    begin: Begin,
) -> BTreeMap<i32, Vec<i32>> {
    let count = ids.len();
    let mut shift = begin.shift;
    let mut assignment = BTreeMap::new();
    for number in numbers {
        let index = usize::try_from(number).unwrap_or(0);
        if index > 0 && index % count == 0 {
            shift += 1;
        }
        let leader = (index + begin.start) % count;
        let mut replicas: Vec<i32> = ids.get(leader).copied().into_iter().collect();
        for follower in 0..factor - 1 {
            replicas.extend(
                ids.get(follower_index(leader, shift, follower, count))
                    .copied(),
            );
        }
        assignment.insert(number, replicas);
    }
    assignment
}

fn with_racks(
    candidates: &[Candidate],
    numbers: std::ops::Range<i32>,
    factor: usize,
    begin: Begin,
) -> BTreeMap<i32, Vec<i32>> {
    let listed = rack_alternated(candidates);
    let count = listed.len();
    let racks: BTreeSet<&str> = listed.iter().map(|(_, rack)| *rack).collect();
    let mut shift = begin.shift;
    let mut assignment = BTreeMap::new();
    for number in numbers {
        let index = usize::try_from(number).unwrap_or(0);
        if index > 0 && index % count == 0 {
            shift += 1;
        }
        let leader = (index + begin.start) % count;
        let Some((leader_id, leader_rack)) = listed.get(leader).copied() else {
            continue;
        };
        let mut replicas = vec![leader_id];
        let mut used_racks = BTreeSet::from([leader_rack]);
        let mut probe = 0;
        while replicas.len() < factor {
            let at = follower_index(leader, shift * racks.len(), probe, count);
            probe += 1;
            let Some((id, rack)) = listed.get(at).copied() else {
                continue;
            };
            let rack_is_free = !used_racks.contains(rack) || used_racks.len() == racks.len();
            if rack_is_free && !replicas.contains(&id) {
                replicas.push(id);
                used_racks.insert(rack);
            }
        }
        assignment.insert(number, replicas);
    }
    assignment
}

/// One broker of each rack in turn; racks in order of name, brokers of a rack in order of id.
fn rack_alternated(candidates: &[Candidate]) -> Vec<(i32, &str)> {
    let mut by_rack: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for candidate in candidates {
        let rack = candidate.rack.as_deref().unwrap_or_default();
        by_rack.entry(rack).or_default().push(candidate.id);
    }
    for ids in by_rack.values_mut() {
        ids.sort_unstable();
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    let round = |n: usize| {
        by_rack
            .iter()
            .filter_map(move |(rack, ids)| Some((*ids.get(n)?, *rack)))
    };
    (0..longest).flat_map(round).collect()
}

fn follower_index(leader: usize, shift: usize, follower: usize, count: usize) -> usize {
    // With one broker there are no followers.
    (leader + 1 + (shift + follower) % count.saturating_sub(1).max(1)) % count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `racks TAB partitions TAB factor TAB start TAB first TAB assignment`, printed by Apache's
    /// `AdminUtils`; the n-th broker has id 2n+1.
    const GOLDEN: &str = include_str!("golden/assignments.tsv");

    #[test]
    fn assigns_as_apache_does() {
        for line in GOLDEN.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [racks, partitions, factor, start, first, expected] = fields[..] else {
                panic!()
            };
            let candidate = |(n, rack): (usize, &str)| Candidate {
                id: n as i32 * 2 + 1,
                rack: (rack != "-").then(|| rack.to_string()),
            };
            let candidates: Vec<_> = racks.split(',').enumerate().map(candidate).collect();
            let start: usize = start.parse().unwrap();
            let begin = Begin {
                start,
                shift: start,
                first_partition: first.parse().unwrap(),
            };
            let (partitions, factor) = (partitions.parse().unwrap(), factor.parse().unwrap());
            let assigned = assign(&candidates, partitions, factor, begin).unwrap();
            let shown: Vec<_> = assigned
                .iter()
                .map(|(partition, ids)| format!("{partition}={ids:?}").replace(' ', ""))
                .collect();
            assert_eq!(format!("{{{}}}", shown.join(",")), expected, "{line}");
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        let one = [Candidate { id: 1, rack: None }];
        let begin = Begin {
            start: 0,
            shift: 0,
            first_partition: 0,
        };
        let refused = |partitions, factor| assign(&one, partitions, factor, begin).unwrap_err();
        assert_eq!(refused(0, 1).code, ErrorCode::InvalidPartitions);
        assert_eq!(refused(1, 0).code, ErrorCode::InvalidReplicationFactor);
        let message = "Replication factor: 2 larger than available brokers: 1.";
        assert_eq!(refused(1, 2).message.as_deref(), Some(message));
    }
}
