//! Shell: producer ids, unique in the cluster: the controller gives each broker blocks of them.
//!
//! Behaviour from `ProducerIdManager.scala` (the RPC manager, IBP 3.0 and later): the next block is
//! asked for when 90 % of the present one is used; without a block producers are told
//! `COORDINATOR_LOAD_IN_PROGRESS`, which all of them retry. After a failure the controller is not
//! asked again for 50 ms.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use parking_lot::Mutex;
use tokio::time::Instant;

const RETRY_BACKOFF: Duration = Duration::from_millis(50);

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
        })
    }

    /// An id that nobody else has.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` while the controller is asked for more.
    pub fn generate(self: &Arc<Self>) -> Result<i64, ErrorCode> {
        let mut state = self.state.lock();
        let id = state.claim();
        let may_ask = state.ask_again_at.is_none_or(|at| Instant::now() >= at);
        if state.wants_more() && may_ask {
            state.is_asking = true;
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let answer = (this.allocate)().await;
                this.answered(answer);
            });
        }
        id.ok_or(ErrorCode::CoordinatorLoadInProgress)
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
        assert_eq!(ids.generate(), Err(ErrorCode::CoordinatorLoadInProgress));
        for expected in 0..3000 {
            tokio::task::yield_now().await;
            assert_eq!(ids.generate(), Ok(expected));
        }
        assert_eq!(blocks.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn blocks_that_overlap_are_refused() {
        let ids = ProducerIds::new(Box::new(|| {
            Box::pin(async { Ok(ProducerIdBlock { start: 7, len: 1 }) })
        }));
        assert!(ids.generate().is_err());
        tokio::task::yield_now().await;
        assert_eq!(ids.generate(), Ok(7));
        tokio::task::yield_now().await;
        assert_eq!(ids.generate(), Err(ErrorCode::CoordinatorLoadInProgress));
    }
}
