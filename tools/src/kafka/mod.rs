//! The stock Kafka tools.
