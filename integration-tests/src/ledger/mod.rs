//! Pure: clients of every kind under faults: what they did, what is stored, and whether the two agree.

pub mod checker;
pub mod clients;
pub mod dumps;
pub mod history;
pub mod holdings;
