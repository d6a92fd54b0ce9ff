//! Pure: wire
