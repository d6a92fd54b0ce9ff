//! Pure: Java's own key stores (`JKS`).
//!
//! All numbers are big-endian; `utf` is a 2-byte length and modified UTF-8.
//!
//! ```text
//! magic 0xfeedfeed | version 1 or 2 | entry count
//! entry: 1 | alias utf | time 8 | length 4 + EncryptedPrivateKeyInfo | count 4 + certificate*
//!        2 | alias utf | time 8 | certificate
//! certificate: type utf (only in version 2) | length 4 + DER
//! SHA-1 of: password in UTF-16, "Mighty Aphrodite", all that is above
//! ```

use ring::digest;

use crate::tls::der::{Der, DerError, tag};
use crate::tls::identity::{KeyBytes, KeyEntry, Store};

/// How a JKS file begins.
pub const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// How a JCEKS file begins, which has the same form and other ciphers.
pub const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

/// What Sun's engineers put between password and data.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Bytes of a SHA-1 digest.
const DIGEST_BYTES: usize = 20;

/// 1.3.6.1.4.1.42.2.17.1.1: the one way keys are protected.
const KEY_PROTECTOR: &[u8] = &[0x2b, 6, 1, 4, 1, 0x2a, 2, 0x11, 1, 1];

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JksError {
    /// It ends within an entry.
    #[error("it ends within an entry, at offset {0}")]
    Truncated(usize),
    /// An entry is of an unknown kind.
    #[error("entry of unknown kind {kind} at offset {offset}")]
    Kind {
        /// What is there.
        kind: u32,
        /// Where.
        offset: usize,
    },
    /// The version is neither 1 nor 2.
    #[error("version {0} is not supported")]
    Version(u32),
    /// The digest at its end is another.
    #[error("the password is wrong, or the file was changed")]
    Digest,
    /// A key is not protected as it should be.
    #[error("the key of {alias} is broken: {source}")]
    Key {
        /// Whose key.
        alias: String,
        /// What is wrong.
        source: DerError,
    },
    /// A key is protected by an unknown algorithm.
    #[error("the key of {0} is protected by an algorithm that JKS files do not have")]
    Protection(String),
    /// A key has another password than the store.
    #[error("the key of {0} has another password than the store; give both the same")]
    KeyPassword(String),
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], JksError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(JksError::Truncated(self.at))?;
        self.at += length;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, JksError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)))
    }

    fn block(&mut self) -> Result<&'a [u8], JksError> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn utf(&mut self) -> Result<String, JksError> {
        let length = self.take(2)?;
        let length = usize::from(length[0]) << 8 | usize::from(length[1]);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, JksError> {
        if version == 2 {
            self.utf()?;
        }
        Ok(self.block()?.to_vec())
    }
}

/// Reads a store whose keys have the store's password.
pub fn read(file: &[u8], password: &str) -> Result<Store, JksError> {
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let split = file.len().saturating_sub(DIGEST_BYTES);
    let (body, sum) = file.split_at(split);
    if sha1(&[&password, WHITENER, body]).as_ref() != sum {
        return Err(JksError::Digest);
    }
    let mut input = Input { bytes: body, at: 4 };
    let version = input.number()?;
    if !(1..=2).contains(&version) {
        return Err(JksError::Version(version));
    }
    let mut store = Store::default();
    for _ in 0..input.number()? {
        let offset = input.at;
        let kind = input.number()?;
        let alias = input.utf()?;
        input.take(8)?;
        match kind {
            1 => {
                let key = input.block()?;
                let key = KeyBytes::Pkcs8(open_key(key, &password, &alias)?);
                let mut chain = Vec::new();
                for _ in 0..input.number()? {
                    chain.push(input.certificate(version)?);
                }
                store.keys.push(KeyEntry { alias, key, chain });
            }
            2 => store.trusted.push(input.certificate(version)?),
            kind => return Err(JksError::Kind { kind, offset }),
        }
    }
    Ok(store)
}

/// Opens a key: salt, key xor a chain of digests that begins with the salt, digest of the key.
fn open_key(info: &[u8], password: &[u8], alias: &str) -> Result<Vec<u8>, JksError> {
    let broken = |source| JksError::Key {
        alias: alias.to_owned(),
        source,
    };
    let mut info = Der::new(info).inside(tag::SEQUENCE).map_err(broken)?;
    let mut algorithm = info.inside(tag::SEQUENCE).map_err(broken)?;
    if algorithm.contents(tag::OID).map_err(broken)? != KEY_PROTECTOR {
        return Err(JksError::Protection(alias.to_owned()));
    }
    let sealed = info.contents(tag::OCTET_STRING).map_err(broken)?;
    if sealed.len() < 2 * DIGEST_BYTES {
        return Err(broken(DerError::Truncated));
    }
    let (salt, sealed) = sealed.split_at(DIGEST_BYTES);
    let (sealed, check) = sealed.split_at(sealed.len() - DIGEST_BYTES);
    let mut pad = salt.to_vec();
    let mut key = Vec::with_capacity(sealed.len());
    for part in sealed.chunks(DIGEST_BYTES) {
        pad = sha1(&[password, &pad]).as_ref().to_vec();
        key.extend(part.iter().zip(&pad).map(|(byte, pad)| byte ^ pad));
    }
    if sha1(&[password, &key]).as_ref() != check {
        return Err(JksError::KeyPassword(alias.to_owned()));
    }
    Ok(key)
}

fn sha1(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish()
}
