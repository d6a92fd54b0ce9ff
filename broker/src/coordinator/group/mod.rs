//! coordinator/group/mod
