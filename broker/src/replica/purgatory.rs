//! Shell: who waits for a partition to move, as futures that are woken; nobody polls.
//!
//! Kafka's purgatories keep delayed operations and try to complete them whenever an offset moves. Here whoever
//! waits registers one `Waiter` with each partition it cares about, looks whether it is done, and sleeps until one
//! of the partitions moves or its time is over. Registering before looking is what makes a wake-up impossible to
//! miss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    /// How many wait; lets an append with nobody waiting pass without a lock.
    count: AtomicUsize,
    /// Counts the moves, so that whoever looked before it registered knows whether to look again.
    moves: AtomicU64,
    list: Mutex<Vec<Arc<Notify>>>,
}

impl Waiters {
    /// Wakes all who wait for this partition; they look for themselves whether they are done.
    pub fn wake(&self) {
        self.moves.fetch_add(1, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for waiter in self.list.lock().iter() {
            waiter.notify_one();
        }
    }

    /// How often the partition has moved.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }

    fn add(&self, waiter: &Arc<Notify>) {
        let mut list = self.list.lock();
        list.push(waiter.clone());
        self.count.store(list.len(), Ordering::SeqCst);
    }

    fn remove(&self, waiter: &Arc<Notify>) {
        let mut list = self.list.lock();
        if let Some(place) = list.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            list.swap_remove(place);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }
}

/// Something that has `Waiters`: a partition.
pub trait Watched {
    /// Those who wait for it.
    fn waiters(&self) -> &Waiters;
}

/// One operation that waits for any of several partitions until a deadline.
#[derive(Debug)]
pub struct Waiter<W: Watched> {
    notify: Arc<Notify>,
    watched: Vec<Arc<W>>,
    deadline: Instant,
}

impl<W: Watched> Waiter<W> {
    /// Registers with all of `watched`; from now on no move of theirs is missed.
    pub fn register(watched: Vec<Arc<W>>, timeout: Duration) -> Self {
        let notify = Arc::new(Notify::new());
        for partition in &watched {
            partition.waiters().add(&notify);
        }
        Self {
            notify,
            watched,
            deadline: Instant::now() + timeout,
        }
    }

    /// Sleeps until a partition moves. False when the time is over.
    pub async fn moved(&self) -> bool {
        tokio::time::timeout_at(self.deadline, self.notify.notified())
            .await
            .is_ok()
    }
}

impl<W: Watched> Drop for Waiter<W> {
    fn drop(&mut self) {
        for partition in &self.watched {
            partition.waiters().remove(&self.notify);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug)]
    struct Thing(Waiters);

    impl Watched for Thing {
        fn waiters(&self) -> &Waiters {
            &self.0
        }
    }

    #[tokio::test]
    async fn a_wake_between_registering_and_sleeping_is_not_lost() {
        let things = vec![Arc::new(Thing::default()), Arc::new(Thing::default())];
        let waiter = Waiter::register(things.clone(), Duration::from_secs(60));
        things[1].0.wake();
        assert!(waiter.moved().await);
        drop(waiter);
        assert!(things.iter().all(|thing| thing.0.list.lock().is_empty()));
    }

    #[tokio::test]
    async fn nobody_moves_and_the_time_is_over() {
        let waiter = Waiter::register(vec![Arc::new(Thing::default())], Duration::ZERO);
        assert!(!waiter.moved().await);
    }
}
