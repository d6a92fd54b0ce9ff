//! Pure: how Java hashes a string and prints an address, where Kafka's formats depend on it.

use std::net::IpAddr;

/// `String.hashCode`: over UTF-16 units.
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    })
}

/// Kafka's `Utils.abs(hash) % count`, by which groups and transactions are spread.
pub fn partition_for(id: &str, count: i32) -> i32 {
    match string_hash(id) {
        i32::MIN => 0,
        hash => hash.abs() % count.max(1),
    }
}

/// The name that a Scala `immutable.HashMap` of these lists first: a trie that looks at five bits of
/// the hash at a time (`Hashing.improve`), and lists the names that are alone in a node before it goes
/// deeper.
pub fn first_in_hash_map<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let improved = |name: &str| {
        let hash = string_hash(name).cast_unsigned();
        let mut hash = hash.wrapping_add(!(hash << 9));
        hash ^= hash >> 14;
        hash = hash.wrapping_add(hash << 4);
        hash ^ (hash >> 10)
    };
    let mut node: Vec<(u32, &str)> = names.map(|name| (improved(name), name)).collect();
    for shift in (0..32).step_by(5) {
        let slot = |hash: u32| (hash >> shift) & 31;
        let mut slots: Vec<u32> = node.iter().map(|(hash, _)| slot(*hash)).collect();
        slots.sort_unstable();
        let is_alone = |s: &&u32| slots.iter().filter(|other| other == s).count() == 1;
        let first = slots.iter().find(is_alone).or(slots.first()).copied()?;
        node.retain(|(hash, _)| slot(*hash) == first);
    }
    node.first().map(|(_, name)| *name)
}

/// `InetAddress.toString` of an address without a name: IPv6 in full, without `::`.
pub fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}"),
        IpAddr::V6(ip) => {
            let parts: Vec<_> = ip
                .segments()
                .iter()
                .map(|part| format!("{part:x}"))
                .collect();
            format!("/{}", parts.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from `"...".hashCode()` of JDK 17.
    #[test]
    fn hashes_as_java_does() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("group"), 98_629_247);
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(string_hash("\u{1f600}"), 1_772_899);
    }

    /// What Kafka's broker chose in ties of the protocols' votes.
    #[test]
    fn finds_what_scala_lists_first() {
        assert_eq!(first_in_hash_map(std::iter::empty()), None);
        assert_eq!(first_in_hash_map(["range"].into_iter()), Some("range"));
        let names = ["range", "roundrobin", "sticky", "cooperative-sticky", "own"];
        let first = first_in_hash_map(names.into_iter());
        assert_eq!(first, first_in_hash_map(names.into_iter().rev()));
    }

    #[test]
    fn prints_addresses_as_java_does() {
        assert_eq!(address("127.0.0.1".parse().unwrap()), "/127.0.0.1");
        assert_eq!(address("::1".parse().unwrap()), "/0:0:0:0:0:0:0:1");
        assert_eq!(address("::ffff:10.0.0.1".parse().unwrap()), "/10.0.0.1");
        assert_eq!(address("fe80::a1".parse().unwrap()), "/fe80:0:0:0:0:0:0:a1");
    }
}
