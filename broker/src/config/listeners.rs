//! Pure: `listeners`, `advertised.listeners` and the protocol map, as `KafkaConfig` and `EndPoint` read them.

use std::collections::BTreeMap;

use common::config::list;

/// How a listener is secured (`SecurityProtocol`); the number is the code in UpdateMetadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext = 0,
    /// TLS.
    Ssl = 1,
    /// SASL without TLS.
    SaslPlaintext = 2,
    /// SASL over TLS.
    SaslSsl = 3,
}

impl SecurityProtocol {
    /// The name in configuration and in znodes.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Plaintext,
            Self::Ssl,
            Self::SaslPlaintext,
            Self::SaslSsl,
        ]
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// The code in UpdateMetadata requests.
    pub fn id(self) -> i16 {
        self as i16
    }
}

/// One `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, upper case.
    pub listener: String,
    /// How it is secured.
    pub protocol: SecurityProtocol,
    /// The host; empty means every interface (only in `listeners`).
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(
            f,
            "{}://{open}{}{close}:{}",
            self.listener, self.host, self.port
        )
    }
}

/// Reads `listener.security.protocol.map`: `NAME:PROTOCOL,...`.
pub fn parse_protocol_map(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, String> {
    let mut map = BTreeMap::new();
    for item in list(text) {
        let (name, protocol) = item
            .split_once(':')
            .ok_or_else(|| format!("'{item}' is not of the form LISTENER:PROTOCOL"))?;
        let protocol = SecurityProtocol::from_name(protocol.trim())
            .ok_or_else(|| format!("No enum constant SecurityProtocol.{}", protocol.trim()))?;
        if map
            .insert(name.trim().to_ascii_uppercase(), protocol)
            .is_some()
        {
            return Err(format!("listener name {} stands twice", name.trim()));
        }
    }
    Ok(map)
}

/// Reads a comma-separated list of `NAME://host:port`; names must be unique and have a protocol.
pub fn parse_endpoints(
    text: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in list(text) {
        let endpoint = parse_endpoint(&item, protocols)?;
        if endpoints
            .iter()
            .any(|other| other.listener == endpoint.listener)
        {
            return Err(format!(
                "Each listener must have a different name, listeners: {text}"
            ));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn parse_endpoint(
    item: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Endpoint, String> {
    let unparsable = || format!("Unable to parse {item} to a broker endpoint");
    let (name, rest) = item.split_once("://").ok_or_else(unparsable)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(unparsable)?;
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let port = port.parse().map_err(|_| unparsable())?;
    let listener = name.to_ascii_uppercase();
    let protocol = *protocols
        .get(&listener)
        .ok_or_else(|| format!("No security protocol defined for listener {listener}"))?;
    Ok(Endpoint {
        listener,
        protocol,
        host: host.to_string(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_kafka_reads_them() {
        let map = parse_protocol_map("PLAINTEXT:PLAINTEXT,inside:plaintext,SSL:SSL").unwrap();
        let parsed = parse_endpoints("PLAINTEXT://:9092, Inside://[::1]:0", &map).unwrap();
        assert_eq!(parsed[0].host, "");
        assert_eq!(parsed[1].to_string(), "INSIDE://[::1]:0");
        assert!(
            parse_endpoints("OTHER://h:1", &map)
                .unwrap_err()
                .contains("OTHER")
        );
        assert!(parse_endpoints("PLAINTEXT://h", &map).is_err());
        assert!(parse_endpoints("SSL://h:1,SSL://h:2", &map).is_err());
    }
}
