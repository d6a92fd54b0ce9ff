//! Pure: what AlterConfigs, IncrementalAlterConfigs and DescribeConfigs name: resources by type and name (`ConfigResource`).

use std::collections::BTreeSet;

use bytestring::ByteString;

use crate::config::alter::AlterError;

/// The kinds of resources that have settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A topic, by name.
    Topic,
    /// A broker by id, or with an empty name all brokers.
    Broker,
    /// The loggers of a broker.
    BrokerLogger,
    /// Client telemetry.
    ClientMetrics,
}

impl ResourceType {
    /// The type of this code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(ResourceType::Topic),
            4 => Some(ResourceType::Broker),
            8 => Some(ResourceType::BrokerLogger),
            16 => Some(ResourceType::ClientMetrics),
            _ => None,
        }
    }
}

/// The broker that a resource names.
pub fn broker_id(name: &str) -> Result<i32, AlterError> {
    name.parse().map_err(|_| {
        AlterError::request(format!("Broker id must be an integer, but it is: {name}"))
    })
}

/// Whether each resource, in order, stands more than once in the request.
pub fn repeated<'a>(resources: impl Iterator<Item = (i8, &'a ByteString)> + Clone) -> Vec<bool> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for resource in resources.clone() {
        if !seen.insert(resource) {
            twice.insert(resource);
        }
    }
    resources
        .map(|resource| twice.contains(&resource))
        .collect()
}

/// The refusal of a resource that stands more than once.
pub fn repeated_error() -> AlterError {
    AlterError::request("Each resource must appear at most once.")
}
