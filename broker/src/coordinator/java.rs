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

    #[test]
    fn prints_addresses_as_java_does() {
        assert_eq!(address("127.0.0.1".parse().unwrap()), "/127.0.0.1");
        assert_eq!(address("::1".parse().unwrap()), "/0:0:0:0:0:0:0:1");
        assert_eq!(address("::ffff:10.0.0.1".parse().unwrap()), "/10.0.0.1");
        assert_eq!(address("fe80::a1".parse().unwrap()), "/fe80:0:0:0:0:0:0:a1");
    }
}
