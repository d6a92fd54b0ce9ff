//! Shell: producer ids, unique in the cluster: the controller gives each broker blocks of them.
//!
//! Behaviour from `ProducerIdManager.scala` (the RPC manager, IBP 3.0 and later): the next block is
//! asked for when 90 % of the present one is used; without a block producers are told
//! `COORDINATOR_LOAD_IN_PROGRESS`, which all of them retry. After a failure the controller is not
//! asked again for 50 ms. Unlike Kafka a producer that comes before the block waits for it a
//! little: a client's pause before it tries again is longer than the controller's answer takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// How long a producer waits for a block; clients give up on a request much later.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Ids that belong to this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub start: i64,
    /// How many there are.
    pub len: i32,
}

/// Asks the controller for a block.
pub type Allocate = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<ProducerIdBlock, ErrorCode>> + Send>>
        + Send
        + Sync,
>;

#[derive(Debug, Default)]
struct State {
    current: Option<ProducerIdBlock>,
    used: i32,
    next: Option<ProducerIdBlock>,
    is_asking: bool,
    ask_again_at: Option<Instant>,
}

impl State {
    fn claim(&mut self) -> Option<i64> {
        if self.current.is_none_or(|block| self.used >= block.len) {
            self.current = Some(self.next.take()?);
            self.used = 0;
        }
        let block = self.current.filter(|block| self.used < block.len)?;
        let id = block.start.checked_add(i64::from(self.used))?;
        self.used += 1;
        Some(id)
    }

    fn wants_more(&self) -> bool {
        let is_used_up = self
            .current
            .is_none_or(|block| i64::from(self.used) > i64::from(block.len) * 9 / 10);
        is_used_up && self.next.is_none() && !self.is_asking
    }

    /// The highest id that is known to be taken.
    fn last(&self) -> i64 {
        self.current
            .map_or(-1, |block| block.start + i64::from(block.len) - 1)
    }
}

/// The producer ids of one broker.
pub struct ProducerIds {
    allocate: Allocate,
    state: Mutex<State>,
    is_answered: Notify,
}

impl std::fmt::Debug for ProducerIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerIds")
            .field("state", &*self.state.lock())
            .finish()
    }
}

impl ProducerIds {
    /// No ids yet; the first question asks the controller for some.
    pub fn new(allocate: Allocate) -> Arc<ProducerIds> {
        Arc::new(ProducerIds {
            allocate,
            state: Mutex::default(),
            is_answered: Notify::new(),
        })
    }

    /// An id that nobody else has.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` if the controller gives no more in time.
    pub async fn generate(self: &Arc<Self>) -> Result<i64, ErrorCode> {
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            // Made before looking, so that an answer in between is not missed.
            let is_answered = self.is_answered.notified();
            if let Some(id) = self.claim() {
                return Ok(id);
            }
            let may_come = self.state.lock().is_asking;
            if !may_come
                || tokio::time::timeout_at(deadline, is_answered)
                    .await
                    .is_err()
            {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
        }
    }

    /// Takes an id if there is one, and sees to it that there will be more.
    fn claim(self: &Arc<Self>) -> Option<i64> {
        let mut state = self.state.lock();
        let id = state.claim();
        let may_ask = state.ask_again_at.is_none_or(|at| Instant::now() >= at);
        if state.wants_more() && may_ask {
            state.is_asking = true;
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let answer = (this.allocate)().await;
                this.answered(answer);
                this.is_answered.notify_waiters();
            });
        }
        id
    }

    fn answered(&self, answer: Result<ProducerIdBlock, ErrorCode>) {
        let mut state = self.state.lock();
        state.is_asking = false;
        match answer {
            Ok(block) if block.start > state.last() && block.len > 0 => {
                state.next = Some(block);
                state.ask_again_at = None;
                return;
            }
            Ok(block) => {
                let last = state.last();
                tracing::error!(?block, last, "the controller gave ids that cannot be used");
            }
            Err(error) => tracing::warn!(%error, "no producer ids, asking again"),
        }
        state.ask_again_at = Some(Instant::now() + RETRY_BACKOFF);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test]
    async fn ids_go_up_through_the_blocks_and_the_next_block_is_there_in_time() {
        let blocks = Arc::new(AtomicI64::new(0));
        let given = Arc::clone(&blocks);
        let ids = ProducerIds::new(Box::new(move || {
            let start = given.fetch_add(1, Ordering::SeqCst) * 1000;
            Box::pin(async move { Ok(ProducerIdBlock { start, len: 1000 }) })
        }));
        for expected in 0..3000 {
            assert_eq!(ids.generate().await, Ok(expected));
            tokio::task::yield_now().await;
        }
        assert_eq!(blocks.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn without_a_usable_block_producers_are_told_to_come_again() {
        let ids = ProducerIds::new(Box::new(|| {
            Box::pin(async { Ok(ProducerIdBlock { start: 7, len: 1 }) })
        }));
        assert_eq!(ids.generate().await, Ok(7));
        // The same block once more would give the same id to two producers.
        let again = ids.generate().await;
        assert_eq!(again, Err(ErrorCode::CoordinatorLoadInProgress));
        let refused = ProducerIds::new(Box::new(|| {
            Box::pin(async { Err(ErrorCode::StaleBrokerEpoch) })
        }));
        let told = refused.generate().await;
        assert_eq!(told, Err(ErrorCode::CoordinatorLoadInProgress));
    }
}
