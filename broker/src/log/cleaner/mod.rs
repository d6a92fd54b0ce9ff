//! Log compaction: of each key the newest record stays (`LogCleaner.scala`, `LogCleanerManager.scala`).

pub mod control;
pub mod states;
