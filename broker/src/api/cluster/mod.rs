//! What a broker says about itself and its cluster.

pub mod api_versions;
pub mod describe_cluster;
pub mod metadata;
pub mod operations;
