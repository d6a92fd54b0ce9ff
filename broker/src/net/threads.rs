//! Shell: the threads that serve connections (`num.network.threads`), each with a selector of its own.
//!
//! A connection stays on its thread. The system wakes that thread where the client runs that it has just heard from, so
//! that what the two pass to each other stays in the caches of one processor; on threads that take work from each other a
//! fetch over loopback costs up to twice as much.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads of all listeners. What handlers start in the background lives on them, too.
#[derive(Debug)]
pub struct NetworkThreads {
    runtimes: Vec<Runtime>,
    next: AtomicUsize,
}

impl NetworkThreads {
    /// Starts `wanted` threads, or one for each processor if those are more: requests are worked on where they are read.
    ///
    /// # Errors
    /// When the system has no more threads or file descriptors.
    pub fn start(wanted: usize) -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let runtimes = (0..wanted.max(processors)).map(|number| {
            // Of one worker, not "current thread": handlers may block, another thread steps in for them then.
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(format!("network-{number}"))
                .enable_all()
                .build()
        });
        Ok(Self {
            runtimes: runtimes.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// The thread for the next connection, each in turn.
    pub fn next(&self) -> &Handle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.runtimes[number % self.runtimes.len()].handle()
    }
}

impl Drop for NetworkThreads {
    fn drop(&mut self) {
        for runtime in self.runtimes.drain(..) {
            // Waits for nothing: this may be dropped where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn connections_go_round_and_stay_on_their_threads() {
        let threads = NetworkThreads::start(3).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..threads.runtimes.len() {
            let task = threads.next().spawn(async {
                let first = thread::current().id();
                tokio::task::yield_now().await;
                (first, thread::current().id())
            });
            let (first, then) = task.await.unwrap();
            assert_eq!(first, then);
            assert!(seen.insert(first));
        }
        // Within a runtime, where waiting for the threads would not be allowed.
        drop(threads);
    }
}
