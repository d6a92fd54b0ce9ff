//! Shell: the partitions of an internal topic that a coordinator has heard of, each of them with
//! its own lock.

use std::sync::Arc;

use dashmap::DashMap;

use crate::coordinator::java;

/// One shard for each partition, made when it is first asked for.
pub struct Shards<S> {
    partitions: i32,
    make: Box<dyn Fn(i32) -> Arc<S> + Send + Sync>,
    known: DashMap<i32, Arc<S>>,
}

impl<S> Shards<S> {
    /// None yet; the topic has this many partitions.
    pub fn new(partitions: i32, make: impl Fn(i32) -> Arc<S> + Send + Sync + 'static) -> Shards<S> {
        Shards {
            partitions: partitions.max(1),
            make: Box::new(make),
            known: DashMap::new(),
        }
    }

    /// The partition that a group or transactional id belongs to.
    pub fn partition_for(&self, id: &str) -> i32 {
        java::partition_for(id, self.partitions)
    }

    /// The shard that a group or transactional id belongs to.
    pub fn of(&self, id: &str) -> Arc<S> {
        self.get(self.partition_for(id))
    }

    /// The shard of a partition.
    pub fn get(&self, partition: i32) -> Arc<S> {
        if let Some(shard) = self.known.get(&partition) {
            return Arc::clone(&shard);
        }
        let new = || (self.make)(partition);
        Arc::clone(&self.known.entry(partition).or_insert_with(new))
    }

    /// All that there are.
    pub fn all(&self) -> Vec<Arc<S>> {
        let shards = self.known.iter();
        shards.map(|entry| Arc::clone(entry.value())).collect()
    }
}
