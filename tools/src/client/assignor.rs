//! Pure: who of a consumer group reads which partitions (`RangeAssignor.java`,
//! `CooperativeStickyAssignor.java`).

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;

/// A partition of a topic.
pub type Place = (ByteString, i32);

/// A member with what it subscribed to.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Its id.
    pub id: ByteString,
    /// Its name over restarts, if it has one.
    pub instance_id: Option<ByteString>,
    /// Topics that it wants.
    pub topics: Vec<ByteString>,
    /// Partitions that it says it holds.
    pub owned: Vec<Place>,
    /// Generation in which it got them.
    pub generation: i32,
}

/// Partitions per member, by member id.
pub type Assignment = BTreeMap<ByteString, Vec<Place>>;

/// For each topic, neighbouring partitions to each of its members, the first ones getting one more.
#[must_use]
pub fn range(members: &[Member], partitions: &BTreeMap<ByteString, i32>) -> Assignment {
    let mut assignment: Assignment = members
        .iter()
        .map(|member| (member.id.clone(), Vec::new()))
        .collect();
    for (topic, count) in partitions {
        let mut takers: Vec<&Member> = members
            .iter()
            .filter(|member| member.topics.contains(topic))
            .collect();
        // Members with an instance id come first and in its order.
        takers.sort_by_key(|member| {
            (
                member.instance_id.is_none(),
                member.instance_id.clone(),
                member.id.clone(),
            )
        });
        let shares = takers.len() as i32;
        let mut next = 0;
        for (index, member) in takers.iter().enumerate() {
            let extra = i32::from((index as i32) < count % shares.max(1));
            let share = count / shares.max(1) + extra;
            let taken = (next..next + share).map(|partition| (topic.clone(), partition));
            assignment
                .entry(member.id.clone())
                .or_default()
                .extend(taken);
            next += share;
        }
    }
    assignment
}

/// An even assignment that moves as little as it can. A partition that has to move is given to
/// nobody this time: its holder sees that it lost it, gives it up and lets the group assign again.
#[must_use]
pub fn cooperative_sticky(
    members: &[Member],
    partitions: &BTreeMap<ByteString, i32>,
) -> Assignment {
    let all: BTreeSet<Place> = partitions
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|partition| (topic.clone(), partition)))
        .collect();
    let wants = |member: &Member, place: &Place| member.topics.contains(&place.0);
    let holders = holders(members, &all);
    let mut kept: Vec<BTreeSet<Place>> = vec![BTreeSet::new(); members.len()];
    for (place, holder) in &holders {
        kept[*holder].insert(place.clone());
    }
    for place in all.iter().filter(|place| !holders.contains_key(*place)) {
        let takers = (0..members.len()).filter(|index| wants(&members[*index], place));
        if let Some(taker) = takers.min_by_key(|index| (kept[*index].len(), &members[*index].id)) {
            kept[taker].insert(place.clone());
        }
    }
    while let Some((from, to, place)) = improvement(members, &kept) {
        kept[from].remove(&place);
        kept[to].insert(place);
    }
    let mut assignment = Assignment::new();
    for (index, member) in members.iter().enumerate() {
        let places = kept[index].iter();
        let free = places.filter(|place| holders.get(*place).is_none_or(|holder| *holder == index));
        assignment.insert(member.id.clone(), free.cloned().collect());
    }
    assignment
}

/// Who holds each partition: of those that say so, the one of the highest generation.
fn holders(members: &[Member], all: &BTreeSet<Place>) -> BTreeMap<Place, usize> {
    let mut claims: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for place in member.owned.iter().filter(|place| all.contains(*place)) {
            if member.topics.contains(&place.0) {
                claims.entry(place.clone()).or_default().push(index);
            }
        }
    }
    let mut holders = BTreeMap::new();
    for (place, claimants) in claims {
        let newest = claimants
            .iter()
            .map(|index| members[*index].generation)
            .max();
        let mut newest = claimants
            .iter()
            .filter(|it| Some(members[**it].generation) == newest);
        // Two claims of the same generation cannot both be right: then nobody keeps it.
        if let (Some(only), None) = (newest.next(), newest.next()) {
            holders.insert(place, *only);
        }
    }
    holders
}

/// A move from a member to one that has at least two partitions less.
fn improvement(members: &[Member], kept: &[BTreeSet<Place>]) -> Option<(usize, usize, Place)> {
    let mut by_load: Vec<usize> = (0..members.len()).collect();
    by_load.sort_by_key(|index| kept[*index].len());
    for &from in by_load.iter().rev() {
        for &to in &by_load {
            if kept[from].len() <= kept[to].len() + 1 {
                break;
            }
            let place = kept[from]
                .iter()
                .find(|place| members[to].topics.contains(&place.0));
            if let Some(place) = place {
                return Some((from, to, place.clone()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, owned: &[i32]) -> Member {
        Member {
            id: id.into(),
            topics: vec!["t".into()],
            owned: owned
                .iter()
                .map(|partition| ("t".into(), *partition))
                .collect(),
            generation: 1,
            ..Member::default()
        }
    }

    fn numbers(assignment: &Assignment, id: &str) -> Vec<i32> {
        assignment[id]
            .iter()
            .map(|(_, partition)| *partition)
            .collect()
    }

    fn topic(count: i32) -> BTreeMap<ByteString, i32> {
        BTreeMap::from([("t".into(), count)])
    }

    #[test]
    fn ranges_are_javas() {
        // As in the documentation of RangeAssignor: two members, three partitions.
        let assignment = range(&[member("b", &[]), member("a", &[])], &topic(3));
        assert_eq!(numbers(&assignment, "a"), [0, 1]);
        assert_eq!(numbers(&assignment, "b"), [2]);
    }

    #[test]
    fn partitions_move_in_two_steps() {
        let members = [member("a", &[0, 1, 2, 3]), member("b", &[])];
        let first = cooperative_sticky(&members, &topic(4));
        assert_eq!(numbers(&first, "a").len(), 2);
        assert_eq!(numbers(&first, "b"), Vec::<i32>::new());
        let kept = numbers(&first, "a");
        let second = cooperative_sticky(&[member("a", &kept), member("b", &[])], &topic(4));
        assert_eq!(numbers(&second, "a"), kept);
        assert_eq!(numbers(&second, "b").len(), 2);
    }
}
