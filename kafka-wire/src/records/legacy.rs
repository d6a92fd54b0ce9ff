//! Pure: legacy
