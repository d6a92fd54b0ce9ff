//! The keys of the broker and of topics, and their typed values.

pub mod broker;
pub mod definitions;
pub mod listeners;
pub mod topic;
