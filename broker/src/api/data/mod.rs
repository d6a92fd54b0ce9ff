//! data/mod
