//! pipeline/mod
