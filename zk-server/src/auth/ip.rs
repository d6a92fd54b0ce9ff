//! Pure: the scheme `ip`: an address or a network (IPAuthenticationProvider.java).

use std::net::Ipv4Addr;

/// Network address and how many of its leading bits count.
fn parse(expression: &str) -> Option<(u32, u32)> {
    let (address, bits) = match expression.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()?),
        None => (expression, 32),
    };
    if bits > 32 {
        return None;
    }
    Some((parse_v4(address)?, bits))
}

/// Four decimal numbers; unlike Rust's own parser this one takes leading zeros, as Java's does.
fn parse_v4(address: &str) -> Option<u32> {
    let mut parts = address.split('.');
    let mut octets = [0_u8; 4];
    for octet in &mut octets {
        *octet = parts.next()?.parse().ok()?;
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
    let (Some(client), Some((network, bits))) = (parse_v4(address), parse(expression)) else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    client & mask == network & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_match_their_addresses() {
        assert!(matches("127.0.0.1", "127.0.0.1"));
        assert!(matches("10.1.2.3", "10.1.0.0/16"));
        assert!(!matches("10.2.2.3", "10.1.0.0/16"));
        assert!(matches("1.2.3.4", "0.0.0.0/0"));
        assert!(!is_valid("10.0.0.0/33") && !is_valid("10.0.0") && !is_valid("::1"));
    }
}
