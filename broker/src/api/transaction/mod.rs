//! transaction/mod
