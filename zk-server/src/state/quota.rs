//! Pure: quotas: where their znodes are, and the text in them (Quotas.java, StatsTrack.java).

use std::collections::{BTreeMap, BTreeSet};

/// Subtree that holds limits and statistics.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";

/// Name of the znode with the limits.
pub const LIMITS: &str = "zookeeper_limits";

/// Name of the znode with what is used.
pub const STATS: &str = "zookeeper_stats";

/// Path of the znode with the limits of `path`.
pub fn limits_path(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{LIMITS}")
}

/// Path of the znode that says what `path` uses.
pub fn stats_path(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{STATS}")
}

/// The paths that have a quota.
#[derive(Debug, Default)]
pub struct QuotaPaths(BTreeSet<Box<str>>);

impl QuotaPaths {
    /// Adds a path.
    pub fn add(&mut self, path: &str) {
        self.0.insert(path.into());
    }

    /// Takes a path away.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The nearest of `path` and its ancestors that has a quota; the root never counts.
    pub fn nearest<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let mut candidate = path;
        while candidate.len() > 1 {
            if self.0.contains(candidate) {
                return Some(candidate);
            }
            candidate = &candidate[..candidate.rfind('/')?];
        }
        None
    }
}

/// The numbers in a limits or stats znode; -1 is "none".
///
/// The text is `count=N,bytes=N`, then, if there are more keys, `=` and `;key=N` for each in
/// order. The lone `=` makes old readers skip the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaNumbers(BTreeMap<String, i64>);

impl QuotaNumbers {
    /// Reads the text; `None` for one that the real server cannot read, which then refuses each
    /// write below it. A key without a value has none.
    pub fn read(text: Option<&[u8]>) -> Option<Self> {
        let text = String::from_utf8_lossy(text?);
        let mut numbers = BTreeMap::new();
        let pairs = text.trim_end_matches([',', ';']);
        let mut before = '=';
        for pair in pairs.split([',', ';']).filter(|_| !pairs.is_empty()) {
            // Separators that follow each other count as one, but not in front of everything.
            if pair.is_empty() && before != '=' {
                continue;
            }
            before = ',';
            let (key, rest) = pair.split_once('=')?;
            if rest.trim_end_matches('=').is_empty() {
                return None;
            }
            let value = rest.split('=').next().filter(|value| !value.is_empty());
            numbers.insert(key.to_owned(), value.unwrap_or("-1").parse().ok()?);
        }
        Some(Self(numbers))
    }

    /// Reads the text. Pairs that are not numbers are passed over.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut numbers = BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let key = parts.next().unwrap_or_default();
            if let Ok(value) = parts.next().unwrap_or_default().trim().parse() {
                numbers.insert(key.to_owned(), value);
            }
        }
        Self(numbers)
    }

    /// Whether there is a hard limit or a soft one, for znodes and for bytes.
    pub fn limits(&self) -> (bool, bool) {
        let any = |keys: [&str; 2]| keys.iter().any(|key| self.get(key) > -1);
        (
            any(["count", "countHardLimit"]),
            any(["bytes", "byteHardLimit"]),
        )
    }

    fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// Znodes, the quota's own one included.
    pub fn count(&self) -> i64 {
        self.get("count")
    }

    /// Bytes of data.
    pub fn bytes(&self) -> i64 {
        self.get("bytes")
    }

    /// Limit of znodes that a server with `enforceQuota` holds clients to.
    pub fn count_hard_limit(&self) -> i64 {
        self.get("countHardLimit")
    }

    /// Limit of bytes that a server with `enforceQuota` holds clients to.
    pub fn byte_hard_limit(&self) -> i64 {
        self.get("byteHardLimit")
    }

    /// Sets both usage numbers.
    pub fn set_usage(&mut self, count: i64, bytes: i64) {
        self.0.insert("count".to_owned(), count);
        self.0.insert("bytes".to_owned(), bytes);
    }

    /// The text again.
    pub fn to_text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let rest = self
            .0
            .iter()
            .filter(|(key, _)| *key != "count" && *key != "bytes");
        let mut separator = "=;";
        for (key, value) in rest {
            text.push_str(&format!("{separator}{key}={value}"));
            separator = ";";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_as_stats_track_does() {
        let limits =
            QuotaNumbers::parse(b"count=10,bytes=1048576=;byteHardLimit=2097152;countHardLimit=20");
        assert_eq!((limits.count(), limits.bytes()), (10, 1_048_576));
        assert_eq!(
            (limits.count_hard_limit(), limits.byte_hard_limit()),
            (20, 2_097_152)
        );
        assert_eq!(
            limits.to_text(),
            "count=10,bytes=1048576=;byteHardLimit=2097152;countHardLimit=20"
        );
        assert_eq!(QuotaNumbers::default().to_text(), "count=-1,bytes=-1");
    }

    #[test]
    fn what_stats_track_cannot_read_is_not_read() {
        let read = |text: &str| QuotaNumbers::read(Some(text.as_bytes()));
        assert_eq!(
            read("count=1,;bytes=2;").map(|n| (n.count(), n.bytes())),
            Some((1, 2))
        );
        assert_eq!(
            read("count==1,bytes=2=3").map(|n| (n.count(), n.bytes())),
            Some((-1, 2))
        );
        assert!(read("").is_some());
        for text in [
            "count",
            "count=",
            "count==",
            "count=x",
            "count= 1",
            ",count=1",
            "=",
            "=;=",
            "count=1=;x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(QuotaNumbers::read(None), None);
    }

    #[test]
    fn the_nearest_ancestor_has_the_say() {
        let mut quotas = QuotaPaths::default();
        quotas.add("/a");
        quotas.add("/a/b/c");
        assert_eq!(quotas.nearest("/a/b"), Some("/a"));
        assert_eq!(quotas.nearest("/a/b/c/d"), Some("/a/b/c"));
        assert_eq!(quotas.nearest("/ab"), None);
    }
}
