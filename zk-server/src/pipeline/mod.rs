//! From a request to its reply: decide, make durable, apply, answer.

pub mod audit;
pub mod authenticate;
pub mod clients;
pub mod clock;
pub mod commit;
pub mod containers;
pub mod counting;
pub mod lifecycle;
pub mod odd;
pub mod reply;
pub mod run;
pub mod snapshots;
pub mod standalone;
pub mod throttle;
pub mod token_bucket;
pub mod transport;
