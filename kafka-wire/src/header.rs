//! Pure: header
