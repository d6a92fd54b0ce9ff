//! Pure: the scheme `digest`: user and password (DigestAuthenticationProvider.java).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

/// The hash of `DigestAuthenticationProvider.digestAlg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-1, the default.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512Of224,
    /// SHA-512/256.
    Sha512Of256,
    /// SHA3-224.
    Sha3Of224,
    /// SHA3-256.
    Sha3Of256,
    /// SHA3-384.
    Sha3Of384,
    /// SHA3-512.
    Sha3Of512,
}

impl Algorithm {
    /// The algorithm that Java knows by this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Self::Md5,
            "SHA" | "SHA1" | "SHA-1" => Self::Sha1,
            "SHA224" | "SHA-224" => Self::Sha224,
            "SHA256" | "SHA-256" => Self::Sha256,
            "SHA384" | "SHA-384" => Self::Sha384,
            "SHA512" | "SHA-512" => Self::Sha512,
            "SHA512/224" | "SHA-512/224" => Self::Sha512Of224,
            "SHA512/256" | "SHA-512/256" => Self::Sha512Of256,
            "SHA3-224" => Self::Sha3Of224,
            "SHA3-256" => Self::Sha3Of256,
            "SHA3-384" => Self::Sha3Of384,
            "SHA3-512" => Self::Sha3Of512,
            _ => return None,
        })
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(bytes: &[u8]) -> Vec<u8> {
            D::digest(bytes).to_vec()
        }
        let hash = match self {
            Self::Md5 => of::<Md5>,
            Self::Sha1 => of::<Sha1>,
            Self::Sha224 => of::<Sha224>,
            Self::Sha256 => of::<Sha256>,
            Self::Sha384 => of::<Sha384>,
            Self::Sha512 => of::<Sha512>,
            Self::Sha512Of224 => of::<Sha512_224>,
            Self::Sha512Of256 => of::<Sha512_256>,
            Self::Sha3Of224 => of::<Sha3_224>,
            Self::Sha3Of256 => of::<Sha3_256>,
            Self::Sha3Of384 => of::<Sha3_384>,
            Self::Sha3Of512 => of::<Sha3_512>,
        };
        hash(bytes)
    }

    /// `user:password` to `user:base64(hash(user:password))`, the form in which ids are stored.
    pub fn id_of(self, user_and_password: &[u8]) -> String {
        let text = String::from_utf8_lossy(user_and_password);
        let hash = STANDARD.encode(self.hash(text.as_bytes()));
        format!("{}:{hash}", user(&text))
    }
}

/// Whether an ACL may hold this id: two parts, neither of them lost to Java's `split`.
pub fn is_valid(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    trimmed.matches(':').count() == 1
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
        assert_eq!(
            Algorithm::default().id_of(b"super:test"),
            "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
        );
    }

    /// Hashes that Java's MessageDigest printed.
    #[test]
    fn digests_are_javas() {
        for (name, hash) in [
            ("md5", "wj9ntl1lUHd6RGlGHs+1Hg=="),
            ("SHA", "Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="),
            ("SHA-224", "buY2RDLG1qb161QWn3zO7zdHv1Jw5JzOzvoq8w=="),
            ("sha-256", "/Y8xRBngpX5duYn15uUqIRaIaCviy5TEwSk419hCwuA="),
            ("SHA-512/224", "uQhd9bjKXP6GHJndVVZ2qIjzcJFAYrjzPmzxOg=="),
            ("SHA512/256", "GahcuEqKVDomB4u/ebwuUp9/SoZ9jjQVdblytNb5wPo="),
            ("SHA3-256", "3+U94Pf1dSrKR/q5qu/huTFf1Fha6TtpdtpSdhWvIS0="),
        ] {
            let algorithm = Algorithm::by_name(name).unwrap();
            assert_eq!(algorithm.id_of(b"u:p"), format!("u:{hash}"), "{name}");
        }
        assert_eq!(Algorithm::by_name("MD2"), None);
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
            ("::", false),
            ("a::b", false),
        ] {
            assert_eq!(is_valid(id), valid, "{id}");
        }
    }
}
