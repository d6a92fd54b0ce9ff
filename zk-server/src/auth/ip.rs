//! Pure: the scheme `ip`: an address or a network (IPAuthenticationProvider.java).
//!
//! IPv6 networks are the same thing with 128 bits; ZooKeeper 3.8 stores none and matches none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as bits, and how many of them there are.
type Bits = (u128, u32);

/// Network address and how many of its leading bits count.
fn parse(expression: &str) -> Option<(Bits, u32)> {
    let (address, bits) = match expression.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<i32>().ok()?)),
        None => (expression, None),
    };
    let address = parse_address(address)?;
    let bits = match bits {
        Some(bits) => u32::try_from(bits).ok()?,
        None => address.1,
    };
    (bits <= address.1).then_some((address, bits))
}

fn parse_address(text: &str) -> Option<Bits> {
    if text.contains(':') {
        return Some((text.parse::<Ipv6Addr>().ok()?.to_bits(), Ipv6Addr::BITS));
    }
    Some((u128::from(parse_v4(text)?), Ipv4Addr::BITS))
}

/// Four decimal numbers; unlike Rust's own parser this one takes leading zeros and signs, as
/// Java's does.
fn parse_v4(address: &str) -> Option<u32> {
    let mut parts = address.split('.');
    let mut octets = [0_u8; 4];
    for octet in &mut octets {
        *octet = parts.next()?.parse::<i32>().ok()?.try_into().ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| u32::from(Ipv4Addr::from(octets)))
}

/// Whether an ACL may hold this expression.
pub fn is_valid(expression: &str) -> bool {
    parse(expression).is_some()
}

/// Whether the client's address lies in the network of the ACL entry.
pub fn matches(address: &str, expression: &str) -> bool {
    let (Some(client), Some((network, bits))) = (parse_address(address), parse(expression)) else {
        return false;
    };
    let ignored = network.1 - bits;
    let prefix = |address: u128| address.checked_shr(ignored).unwrap_or(0);
    client.1 == network.1 && prefix(client.0) == prefix(network.0)
}

/// An address as Java writes it: IPv6 in eight groups, none of them left out.
pub fn text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address
            .segments()
            .map(|group| format!("{group:x}"))
            .join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_match_their_addresses() {
        for (address, expression, inside) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.00.0.+1", true),
            ("127.0.0.1", "127.0.0.1/-0", true),
            ("10.1.2.3", "10.1.0.0/16", true),
            ("10.2.2.3", "10.1.0.0/16", false),
            ("10.1.2.3", "10.1.2.0/31", false),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("1.2.3.4", "::/0", false),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("fe80:0:0:0:0:0:0:9", "fe80::/64", true),
            ("fe81:0:0:0:0:0:0:9", "fe80::/64", false),
            ("2001:db8:0:0:0:0:0:9", "::/0", true),
        ] {
            assert_eq!(
                matches(address, expression),
                inside,
                "{address} {expression}"
            );
        }
        for expression in [
            "10.0.0.0/33",
            "10.0.0",
            "1.2.3.4/-1",
            "1.2.3.256",
            "::1/129",
            "",
            "a:b",
        ] {
            assert!(!is_valid(expression), "{expression}");
        }
    }

    #[test]
    fn addresses_are_written_as_java_writes_them() {
        assert_eq!(text(Ipv6Addr::LOCALHOST.into()), "0:0:0:0:0:0:0:1");
        assert_eq!(
            text(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()),
            "127.0.0.1"
        );
    }
}
