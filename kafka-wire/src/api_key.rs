//! Pure: api_key
