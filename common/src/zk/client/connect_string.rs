//! Pure: `host:port,host:port/chroot` (`ConnectStringParser.java`).

use crate::zk::path::{self, PathError};

/// The port of a host without one.
const DEFAULT_PORT: u16 = 2181;

/// Why a connect string is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// The part from the first slash on is no path.
    #[error("chroot of zookeeper connect string: {0}")]
    Chroot(#[from] PathError),
    /// No host.
    #[error("zookeeper connect string \"{0}\" names no host")]
    NoHost(String),
    /// A port that is none.
    #[error("zookeeper connect string: \"{0}\" has no valid port")]
    Port(String),
}

/// Servers, and the path under which everything takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    /// Host and port of each server, in the order given.
    pub servers: Vec<(String, u16)>,
    /// The chroot without a slash at its end; empty if there is none.
    pub chroot: String,
}

impl ConnectString {
    /// Reads a connect string.
    pub fn parse(text: &str) -> Result<Self, ConnectStringError> {
        let (hosts, chroot) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let chroot = if chroot.len() > 1 {
            path::validate(chroot)?;
            chroot.to_owned()
        } else {
            String::new()
        };
        let mut servers = Vec::new();
        for part in hosts
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            servers.push(server(part)?);
        }
        if servers.is_empty() {
            return Err(ConnectStringError::NoHost(text.to_owned()));
        }
        Ok(Self { servers, chroot })
    }

    /// The path on the server of a client's path.
    #[must_use]
    pub fn to_server(&self, path: &str) -> String {
        match (self.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// The client's path of a path on the server; one outside of the chroot stays as it is.
    #[must_use]
    pub fn to_client(&self, path: &str) -> String {
        match path.strip_prefix(self.chroot.as_str()) {
            Some("") if !self.chroot.is_empty() => "/".to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => path.to_owned(),
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn server(text: &str) -> Result<(String, u16), ConnectStringError> {
    let bad_port = || ConnectStringError::Port(text.to_owned());
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, ""),
        Some((host, rest)) => (host, rest.strip_prefix(':').ok_or_else(bad_port)?),
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    if host.is_empty() {
        return Err(ConnectStringError::NoHost(text.to_owned()));
    }
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.parse().map_err(|_| bad_port())?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_chroot() {
        let parsed = ConnectString::parse("a:1, b,[::1]:3,[::2]/x/y").unwrap();
        let expected = [("a", 1), ("b", 2181), ("::1", 3), ("::2", 2181)];
        assert_eq!(
            parsed.servers,
            expected.map(|(host, port)| (host.to_owned(), port))
        );
        assert_eq!(parsed.chroot, "/x/y");
        assert_eq!(ConnectString::parse("a/").unwrap().chroot, "");
        assert!(matches!(
            ConnectString::parse("/x"),
            Err(ConnectStringError::NoHost(_))
        ));
        assert!(matches!(
            ConnectString::parse("a:b"),
            Err(ConnectStringError::Port(_))
        ));
        assert!(matches!(
            ConnectString::parse("a/b/"),
            Err(ConnectStringError::Chroot(_))
        ));
    }

    #[test]
    fn paths_go_through_the_chroot_and_back() {
        let rooted = ConnectString::parse("a/x").unwrap();
        for (client, server) in [("/", "/x"), ("/b", "/x/b")] {
            assert_eq!(rooted.to_server(client), server);
            assert_eq!(rooted.to_client(server), client);
        }
        assert_eq!(rooted.to_client("/xy"), "/xy");
        assert_eq!(rooted.to_client("/zookeeper/config"), "/zookeeper/config");
        let plain = ConnectString::parse("a").unwrap();
        assert_eq!(plain.to_client("/"), "/");
        assert_eq!(plain.to_server("/b"), "/b");
    }
}
