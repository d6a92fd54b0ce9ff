//! Pure: how the shell prints stats, ACLs, lists and events, and reads ACLs.

use common::zk::client::event::{SessionState, ZkEvent};
use common::zk::data::{Acl, Id, Stat, perms};
use common::zk::response::EventType;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `Version.getFullVersion()` of the release whose behaviour and output this shell has.
pub const FULL_VERSION: &str =
    "3.8.4-9316c2a7a97e1666d8f4593f34dd6fc36ecc436c, built on 2024-02-12 22:16 UTC";

/// A stat, a line for each field.
pub fn stat(stat: &Stat, zone: &TimeZone) -> String {
    let lines = [
        format!("cZxid = 0x{:x}", stat.czxid),
        format!("ctime = {}", date(stat.ctime, zone)),
        format!("mZxid = 0x{:x}", stat.mzxid),
        format!("mtime = {}", date(stat.mtime, zone)),
        format!("pZxid = 0x{:x}", stat.pzxid),
        format!("cversion = {}", stat.cversion),
        format!("dataVersion = {}", stat.version),
        format!("aclVersion = {}", stat.aversion),
        format!("ephemeralOwner = 0x{:x}", stat.ephemeral_owner),
        format!("dataLength = {}", stat.data_length),
        format!("numChildren = {}", stat.num_children),
    ];
    lines.join("\n")
}

/// A moment (ms since 1970) as Java's `Date.toString` prints it.
fn date(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(moment) => moment
            .to_zoned_datetime(zone.clone())
            .strftime("%a %b %d %H:%M:%S %Z %Y")
            .to_string(),
        Err(_) => ms.to_string(),
    }
}

/// Java's text of a list.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// One entry of an ACL: the id in jute's CSV form, which ends in a new line, and the letters.
pub fn acl(acl: &Acl) -> String {
    let Id { scheme, id } = &acl.id;
    format!(
        "'{},'{}\n: {}",
        csv(scheme),
        csv(id),
        perm_letters(acl.perms)
    )
}

/// jute's escapes within a CSV string.
fn csv(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push_str("%00"),
            '\n' => out.push_str("%0A"),
            '\r' => out.push_str("%0D"),
            ',' => out.push_str("%2C"),
            '}' => out.push_str("%7D"),
            '%' => out.push_str("%25"),
            c => out.push(c),
        }
    }
    out
}

const LETTERS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

fn perm_letters(bits: i32) -> String {
    LETTERS
        .iter()
        .filter(|(_, bit)| bits & bit != 0)
        .map(|(letter, _)| letter)
        .collect()
}

/// Reads `scheme:id:perms,...`; what cannot be read is left out and complained about.
pub fn parse_acl(text: &str) -> (Vec<Acl>, Vec<String>) {
    let (mut acls, mut complaints) = (Vec::new(), Vec::new());
    for part in java_split(text, ',') {
        let ends = part
            .find(':')
            .zip(part.rfind(':'))
            .filter(|(first, last)| first != last);
        let Some((first, last)) = ends else {
            complaints.push(format!("{part} does not have the form scheme:id:perm"));
            continue;
        };
        let mut bits = 0;
        for c in part[last + 1..].chars() {
            match LETTERS.iter().find(|(letter, _)| *letter == c) {
                Some((_, bit)) => bits |= bit,
                None => complaints.push(format!("Unknown perm type: {c}")),
            }
        }
        let id = Id::new(&part[..first], &part[first + 1..last]);
        acls.push(Acl::new(bits, id));
    }
    (acls, complaints)
}

/// Java's `String.split`: no empty parts at the end, unless there is nothing to split.
pub fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).collect();
    if parts.len() > 1 {
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    parts
}

/// An event as Java's `WatchedEvent.toString` prints it.
pub fn event(event: &ZkEvent, connected: bool) -> String {
    let (state, kind, path) = match event {
        ZkEvent::Session(state) => (session_state(*state), "None", "null"),
        ZkEvent::Node { kind, path } => {
            let state = if connected {
                "SyncConnected"
            } else {
                "Disconnected"
            };
            (state, event_type(*kind), path.as_str())
        }
    };
    format!("WatchedEvent state:{state} type:{kind} path:{path}")
}

const fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Connecting | SessionState::Disconnected => "Disconnected",
        SessionState::Connected => "SyncConnected",
        SessionState::ConnectedReadOnly => "ConnectedReadOnly",
        SessionState::Expired => "Expired",
        SessionState::AuthFailed => "AuthFailed",
        SessionState::Closed => "Closed",
    }
}

const fn event_type(kind: EventType) -> &'static str {
    match kind {
        EventType::None => "None",
        EventType::NodeCreated => "NodeCreated",
        EventType::NodeDeleted => "NodeDeleted",
        EventType::NodeDataChanged => "NodeDataChanged",
        EventType::NodeChildrenChanged => "NodeChildrenChanged",
        EventType::DataWatchRemoved => "DataWatchRemoved",
        EventType::ChildWatchRemoved => "ChildWatchRemoved",
        EventType::PersistentWatchRemoved => "PersistentWatchRemoved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_javas() {
        assert_eq!(date(0, &TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(
            date(1_700_000_000_123, &TimeZone::UTC),
            "Tue Nov 14 22:13:20 UTC 2023"
        );
    }

    #[test]
    fn acls_are_read_and_printed() {
        let (acls, complaints) = parse_acl("world:anyone:rx,nonsense,ip:::1:cdrwa,");
        let expected = ["nonsense does not have the form scheme:id:perm"];
        assert_eq!(complaints, ["Unknown perm type: x", expected[0]]);
        let printed: Vec<String> = acls.iter().map(acl).collect();
        assert_eq!(printed, ["'world,'anyone\n: r", "'ip,'::1\n: cdrwa"]);
        assert!(parse_acl(",").0.is_empty());
        assert_eq!(java_split("", ','), [""]);
        assert_eq!(java_split(",,", ','), [""; 0]);
    }
}
