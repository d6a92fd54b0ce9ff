//! Pure: what a password protects in PKCS#12 files and PEM keys (RFC 8018, RFC 7292 appendix B).

use std::num::NonZeroU32;

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, InnerIvInit, KeyIvInit};
use ring::{digest, hmac, pbkdf2};

use crate::tls::der::{Der, DerError, tag};

/// More rounds than this are not turned: the file would only keep the server from starting.
const MAX_ITERATIONS: u32 = 5_000_000;

/// 1.2.840.113549.1.5: PBES2 is 13, PBKDF2 is 12.
const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
/// 1.2.840.113549.1.12.1: the schemes of PKCS#12 itself.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
/// 1.2.840.113549.2: HMAC with SHA-1 is 7, SHA-256 9, SHA-384 10, SHA-512 11.
const RSA_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
/// 2.16.840.1.101.3.4.1: AES in CBC mode with 128 bits is 2, with 192 22, with 256 42.
const NIST_AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];
/// 2.16.840.1.101.3.4.2: SHA-256 is 1, SHA-384 2, SHA-512 3.
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
/// 1.2.840.113549.3.7: triple DES in CBC mode.
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
/// 1.3.14.3.2.26
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];

/// Why something cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PbeError {
    /// The structure is broken.
    #[error("its encryption parameters are broken: {0}")]
    Der(#[from] DerError),
    /// The algorithm is none of those that Java and OpenSSL write.
    #[error("it is protected by an algorithm that is not supported ({0})")]
    Unsupported(&'static str),
    /// The password does not open it.
    #[error("the password does not open it")]
    Password,
}

/// Opens what the algorithm (the contents of an AlgorithmIdentifier) protects.
pub fn open(algorithm: &[u8], password: &str, sealed: &[u8]) -> Result<Vec<u8>, PbeError> {
    let mut parts = Der::new(algorithm);
    let oid = parts.contents(tag::OID)?;
    if oid.strip_prefix(PKCS5) == Some(&[13]) {
        return open_pbes2(parts.inside(tag::SEQUENCE)?, password, sealed);
    }
    let scheme = oid
        .strip_prefix(PKCS12_PBE)
        .and_then(|rest| rest.first().copied());
    let mut parameters = parts.inside(tag::SEQUENCE)?;
    let salt = parameters.contents(tag::OCTET_STRING)?;
    let rounds = iterations(parameters.number()?)?;
    // RFC 7292 ends the password with a zero; some writers take the empty one for nothing at all.
    let passwords = [Some(bmp(password)), password.is_empty().then(Vec::new)];
    for password in passwords.iter().flatten() {
        let derive = |purpose, length| {
            let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
            derive_pkcs12(hash, password, salt, rounds, purpose, length)
        };
        let iv = derive(Purpose::Iv, 8);
        let opened = match scheme {
            Some(3) => unseal::<des::TdesEde3>(&derive(Purpose::Key, 24), &iv, sealed),
            Some(4) => unseal::<des::TdesEde2>(&derive(Purpose::Key, 16), &iv, sealed),
            Some(5) => unseal_rc2(&derive(Purpose::Key, 16), &iv, sealed),
            Some(6) => unseal_rc2(&derive(Purpose::Key, 5), &iv, sealed),
            _ => return Err(PbeError::Unsupported("scheme")),
        };
        if let Some(opened) = opened {
            return Ok(opened);
        }
    }
    Err(PbeError::Password)
}

fn open_pbes2(mut parameters: Der, password: &str, sealed: &[u8]) -> Result<Vec<u8>, PbeError> {
    let mut function = parameters.inside(tag::SEQUENCE)?;
    let mut encryption = parameters.inside(tag::SEQUENCE)?;
    if function.contents(tag::OID)?.strip_prefix(PKCS5) != Some(&[12]) {
        return Err(PbeError::Unsupported("key derivation"));
    }
    let mut function = function.inside(tag::SEQUENCE)?;
    let salt = function.contents(tag::OCTET_STRING)?;
    let rounds = iterations(function.number()?)?;
    function.optional(tag::INTEGER)?;
    let prf = match function.optional(tag::SEQUENCE)? {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(prf) => match Der::new(prf).contents(tag::OID)?.strip_prefix(RSA_DIGEST) {
            Some(&[7]) => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(&[9]) => pbkdf2::PBKDF2_HMAC_SHA256,
            Some(&[10]) => pbkdf2::PBKDF2_HMAC_SHA384,
            Some(&[11]) => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(PbeError::Unsupported("pseudo-random function")),
        },
    };
    let derive = |length: usize| {
        let mut key = vec![0; length];
        pbkdf2::derive(prf, rounds, salt, password.as_bytes(), &mut key);
        key
    };
    let cipher = encryption.contents(tag::OID)?;
    let iv = encryption.contents(tag::OCTET_STRING)?;
    let opened = match cipher.strip_prefix(NIST_AES) {
        Some(&[2]) => unseal::<aes::Aes128>(&derive(16), iv, sealed),
        Some(&[22]) => unseal::<aes::Aes192>(&derive(24), iv, sealed),
        Some(&[42]) => unseal::<aes::Aes256>(&derive(32), iv, sealed),
        _ if cipher == DES_EDE3_CBC => unseal::<des::TdesEde3>(&derive(24), iv, sealed),
        _ => return Err(PbeError::Unsupported("cipher")),
    };
    opened.ok_or(PbeError::Password)
}

fn iterations(number: u32) -> Result<NonZeroU32, PbeError> {
    NonZeroU32::new(number)
        .filter(|rounds| rounds.get() <= MAX_ITERATIONS)
        .ok_or(PbeError::Unsupported("number of iterations"))
}

/// Decrypts in CBC mode; none if key, length or padding do not fit.
fn unseal<C>(key: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>>
where
    C: cbc::cipher::BlockCipherDecrypt + cbc::cipher::KeyInit,
{
    let cipher = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(sealed).ok()
}

/// The same for RC2, whose strength is that of the key's length.
fn unseal_rc2(key: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = rc2::Rc2::new_with_eff_key_len(key, key.len() * 8);
    let cipher = Decryptor::inner_iv_slice_init(cipher, iv).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(sealed).ok()
}

/// A password as PKCS#12 takes it: UTF-16 and a zero.
fn bmp(password: &str) -> Vec<u8> {
    let units = password.encode_utf16().chain([0]);
    units.flat_map(u16::to_be_bytes).collect()
}

/// What is derived from a password (RFC 7292, B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// The derivation of RFC 7292, B.2.
fn derive_pkcs12(
    hash: &'static digest::Algorithm,
    password: &[u8],
    salt: &[u8],
    rounds: NonZeroU32,
    purpose: Purpose,
    length: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let fill = |bytes: &[u8]| -> Vec<u8> {
        let length = bytes.len().div_ceil(block) * block;
        bytes.iter().copied().cycle().take(length).collect()
    };
    let mut material = [fill(salt), fill(password)].concat();
    let mut derived = Vec::with_capacity(length + hash.output_len());
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose as u8; block]);
        context.update(&material);
        let mut part = context.finish();
        for _ in 1..rounds.get() {
            part = digest::digest(hash, part.as_ref());
        }
        derived.extend_from_slice(part.as_ref());
        if derived.len() >= length {
            derived.truncate(length);
            return derived;
        }
        // Each block of the material grows by the part, as a number, and one.
        for number in material.chunks_mut(block) {
            let mut carry = 1_u16;
            let adds = part.as_ref().iter().cycle().take(block);
            let adds: Vec<u8> = adds.copied().collect();
            for (byte, add) in number.iter_mut().zip(adds).rev() {
                carry += u16::from(*byte) + u16::from(add);
                *byte = carry as u8;
                carry >>= 8;
            }
        }
    }
}

/// Whether a PKCS#12 file's MAC is that of its content with this password; `mac_data` holds the
/// contents of MacData.
pub fn verify(mac_data: &[u8], password: &str, content: &[u8]) -> Result<bool, PbeError> {
    let mut parts = Der::new(mac_data);
    let mut info = parts.inside(tag::SEQUENCE)?;
    let mut algorithm = info.inside(tag::SEQUENCE)?;
    let expected = info.contents(tag::OCTET_STRING)?;
    let salt = parts.contents(tag::OCTET_STRING)?;
    let rounds = if parts.is_empty() { 1 } else { parts.number()? };
    let rounds = iterations(rounds)?;
    let oid = algorithm.contents(tag::OID)?;
    let (hash, mac) = match oid.strip_prefix(NIST_HASH) {
        Some(&[1]) => (&digest::SHA256, hmac::HMAC_SHA256),
        Some(&[2]) => (&digest::SHA384, hmac::HMAC_SHA384),
        Some(&[3]) => (&digest::SHA512, hmac::HMAC_SHA512),
        _ if oid == SHA1 => (
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        _ => return Err(PbeError::Unsupported("MAC")),
    };
    let passwords = [Some(bmp(password)), password.is_empty().then(Vec::new)];
    Ok(passwords.iter().flatten().any(|password| {
        let length = hash.output_len();
        let key = derive_pkcs12(hash, password, salt, rounds, Purpose::Mac, length);
        hmac::verify(&hmac::Key::new(mac, &key), content, expected).is_ok()
    }))
}
