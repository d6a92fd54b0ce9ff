//! Shell: whether a coordinator is running, and the tasks that run with it.

use std::future::Future;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Not running until it is started.
#[derive(Debug, Default)]
pub struct Running {
    is_active: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Running {
    /// From now on it is.
    pub fn start(&self) {
        self.is_active.store(true, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::SeqCst)
    }

    /// A task that is to end with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(tokio::spawn(task));
    }

    /// Ends it with its tasks.
    pub fn stop(&self) {
        self.is_active.store(false, Ordering::SeqCst);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

/// Does some work again and again, for as long as the coordinator is there; `interval_ms` after the
/// start for the first time.
pub async fn repeat<C>(interval_ms: u64, coordinator: Weak<C>, work: impl Fn(&C)) {
    let interval = Duration::from_millis(interval_ms.max(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(coordinator) = coordinator.upgrade() else {
            return;
        };
        work(&coordinator);
    }
}
