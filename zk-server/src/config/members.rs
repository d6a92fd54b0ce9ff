//! Pure: the `server.N`, `group.N` and `weight.N` lines (QuorumServer, QuorumMaj, QuorumHierarchical).
//!
//! A server line is `host:port:port[:role][;[host:]port]`: where the servers of an ensemble meet,
//! where they elect their leader, and where clients connect. Several addresses are separated by `|`.

use std::collections::{BTreeMap, BTreeSet};

/// One server line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// It only listens, it does not vote.
    pub observer: bool,
    /// Where its clients connect.
    pub client: Option<ClientAddress>,
}

/// Host and port for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// `0.0.0.0` where the line has a port alone.
    pub host: String,
    /// From 0.
    pub port: u16,
}

/// All servers by their ids.
pub type Members = BTreeMap<i64, Member>;

/// A line that cannot be: its key and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The key.
    pub key: String,
    /// What is wrong with its value or the key itself.
    pub reason: String,
}

const FORM: &str = "it must have the form host:port:port[:participant|observer][;[host:]port]";

/// Reads the lines; other keys are passed over.
///
/// # Errors
/// The first line that does not fit.
pub fn read<'a>(
    lines: impl Iterator<Item = (&'a str, &'a str)>,
    several_addresses: bool,
) -> Result<Members, BadLine> {
    let mut members = Members::new();
    let mut groups = Groups::default();
    for (key, value) in lines {
        let bad = |reason: String| BadLine {
            key: key.to_owned(),
            reason,
        };
        if let Some(id) = key.strip_prefix("server.") {
            let id = integer(id).map_err(bad)?;
            members.insert(id, member(value, several_addresses).map_err(bad)?);
        } else if is_group(key) {
            groups.add(key, value).map_err(bad)?;
        }
    }
    groups.check(&members)?;
    Ok(members)
}

/// Whether a key is about groups or weights; ZooKeeper looks at how it begins, no more.
pub fn is_group(key: &str) -> bool {
    key.starts_with("group") || key.starts_with("weight")
}

#[derive(Default)]
struct Groups {
    seen: bool,
    grouped: BTreeSet<i64>,
    weighed: BTreeSet<i64>,
}

impl Groups {
    fn add(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.seen = true;
        let (_, number) = key.split_once('.').unwrap_or(("", key));
        let number = integer(number)?;
        if key.starts_with("weight") {
            self.weighed.insert(number);
            return integer(value).map(|_| ());
        }
        for id in java_split(value, ':') {
            let id = integer(id)?;
            if !self.grouped.insert(id) {
                return Err(format!("server {id} is in two groups"));
            }
        }
        Ok(())
    }

    fn check(&self, members: &Members) -> Result<(), BadLine> {
        if !self.seen {
            return Ok(());
        }
        let votes = |id: &i64| members.get(id).is_some_and(|member| !member.observer);
        let bad = |id: &i64, reason: &str| BadLine {
            key: format!("server.{id}"),
            reason: reason.to_owned(),
        };
        if let Some(id) = members
            .keys()
            .find(|id| votes(id) && !self.grouped.contains(id))
        {
            return Err(bad(id, "it is in no group"));
        }
        let known = |id: &i64| votes(id) || self.weighed.contains(id);
        match self.grouped.iter().find(|id| !known(id)) {
            Some(id) => Err(bad(
                id,
                "it is in a group, but there is no such participant",
            )),
            None => Ok(()),
        }
    }
}

fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not an integer"))
}

/// Java's `String.split`: empty parts at the end are dropped.
fn java_split(text: &str, at: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(at).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

fn member(value: &str, several_addresses: bool) -> Result<Member, String> {
    let parts = java_split(value, ';');
    let (servers, client) = match parts.as_slice() {
        [servers] => (*servers, None),
        [servers, client] => (*servers, Some(client_address(client)?)),
        _ => return Err(FORM.to_owned()),
    };
    let addresses = java_split(servers, '|');
    if addresses.len() > 1 && !several_addresses {
        return Err("several addresses need -Dzookeeper.multiAddress.enabled=true".to_owned());
    }
    let mut role = None;
    for address in addresses {
        let observer = server_address(address)?;
        if observer.is_some() && role.is_some() && role != observer {
            return Err("its addresses have different roles".to_owned());
        }
        role = role.or(observer);
    }
    Ok(Member {
        observer: role.unwrap_or(false),
        client,
    })
}

/// `host:port:port[:role]`; answers whether the role is that of an observer.
fn server_address(address: &str) -> Result<Option<bool>, String> {
    let parts = host_and_rest(address)?;
    let (meeting, election, role) = match parts.as_slice() {
        [_, meeting, election] => (meeting, election, None),
        [_, meeting, election, role] => (meeting, election, Some(role)),
        _ => return Err(FORM.to_owned()),
    };
    if port(meeting)? == port(election)? {
        return Err("its two ports must be different".to_owned());
    }
    match role.map(|role| role.trim().to_lowercase()) {
        None => Ok(None),
        Some(role) if role == "observer" => Ok(Some(true)),
        Some(role) if role == "participant" => Ok(Some(false)),
        Some(role) => Err(format!("'{role}' is neither participant nor observer")),
    }
}

fn client_address(text: &str) -> Result<ClientAddress, String> {
    match host_and_rest(text)?.as_slice() {
        [only] => Ok(ClientAddress {
            host: "0.0.0.0".to_owned(),
            port: port(only)?,
        }),
        [host, number] => Ok(ClientAddress {
            host: host.clone(),
            port: port(number)?,
        }),
        _ => Err(FORM.to_owned()),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a port number"))
}

/// The parts between colons; a host in brackets may have colons itself (ConfigUtils.java).
fn host_and_rest(text: &str) -> Result<Vec<String>, String> {
    let Some(bracketed) = text.strip_prefix('[') else {
        let parts = java_split(text, ':');
        return Ok(parts.into_iter().map(str::to_owned).collect());
    };
    let Some((host, rest)) = bracketed.split_once(']') else {
        return Err(format!("'{text}' has a [ without its ]"));
    };
    let mut parts = vec![host.to_owned()];
    let mut after = rest.chars();
    // Whatever stands between the bracket and the ports is passed over.
    match (after.next(), after.as_str()) {
        (None, _) => {}
        (Some(_), "") => return Err(format!("'{text}' has no port after its colon")),
        (Some(_), ports) => parts.extend(java_split(ports, ':').into_iter().map(str::to_owned)),
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Result<Member, String> {
        member(value, false)
    }

    #[test]
    fn server_lines_are_read_as_zookeeper_reads_them() {
        let plain = one("h:2888:3888").unwrap();
        assert_eq!((plain.observer, plain.client), (false, None));
        assert!(one("h:2888:3888:OBSERVER").unwrap().observer);
        let client = |value: &str| one(value).unwrap().client.unwrap();
        assert_eq!(client("h:1:2;2181").host, "0.0.0.0");
        assert_eq!(client("[::1]:1:2;[fe80::1]:2181").host, "fe80::1");
        assert_eq!(client("h:1:2;:2181").host, "");
        for wrong in [
            "",
            "h",
            "h:1",
            "h:1:2:x",
            "h:1:1",
            "h:1:x",
            "h:1:70000",
            "h:1:2:observer:5",
            "[::1:1:2",
            "h:1:2;2181;3",
            "h:1:2|g:1:2",
            "h:1:2;a:b:1",
            "h:1:2;x",
        ] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
        assert!(member("h:1:2|g:3:4", true).is_ok());
        assert!(member("h:1:2:observer|g:3:4:participant", true).is_err());
    }

    #[test]
    fn groups_hold_every_participant_once() {
        let lines = |text: &'static str| text.lines().filter_map(|line| line.split_once('='));
        assert!(read(lines("server.1=h:1:2\ngroup.1=1\nweight.1=1"), false).is_ok());
        for wrong in [
            "server.1=h:1:2\nweight.1=1",
            "group.1=1:2\ngroup.2=2\nweight.1=1\nweight.2=1",
            "server.1=h:1:2\ngroup.1=1:7",
            "groups=1",
            "weight.1=heavy",
            "server.one=h:1:2",
        ] {
            assert!(read(lines(wrong), false).is_err(), "{wrong}");
        }
    }
}
