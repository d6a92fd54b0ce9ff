//! Pure: error_code
