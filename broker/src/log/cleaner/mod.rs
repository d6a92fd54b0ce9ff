//! Log compaction: of each key the newest record stays (`LogCleaner.scala`, `LogCleanerManager.scala`).

pub mod candidates;
pub mod clean;
pub mod cleaned_segment;
#[expect(
    clippy::module_inception,
    reason = "the threads are what the folder is named after"
)]
pub mod cleaner;
pub mod control;
pub mod filter;
pub mod offset_map;
pub mod states;
pub mod throttle;
pub mod transactions;
