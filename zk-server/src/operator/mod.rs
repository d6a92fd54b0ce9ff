//! What operators see and may ask: four-letter words, the AdminServer, metrics.

pub mod admin;
pub mod commands;
pub mod environment;
pub mod facts;
pub mod four_letter;
pub mod http;
pub mod java_text;
pub mod json;
pub mod monitor;
pub mod prometheus;
pub mod stream;
