//! Pure: the partitions of a request that exist, and outcomes of partitions, gathered by topic in
//! the order of the first mention.

use std::collections::HashMap;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::topic_partition::TopicPartition;
use crate::metadata::cache::Snapshot;

/// Outcomes by topic.
#[derive(Debug, Default)]
pub struct TopicResults {
    list: Vec<(ByteString, Vec<(i32, ErrorCode)>)>,
    places: HashMap<ByteString, usize>,
}

impl TopicResults {
    /// The partitions that exist, each with its part of the request; the others have their outcome.
    pub fn sort_out<P>(
        &mut self,
        metadata: &Snapshot,
        topics: impl IntoIterator<Item = (ByteString, Vec<P>)>,
        index: impl Fn(&P) -> i32,
    ) -> Vec<(TopicPartition, P)> {
        let mut known = Vec::new();
        for (topic, partitions) in topics {
            for asked in partitions {
                let at = TopicPartition {
                    topic: topic.clone(),
                    partition: index(&asked),
                };
                match metadata.partition(&at.topic, at.partition) {
                    Some(_) => known.push((at, asked)),
                    None => self.add(at, ErrorCode::UnknownTopicOrPartition),
                }
            }
        }
        known
    }

    /// One partition's outcome.
    pub fn add(&mut self, at: TopicPartition, error: ErrorCode) {
        let list = &mut self.list;
        let place = *self.places.entry(at.topic.clone()).or_insert_with(|| {
            list.push((at.topic, Vec::new()));
            list.len() - 1
        });
        if let Some((_, partitions)) = list.get_mut(place) {
            partitions.push((at.partition, error));
        }
    }

    /// Everything, as the topics and partitions of a response.
    pub fn build<T, P>(
        self,
        partition: impl Fn(i32, i16) -> P,
        topic: impl Fn(ByteString, Vec<P>) -> T,
    ) -> Vec<T> {
        let one = |(name, partitions): (ByteString, Vec<(i32, ErrorCode)>)| {
            let results = partitions.into_iter();
            topic(
                name,
                results
                    .map(|(index, error)| partition(index, error.code()))
                    .collect(),
            )
        };
        self.list.into_iter().map(one).collect()
    }
}
