//! coordinator/mod
