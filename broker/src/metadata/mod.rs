//! metadata/mod
