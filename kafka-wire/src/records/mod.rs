//! Record batches of every magic and codec.

pub mod batch;
pub mod batch_builder;
pub mod compression;
pub mod control;
pub mod convert;
pub mod entries;
pub mod gzip;
pub mod legacy;
pub mod lz4;
pub mod record;
pub mod snappy;
pub mod stream;
