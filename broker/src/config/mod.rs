//! The keys of the broker and of topics, and their typed values.

pub mod alter;
pub mod broker;
pub mod definitions;
pub mod describe;
pub mod listeners;
pub mod rules;
pub mod topic;
pub mod topic_docs;
pub mod unheeded;
