//! What both servers, the tools and the tests share; it knows nothing of the servers.

pub mod config;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod properties;
pub mod sasl;
pub mod shutdown;
pub mod zk;
