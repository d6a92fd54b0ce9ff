//! cluster/mod
