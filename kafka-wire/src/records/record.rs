//! Pure: record
