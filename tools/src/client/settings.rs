//! Pure: client settings by name, with the checks and error texts of Java's `ConfigDef`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;

use crate::client::error::ClientError;

/// Settings as given; what is absent has the client's default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the text of a `.properties` file.
    ///
    /// # Errors
    /// [`ClientError::Illegal`] for a malformed escape.
    pub fn parse(text: &[u8]) -> Result<Self, ClientError> {
        let properties = common::properties::parse(text)
            .map_err(|error| ClientError::Illegal(error.to_string()))?;
        let pairs = properties
            .into_iter()
            .map(|property| (property.key, property.value));
        Ok(Self {
            values: pairs.collect(),
        })
    }

    /// Adds pairs; they win over those that are there.
    pub fn extend(&mut self, pairs: BTreeMap<String, String>) {
        self.values.extend(pairs);
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// Sets a value unless there is one.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) {
        self.values
            .entry(key.to_owned())
            .or_insert_with(|| value.into());
    }

    /// All pairs.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The value as given.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A text, or the default.
    #[must_use]
    pub fn text(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or(default).to_owned()
    }

    /// A number that is at least `min`, or the default.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn number<N>(&self, key: &str, default: N, min: N) -> Result<N, ClientError>
    where
        N: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let Some(text) = self.get(key) else {
            return Ok(default);
        };
        let kind = if size_of::<N>() == 4 { "INT" } else { "LONG" };
        let number: N = text
            .trim()
            .parse()
            .map_err(|_| invalid(key, text, &format!("Not a number of type {kind}")))?;
        if number < min {
            return Err(invalid(key, text, &format!("Value must be at least {min}")));
        }
        Ok(number)
    }

    /// A time in milliseconds, or the default.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn millis(&self, key: &str, default: u64) -> Result<Duration, ClientError> {
        self.number(key, default, 0).map(Duration::from_millis)
    }

    /// `true` or `false`, or the default.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ClientError> {
        match self
            .get(key)
            .map(|text| (text, text.trim().to_ascii_lowercase()))
        {
            None => Ok(default),
            Some((_, lower)) if lower == "true" => Ok(true),
            Some((_, lower)) if lower == "false" => Ok(false),
            Some((text, _)) => Err(invalid(
                key,
                text,
                "Expected value to be either true or false",
            )),
        }
    }

    /// One of some words, or the first of them.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn word(&self, key: &str, words: &[&str], default: &str) -> Result<String, ClientError> {
        let value = self.text(key, default);
        if words.contains(&value.as_str()) {
            return Ok(value);
        }
        let words = words.join(", ");
        Err(invalid(
            key,
            &value,
            &format!("String must be one of: {words}"),
        ))
    }
}

fn invalid(key: &str, value: &str, why: &str) -> ClientError {
    ClientError::Config(format!(
        "Invalid value {value} for configuration {key}: {why}"
    ))
}

/// What all kinds of clients need.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// `[Producer clientId=...]` and the like, for log lines.
    pub log_prefix: String,
    /// Brokers to start from, as `host:port`.
    pub bootstrap: Vec<String>,
    /// Sent with each request.
    pub client_id: ByteString,
    /// Limit for one request.
    pub request_timeout: Duration,
    /// Limit for making a connection.
    pub connect_timeout: Duration,
    /// First and largest pause before a connection is tried again.
    pub reconnect_backoff: (Duration, Duration),
    /// Pause before a request is tried again.
    pub retry_backoff: Duration,
}

impl ClusterOptions {
    /// Reads them; `log_prefix` is completed by the caller.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn read(settings: &Settings, log_prefix: String) -> Result<Self, ClientError> {
        let protocol = settings.text("security.protocol", "PLAINTEXT");
        if protocol != "PLAINTEXT" {
            return Err(ClientError::Config(format!(
                "Invalid value {protocol} for configuration security.protocol: this tool speaks \
                 PLAINTEXT only"
            )));
        }
        let bootstrap = settings.text("bootstrap.servers", "");
        let bootstrap: Vec<String> = bootstrap
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(str::to_owned)
            .collect();
        for url in &bootstrap {
            if host_and_port(url).is_none() {
                return Err(ClientError::Config(format!(
                    "Invalid url in bootstrap.servers: {url}"
                )));
            }
        }
        Ok(Self {
            log_prefix,
            bootstrap,
            client_id: settings.text("client.id", "").into(),
            request_timeout: settings.millis("request.timeout.ms", 30_000)?,
            connect_timeout: settings.millis("socket.connection.setup.timeout.ms", 10_000)?,
            reconnect_backoff: (
                settings.millis("reconnect.backoff.ms", 50)?,
                settings.millis("reconnect.backoff.max.ms", 1000)?,
            ),
            retry_backoff: settings.millis("retry.backoff.ms", 100)?,
        })
    }
}

/// Splits `host:port`, `[::1]:port` or `protocol://host:port`.
#[must_use]
pub fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let (host, port) = url.rsplit_once(':')?;
    let host = host.rsplit_once("://").map_or(host, |(_, host)| host);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if !host.chars().all(is_host) || !port.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_have_javas_texts() {
        let mut settings = Settings::default();
        settings.set("acks", "7");
        settings.set("batch.size", "q");
        let acks = settings
            .word("acks", &["all", "-1", "0", "1"], "all")
            .unwrap_err();
        assert_eq!(
            acks.to_string(),
            "Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1"
        );
        let size = settings.number("batch.size", 1i32, 0).unwrap_err();
        assert_eq!(
            size.to_string(),
            "Invalid value q for configuration batch.size: Not a number of type INT"
        );
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_and_port("localhost:9092"), Some(("localhost", 9092)));
        assert_eq!(host_and_port("[::1]:9092"), Some(("::1", 9092)));
        assert_eq!(host_and_port("PLAINTEXT://h:1"), Some(("h", 1)));
        assert_eq!(host_and_port("localhost"), None);
        assert_eq!(host_and_port("localhost:abc"), None);
    }
}
