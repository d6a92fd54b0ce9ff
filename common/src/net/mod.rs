//! Framing that both protocols share.
