//! Shell: many deadlines, one sleeping task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Keys that come due; a key may be there more than once.
#[derive(Debug)]
pub struct Timers<K> {
    start: Instant,
    heap: Mutex<BinaryHeap<Reverse<(i64, K)>>>,
    earlier: Notify,
}

impl<K: Ord> Timers<K> {
    /// Nothing is due; the clock starts at 0.
    pub fn new() -> Timers<K> {
        Timers {
            start: Instant::now(),
            heap: Mutex::default(),
            earlier: Notify::new(),
        }
    }

    /// Milliseconds since this was made, on a clock that never goes back.
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The key comes due at this time of [`Timers::now_ms`].
    pub fn set(&self, at_ms: i64, key: K) {
        let mut heap = self.heap.lock();
        let is_first = heap.peek().is_none_or(|Reverse((first, _))| at_ms < *first);
        heap.push(Reverse((at_ms, key)));
        drop(heap);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// The next key that is due, with the time it was set for. One task waits at a time.
    pub async fn next(&self) -> (i64, K) {
        loop {
            let now = self.now_ms();
            let first = {
                let mut heap = self.heap.lock();
                match heap.peek().map(|Reverse((at, _))| *at) {
                    Some(at) if at <= now => match heap.pop() {
                        Some(Reverse(due)) => return due,
                        None => None,
                    },
                    first => first,
                }
            };
            match first {
                None => self.earlier.notified().await,
                Some(at) => {
                    // Deadlines count whole milliseconds, the clock does not: one more is enough.
                    let wait = u64::try_from(at - now).unwrap_or(0) + 1;
                    let _ =
                        tokio::time::timeout(Duration::from_millis(wait), self.earlier.notified())
                            .await;
                }
            }
        }
    }
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_come_in_the_order_of_their_deadlines() {
        let timers = Timers::new();
        let now = timers.now_ms();
        timers.set(now + 20, "c");
        timers.set(now + 10, "b");
        timers.set(now - 1, "a");
        let mut keys = Vec::new();
        for _ in 0..3 {
            let (at, key) = timers.next().await;
            assert!(timers.now_ms() >= at);
            keys.push(key);
        }
        assert_eq!(keys, ["a", "b", "c"]);
    }
}
