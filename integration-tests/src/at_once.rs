//! Shell: runs what does not depend on each other at the same time: most of what the tests do is waiting.

use std::thread;

use anyhow::{Result, anyhow};

use crate::stack::Maker;

/// Runs two things and answers what came of both.
///
/// # Errors
/// Those of either; the first one's first.
pub fn two<A: Send, B: Send>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first
            .join()
            .map_err(|_| anyhow!("it panicked, as said above"))?;
        Ok((first?, second?))
    })
}

/// The same with Apache's server and with ours.
///
/// # Errors
/// Those of either.
pub fn both<T: Send>(play: impl Fn(Maker) -> Result<T> + Sync) -> Result<(T, T)> {
    two(|| play(Maker::Apache), || play(Maker::Ours))
}
