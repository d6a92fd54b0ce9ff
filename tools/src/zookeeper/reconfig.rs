//! Pure: an ensemble's configuration as config -c prints it and reconfig -file reads it
//! (`ConfigUtils.java`, `QuorumPeer.QuorumServer`, `QuorumMaj.java`).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use common::properties::{self, Property};

/// The members' client addresses, as a connect string after the configuration's version.
pub fn client_addresses(config: &str) -> String {
    let Ok(entries) = properties::parse(config.as_bytes()) else {
        return String::new();
    };
    let mut version = String::new();
    let mut addresses = Vec::new();
    for entry in in_javas_order(entries) {
        let (key, value) = (entry.key.trim(), entry.value.trim());
        if key == "version" {
            version = value.to_owned();
        }
        if key.starts_with("server.")
            && let Ok(member) = Member::parse(value)
        {
            addresses.push(member.client.map(|(host, port)| format!("{host}:{port}")));
        }
    }
    let mut text = String::new();
    for (index, address) in addresses.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(address.as_deref().unwrap_or_default());
    }
    format!("{version} {text}")
}

/// Entries in the order in which Java's `Properties` gives them: by hash, modulo the table's
/// size, which starts at 16 and doubles when three quarters are full.
fn in_javas_order(entries: Vec<Property>) -> Vec<Property> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        last.insert(entry.key.clone(), index);
    }
    let mut size = 16;
    while last.len() >= size / 4 * 3 {
        size *= 2;
    }
    let mut kept: Vec<(usize, usize, Property)> = entries
        .into_iter()
        .enumerate()
        .filter(|(index, entry)| last.get(&entry.key) == Some(index))
        .map(|(index, entry)| (bucket(&entry.key, size), index, entry))
        .collect();
    kept.sort_by_key(|(bucket, index, _)| (*bucket, *index));
    kept.into_iter().map(|(_, _, entry)| entry).collect()
}

fn bucket(key: &str, size: usize) -> usize {
    let hash = key.encode_utf16().fold(0u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    });
    (hash ^ (hash >> 16)) as usize & (size - 1)
}

/// The membership in a file, as the text that a reconfig sends.
pub fn members_of_file(content: &[u8]) -> Result<String, String> {
    let entries = properties::parse(content).map_err(|error| error.to_string())?;
    let mut members = BTreeMap::new();
    let mut version = 0;
    for entry in entries {
        let (key, value) = (entry.key.trim(), entry.value.trim());
        if let Some(id) = key.strip_prefix("server.") {
            let number: i64 = id
                .parse()
                .map_err(|_| format!("For input string: \"{id}\""))?;
            members.insert(number, Member::parse(value)?);
        } else if key == "version" {
            version = i64::from_str_radix(value, 16)
                .map_err(|_| format!("For input string: \"{value}\" under radix 16"))?;
        } else {
            return Err(format!("Unrecognised parameter: {key}"));
        }
    }
    let participants = members.values().filter(|member| !member.observer).count();
    if participants == 0 && !members.is_empty() {
        return Err("Observers w/o participants is an invalid configuration".to_owned());
    }
    if participants == 1 && members.len() > 1 {
        return Err("Observers w/o quorum is an invalid configuration".to_owned());
    }
    let lines: String = members
        .iter()
        .map(|(id, member)| format!("server.{id}={member}\n"))
        .collect();
    Ok(format!("{lines}version={version:x}"))
}

/// `host:port:port[:type][;[host:]port]`.
struct Member {
    host: String,
    quorum_port: u16,
    election_port: u16,
    observer: bool,
    client: Option<(String, u16)>,
}

impl Member {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text} does not have the form server_config or server_config;client_config where \
                 server_config is the pipe separated list of host:port:port or \
                 host:port:port:type and client_config is port or host:port"
            )
        };
        let mut halves = text.split(';');
        let server = parts(halves.next().unwrap_or_default())?;
        let client = halves.next().map(parts).transpose()?;
        if halves.next().is_some() || !(3..=4).contains(&server.len()) {
            return Err(wrong());
        }
        let port = |text: &str| -> Result<u16, String> {
            text.parse()
                .map_err(|_| format!("Address unresolved: {}:{text}", server[0]))
        };
        let observer = match server.get(3).map(|kind| kind.to_lowercase()).as_deref() {
            None | Some("participant") => false,
            Some("observer") => true,
            Some(kind) => return Err(format!("Unrecognised peertype: {kind}")),
        };
        let client = match client.as_deref() {
            None => None,
            Some([number]) => Some(("0.0.0.0".to_owned(), port(number)?)),
            Some([host, number]) => Some((host.clone(), port(number)?)),
            Some(_) => return Err(wrong()),
        };
        let host = server[0].clone();
        let (quorum_port, election_port) = (port(&server[1])?, port(&server[2])?);
        Ok(Self {
            host,
            quorum_port,
            election_port,
            observer,
            client,
        })
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.observer {
            "observer"
        } else {
            "participant"
        };
        let host = bracketed(&self.host);
        write!(
            f,
            "{host}:{}:{}:{kind}",
            self.quorum_port, self.election_port
        )?;
        match &self.client {
            None => Ok(()),
            Some((host, port)) => write!(f, ";{}:{port}", bracketed(host)),
        }
    }
}

/// An IPv6 address in the long form in which Java prints it, in brackets.
fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => {
            let parts = address.segments().map(|part| format!("{part:x}"));
            format!("[{}]", parts.join(":"))
        }
        Err(_) => host.to_owned(),
    }
}

/// Parts between colons, the first of which may be an IPv6 address in brackets.
fn parts(text: &str) -> Result<Vec<String>, String> {
    let own = |text: &str| text.split(':').map(str::to_owned).collect::<Vec<_>>();
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(own(text));
    };
    let Some((host, rest)) = rest.split_once(']') else {
        return Err(format!("{text} starts with '[' but has no matching ']:'"));
    };
    let mut all = vec![host.to_owned()];
    match rest.strip_prefix(':') {
        Some("") => return Err(format!("{text} doesn't have a port after colon")),
        Some(rest) => all.extend(own(rest)),
        None => {}
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_javas_order() {
        // Both as `ConfigUtils.getClientConfigStr` of 3.8.4 has it.
        let config = "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=[::1]:1:2:observer;9\n\
                      server.3=c:1:2\nversion=100000000";
        assert_eq!(client_addresses(config), "100000000 0.0.0.0:9,0.0.0.0:3,");
        let mut config = "server.1=a:1:2:participant;h:3\nserver.2=b:1:2:observer;9\n\
                          server.3=c:1:2;1.2.3.4:8\n"
            .to_owned();
        for id in 10..=18 {
            config.push_str(&format!("server.{id}=d:1:2;{id}\n"));
        }
        config.push_str("version=100000000");
        let expected = "100000000 0.0.0.0:18,0.0.0.0:16,0.0.0.0:17,0.0.0.0:10,0.0.0.0:11,\
                        0.0.0.0:9,0.0.0.0:14,h:3,0.0.0.0:15,0.0.0.0:12,0.0.0.0:13,1.2.3.4:8";
        assert_eq!(client_addresses(&config), expected);
        assert_eq!(client_addresses(""), " ");
    }

    #[test]
    fn a_file_becomes_the_text_of_a_reconfig() {
        // As `QuorumPeerConfig.parseDynamicConfig` of 3.8.4 has it.
        let file = "server.2=b:1:2:observer;h:3\nserver.1=[::1]:1:2;3\nserver.3=c:4:5\n";
        let expected = "server.1=[0:0:0:0:0:0:0:1]:1:2:participant;0.0.0.0:3\n\
                        server.2=b:1:2:observer;h:3\nserver.3=c:4:5:participant\nversion=0";
        assert_eq!(members_of_file(file.as_bytes()), Ok(expected.to_owned()));
        let observers = members_of_file(b"server.2=b:1:2:observer;h:3");
        let refusal = "Observers w/o participants is an invalid configuration";
        assert_eq!(observers, Err(refusal.to_owned()));
        assert_eq!(
            members_of_file(b"x=1"),
            Err("Unrecognised parameter: x".to_owned())
        );
    }
}
