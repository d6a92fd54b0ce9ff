//! Record batches of every magic and codec.

pub mod batch;
pub mod compression;
pub mod control;
pub mod legacy;
pub mod record;
