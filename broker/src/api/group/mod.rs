//! group/mod
