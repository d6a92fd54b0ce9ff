//! Generates `kafka-wire/src/messages` from the message definitions inside Kafka's jars.

pub mod catalogue;
pub mod definition;
pub mod emit;
pub mod error;
pub mod generate;
pub mod jar;
pub mod names;
pub mod schema;
pub mod structs;
