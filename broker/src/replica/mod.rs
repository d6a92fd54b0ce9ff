//! replica/mod
