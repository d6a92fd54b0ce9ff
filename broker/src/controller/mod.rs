//! controller/mod
