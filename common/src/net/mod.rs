//! Framing that both protocols share.

pub mod frame;
