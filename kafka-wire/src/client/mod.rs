//! Pure: client/mod
