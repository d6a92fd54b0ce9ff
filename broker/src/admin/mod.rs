//! admin/mod
