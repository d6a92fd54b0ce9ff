//! Pure: control
