//! Producer ids.

pub mod producer_ids;
