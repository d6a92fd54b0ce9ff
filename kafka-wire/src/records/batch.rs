//! Pure: batch
