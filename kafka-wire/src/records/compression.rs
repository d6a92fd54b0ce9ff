//! Pure: compression
