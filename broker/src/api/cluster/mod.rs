//! What a broker says about itself and its cluster.

pub mod api_versions;
