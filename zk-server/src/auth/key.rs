//! Pure: the scheme `key`: a multiple of the number in the znode `/key` (KeyAuthenticationProvider.java).

/// The znode that holds the number; as long as there is none, anybody is let in.
pub const PATH: &str = "/key";

/// Whether a client's number is a multiple of the key.
pub fn opens(key: &[u8], proof: &[u8]) -> bool {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i32>().ok();
    match (number(key), number(proof)) {
        (Some(0), Some(_)) => true,
        (Some(key), Some(proof)) => proof.wrapping_rem(key) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_open() {
        for (key, proof, opened) in [
            ("5", "10", true),
            ("5", "11", false),
            ("0", "3", true),
            ("-1", "-2147483648", true),
            ("x", "3", false),
            ("5", "", false),
        ] {
            assert_eq!(
                opens(key.as_bytes(), proof.as_bytes()),
                opened,
                "{key} {proof}"
            );
        }
    }
}
