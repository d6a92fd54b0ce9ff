//! Pure: the scheme `digest`: user and password (DigestAuthenticationProvider.java).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// `user:password` to `user:base64(SHA1(user:password))`, the form in which ids are stored.
pub fn id_of(user_and_password: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_and_password);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(text.as_bytes())))
}

/// Whether an ACL may hold this id: two parts, neither of them lost to Java's `split`.
pub fn is_valid(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    trimmed.len() < id.len() && trimmed.matches(':').count() == 1
        || id == trimmed && id.matches(':').count() == 1
}

/// The user of an id, for `whoAmI`.
pub fn user(id: &str) -> &str {
    id.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_one_of_the_administrators_guide() {
        assert_eq!(id_of(b"super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn validity_follows_javas_split() {
        for (id, valid) in [
            ("a:b", true),
            ("a", false),
            ("a:b:c", false),
            ("a:", false),
            (":b", true),
            ("a:b:", true),
            ("", false),
        ] {
            assert_eq!(is_valid(id), valid, "{id}");
        }
    }
}
