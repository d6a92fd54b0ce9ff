//! Pure: PEM files with a private key and certificates (RFC 7468), as ZooKeeper takes them: the
//! first key, and all certificates in their order; all else is passed over.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::tls::der::{Der, DerError, tag};
use crate::tls::identity::{KeyBytes, KeyEntry, Store};
use crate::tls::pbe::{self, PbeError};

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A part is not Base64.
    #[error("the part that begins in line {0} is not Base64")]
    Base64(usize),
    /// A part has no end.
    #[error("the part that begins in line {0} has no END line")]
    NoEnd(usize),
    /// The key is broken.
    #[error("the private key is broken: {0}")]
    Der(#[from] DerError),
    /// The key cannot be opened.
    #[error("the private key cannot be opened: {0}")]
    Pbe(#[from] PbeError),
    /// An encrypted key and no password.
    #[error("the private key is encrypted and no password is set")]
    NoPassword,
    /// A key in OpenSSL's old encrypted form.
    #[error(
        "the private key is encrypted in OpenSSL's old form; convert it with openssl pkcs8 -topk8"
    )]
    OldEncryption,
}

struct Part<'a> {
    label: &'a str,
    line: usize,
    text: String,
}

/// Reads a store: the first private key with all certificates, which are also the trusted ones.
pub fn read(file: &[u8], password: &str) -> Result<Store, PemError> {
    let text = String::from_utf8_lossy(file);
    let mut store = Store::default();
    let mut key = None;
    for part in parts(&text)? {
        if part.label.ends_with("CERTIFICATE") {
            store.trusted.push(decode(&part)?);
        } else if part.label.ends_with("PRIVATE KEY") && key.is_none() {
            key = Some(read_key(&part, password)?);
        }
    }
    if let Some(key) = key {
        store.keys.push(KeyEntry {
            alias: "key".to_owned(),
            key,
            chain: store.trusted.clone(),
        });
    }
    Ok(store)
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, PemError> {
    let mut parts = Vec::new();
    let mut open: Option<Part> = None;
    for (index, line) in text.lines().enumerate() {
        let mark = line.trim();
        let label = |begin: &str| {
            let rest = mark.trim_start_matches('-').strip_prefix(begin)?;
            mark.starts_with('-')
                .then(|| rest.trim_end_matches('-').trim())
        };
        if let Some(label) = label("BEGIN ") {
            open = Some(Part {
                label,
                line: index + 1,
                text: String::new(),
            });
        } else if label("END ").is_some() {
            parts.extend(open.take());
        } else if let Some(part) = &mut open {
            part.text.push_str(mark);
        }
    }
    match open {
        Some(part) => Err(PemError::NoEnd(part.line)),
        None => Ok(parts),
    }
}

fn decode(part: &Part) -> Result<Vec<u8>, PemError> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, config)
        .decode(&part.text)
        .map_err(|_| PemError::Base64(part.line))
}

fn read_key(part: &Part, password: &str) -> Result<KeyBytes, PemError> {
    if part.text.starts_with("Proc-Type:") {
        return Err(PemError::OldEncryption);
    }
    let der = decode(part)?;
    Ok(match part.label {
        "RSA PRIVATE KEY" => KeyBytes::Pkcs1(der),
        "EC PRIVATE KEY" => KeyBytes::Sec1(der),
        "ENCRYPTED PRIVATE KEY" => {
            if password.is_empty() {
                return Err(PemError::NoPassword);
            }
            let mut info = Der::new(&der).inside(tag::SEQUENCE)?;
            let algorithm = info.contents(tag::SEQUENCE)?;
            let sealed = info.contents(tag::OCTET_STRING)?;
            KeyBytes::Pkcs8(pbe::open(algorithm, password, sealed)?)
        }
        _ => KeyBytes::Pkcs8(der),
    })
}
