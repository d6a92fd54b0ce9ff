//! Pure: messages/mod
