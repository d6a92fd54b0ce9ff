//! Pure: the markers that wait for their brokers (`TransactionMarkerChannelManager.scala`): one
//! request is on its way to a broker at a time, and takes along all that came meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::message::Markers;

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// A broker that is alive.
    Broker(i32),
    /// Nobody who is alive.
    Unknown,
    /// The partition does not exist.
    NoPartition,
}

/// Markers by the broker that they go to.
#[derive(Debug, Default)]
pub struct MarkerQueues {
    waiting: BTreeMap<i32, Vec<Markers>>,
    leaderless: Vec<Markers>,
    busy: BTreeSet<i32>,
}

impl MarkerQueues {
    /// Sorts markers by leader. Those for partitions that do not exist come back.
    pub fn add(
        &mut self,
        markers: Markers,
        leader: impl Fn(&TopicPartition) -> Leader,
    ) -> Option<Markers> {
        let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let (mut leaderless, mut gone) = (Vec::new(), Vec::new());
        for partition in &markers.partitions {
            match leader(partition) {
                Leader::Broker(id) => by_leader.entry(id).or_default().push(partition.clone()),
                Leader::Unknown => leaderless.push(partition.clone()),
                Leader::NoPartition => gone.push(partition.clone()),
            }
        }
        let some = |partitions: Vec<TopicPartition>| Markers {
            partitions,
            ..markers.clone()
        };
        for (broker, partitions) in by_leader {
            self.waiting
                .entry(broker)
                .or_default()
                .push(some(partitions));
        }
        if !leaderless.is_empty() {
            self.leaderless.push(some(leaderless));
        }
        (!gone.is_empty()).then(|| some(gone))
    }

    /// Takes the markers whose leader was not known, to be added again.
    pub fn take_leaderless(&mut self) -> Vec<Markers> {
        std::mem::take(&mut self.leaderless)
    }

    /// Whether there are markers whose leader is not known.
    pub fn has_leaderless(&self) -> bool {
        !self.leaderless.is_empty()
    }

    /// A broker that is not being asked, with all that waits for it.
    pub fn take_next(&mut self) -> Option<(i32, Vec<Markers>)> {
        let is_free = |broker: &&i32| !self.busy.contains(broker);
        let broker = *self.waiting.keys().find(is_free)?;
        let batch = self.waiting.remove(&broker)?;
        self.busy.insert(broker);
        Some((broker, batch))
    }

    /// The broker has answered, or will not.
    pub fn answered(&mut self, broker: i32) {
        self.busy.remove(&broker);
    }

    /// Drops the markers of a coordinator that is none any more.
    pub fn forget(&mut self, shard: i32) {
        self.leaderless.retain(|markers| markers.shard != shard);
        for waiting in self.waiting.values_mut() {
            waiting.retain(|markers| markers.shard != shard);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }
}

/// One request for a batch of markers.
pub fn request(batch: &[Markers]) -> WriteTxnMarkersRequest {
    let marker = |markers: &Markers| {
        let mut topics: Vec<WritableTxnMarkerTopic> = Vec::new();
        for partition in &markers.partitions {
            match topics
                .iter_mut()
                .find(|topic| topic.name == partition.topic)
            {
                Some(topic) => topic.partition_indexes.push(partition.partition),
                None => topics.push(WritableTxnMarkerTopic {
                    name: partition.topic.clone(),
                    partition_indexes: vec![partition.partition],
                }),
            }
        }
        WritableTxnMarker {
            producer_id: markers.producer.id,
            producer_epoch: markers.producer.epoch,
            transaction_result: markers.commit,
            topics,
            coordinator_epoch: markers.coordinator_epoch,
        }
    };
    WriteTxnMarkersRequest {
        markers: batch.iter().map(marker).collect(),
    }
}

/// What the broker answered to each of the markers. Of what it does not mention nothing is known:
/// that is as if it had not answered.
pub fn answers(
    batch: &[Markers],
    response: &WriteTxnMarkersResponse,
) -> Vec<Vec<(TopicPartition, ErrorCode)>> {
    let mut told: BTreeMap<(i64, &str, i32), ErrorCode> = BTreeMap::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                let key = (marker.producer_id, &*topic.name, partition.partition_index);
                told.insert(key, ErrorCode::from_code(partition.error_code));
            }
        }
    }
    let answer = |markers: &Markers, partition: &TopicPartition| {
        let key = (markers.producer.id, &*partition.topic, partition.partition);
        let error = told
            .get(&key)
            .copied()
            .unwrap_or(ErrorCode::NetworkException);
        (partition.clone(), error)
    };
    let all = |markers: &Markers| {
        markers
            .partitions
            .iter()
            .map(|p| answer(markers, p))
            .collect()
    };
    batch.iter().map(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::transaction::transaction::ProducerIdentity;

    fn at(topic: &'static str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }

    fn markers(shard: i32, producer: i64, partitions: &[TopicPartition]) -> Markers {
        Markers {
            shard,
            coordinator_epoch: 0,
            transactional_id: format!("id-{producer}").into(),
            producer: ProducerIdentity {
                id: producer,
                epoch: 0,
            },
            commit: true,
            partitions: partitions.to_vec(),
        }
    }

    #[test]
    fn a_broker_gets_one_request_at_a_time_with_all_that_waits() {
        let mut queues = MarkerQueues::default();
        let leader = |partition: &TopicPartition| match partition.partition {
            9 => Leader::NoPartition,
            8 => Leader::Unknown,
            other => Leader::Broker(other % 2),
        };
        let all = [at("t", 0), at("t", 1), at("t", 8), at("t", 9)];
        let gone = queues.add(markers(0, 1, &all), leader).unwrap();
        assert_eq!(gone.partitions, [at("t", 9)]);
        assert!(queues.has_leaderless());
        let (broker, batch) = queues.take_next().unwrap();
        assert_eq!((broker, batch.len()), (0, 1));
        assert_eq!(queues.add(markers(1, 2, &[at("t", 2)]), leader), None);
        assert_eq!(queues.add(markers(0, 3, &[at("t", 4)]), leader), None);
        assert_eq!(queues.take_next().unwrap().0, 1);
        assert_eq!(queues.take_next(), None);
        queues.answered(0);
        assert_eq!(queues.take_next().unwrap().1.len(), 2);
        queues.forget(0);
        assert!(!queues.has_leaderless());
    }

    #[test]
    fn what_an_answer_does_not_mention_is_as_if_unanswered() {
        let batch = [markers(0, 1, &[at("t", 0), at("u", 1), at("t", 2)])];
        let asked = request(&batch);
        assert_eq!(asked.markers[0].topics.len(), 2);
        assert_eq!(asked.markers[0].topics[0].partition_indexes, [0, 2]);
        let told = answers(&batch, &WriteTxnMarkersResponse::default());
        assert!(
            told[0]
                .iter()
                .all(|(_, error)| *error == ErrorCode::NetworkException)
        );
    }
}
