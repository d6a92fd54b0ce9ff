//! log/mod
