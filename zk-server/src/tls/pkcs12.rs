//! Pure: PKCS#12 key stores (RFC 7292), as Java's keytool and OpenSSL write them.

use crate::tls::certificate::Certificate;
use crate::tls::der::{Der, DerError, Element, tag};
use crate::tls::identity::{KeyBytes, KeyEntry, Store};
use crate::tls::pbe::{self, PbeError};

/// 1.2.840.113549.1.7: data is 1, encrypted data 6.
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
/// 1.2.840.113549.1.12.10.1: plain key 1, protected key 2, certificate 3.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
/// 1.2.840.113549.1.9: friendly name 20, local key id 21, X.509 certificate 22.1.
const PKCS9: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9];
/// 2.16.840.1.113894.746875.1.1: Java's mark of a trusted certificate.
const TRUSTED_KEY_USAGE: &[u8] = &[
    0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1,
];

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// The structure is broken.
    #[error("it is not a sound PKCS#12 file: {0}")]
    Der(#[from] DerError),
    /// The password is wrong.
    #[error("the password is wrong, or the file was changed")]
    Mac,
    /// A part cannot be opened.
    #[error(transparent)]
    Pbe(#[from] PbeError),
    /// Public keys instead of passwords.
    #[error("a part is protected by something else than a password, which is not supported")]
    Protection,
}

/// One certificate of the file.
struct CertificateBag<'a> {
    der: &'a [u8],
    attributes: Attributes,
}

struct KeyBag {
    key: Vec<u8>,
    attributes: Attributes,
}

#[derive(Default)]
struct Attributes {
    name: Option<String>,
    key_id: Option<Vec<u8>>,
    trusted: bool,
}

/// Reads a store.
pub fn read(file: &[u8], password: &str) -> Result<Store, Pkcs12Error> {
    let mut pfx = Der::new(file).inside(tag::SEQUENCE)?;
    pfx.number()?;
    let content = content_info(pfx.inside(tag::SEQUENCE)?)?;
    let Content::Plain(content) = content else {
        return Err(Pkcs12Error::Protection);
    };
    // Without a MAC nothing says whether the password is right; keytool can leave it out.
    if let Some(mac_data) = pfx.optional(tag::SEQUENCE)?
        && !pbe::verify(mac_data, password, content)?
    {
        return Err(Pkcs12Error::Mac);
    }
    let mut parts = Vec::new();
    let mut infos = Der::new(content).inside(tag::SEQUENCE)?;
    while !infos.is_empty() {
        parts.push(match content_info(infos.inside(tag::SEQUENCE)?)? {
            Content::Plain(bytes) => bytes.to_vec(),
            Content::Sealed { algorithm, bytes } => pbe::open(algorithm, password, bytes)?,
        });
    }
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for part in &parts {
        let mut bags = Der::new(part).inside(tag::SEQUENCE)?;
        while !bags.is_empty() {
            read_bag(
                bags.inside(tag::SEQUENCE)?,
                password,
                &mut keys,
                &mut certificates,
            )?;
        }
    }
    Ok(link(keys, &certificates))
}

enum Content<'a> {
    Plain(&'a [u8]),
    Sealed {
        algorithm: &'a [u8],
        bytes: &'a [u8],
    },
}

fn content_info(mut info: Der<'_>) -> Result<Content<'_>, Pkcs12Error> {
    let kind = info.contents(tag::OID)?.strip_prefix(PKCS7);
    let mut content = info.inside(tag::CONTEXT_0)?;
    match kind {
        Some(&[1]) => Ok(Content::Plain(content.contents(tag::OCTET_STRING)?)),
        Some(&[6]) => {
            let mut data = content.inside(tag::SEQUENCE)?;
            data.number()?;
            let mut sealed = data.inside(tag::SEQUENCE)?;
            sealed.contents(tag::OID)?;
            let algorithm = sealed.contents(tag::SEQUENCE)?;
            let bytes = sealed.contents(tag::IMPLICIT_0)?;
            Ok(Content::Sealed { algorithm, bytes })
        }
        _ => Err(Pkcs12Error::Protection),
    }
}

fn read_bag<'a>(
    mut bag: Der<'a>,
    password: &str,
    keys: &mut Vec<KeyBag>,
    certificates: &mut Vec<CertificateBag<'a>>,
) -> Result<(), Pkcs12Error> {
    let kind = bag.contents(tag::OID)?.strip_prefix(BAG);
    let mut value = bag.inside(tag::CONTEXT_0)?;
    let attributes = read_attributes(bag.optional(tag::SET)?.unwrap_or_default())?;
    match kind {
        Some(&[1]) => {
            let key = value.element(tag::SEQUENCE)?.whole.to_vec();
            keys.push(KeyBag { key, attributes });
        }
        Some(&[2]) => {
            let mut info = value.inside(tag::SEQUENCE)?;
            let algorithm = info.contents(tag::SEQUENCE)?;
            let sealed = info.contents(tag::OCTET_STRING)?;
            let key = pbe::open(algorithm, password, sealed)?;
            keys.push(KeyBag { key, attributes });
        }
        Some(&[3]) => {
            let mut certificate = value.inside(tag::SEQUENCE)?;
            if certificate.contents(tag::OID)?.strip_prefix(PKCS9) == Some(&[22, 1]) {
                let mut der = certificate.inside(tag::CONTEXT_0)?;
                let der = der.contents(tag::OCTET_STRING)?;
                certificates.push(CertificateBag { der, attributes });
            }
        }
        // Secrets and lists of revoked certificates are not asked for.
        _ => {}
    }
    Ok(())
}

fn read_attributes(set: &[u8]) -> Result<Attributes, DerError> {
    let mut attributes = Attributes::default();
    let mut set = Der::new(set);
    while !set.is_empty() {
        let mut attribute = set.inside(tag::SEQUENCE)?;
        let oid = attribute.contents(tag::OID)?;
        let mut values = attribute.inside(tag::SET)?;
        if oid == TRUSTED_KEY_USAGE {
            attributes.trusted = true;
            continue;
        }
        match oid.strip_prefix(PKCS9) {
            Some(&[20]) => {
                let Element { contents, .. } = values.any()?;
                let units = contents.chunks_exact(2);
                let units = units.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                let units: Vec<u16> = units.collect();
                attributes.name = Some(String::from_utf16_lossy(&units));
            }
            Some(&[21]) => attributes.key_id = Some(values.any()?.contents.to_vec()),
            _ => {}
        }
    }
    Ok(attributes)
}

/// Finds each key's certificates as Java does: its own by the local key id, the others by issuer.
fn link(keys: Vec<KeyBag>, certificates: &[CertificateBag]) -> Store {
    let mut store = Store::default();
    for KeyBag { key, attributes } in keys {
        let own = certificates
            .iter()
            .find(|bag| attributes.key_id.is_some() && bag.attributes.key_id == attributes.key_id);
        let mut chain: Vec<&[u8]> = Vec::new();
        let mut next = own.map(|bag| bag.der);
        while let Some(der) = next {
            if chain.contains(&der) {
                break;
            }
            chain.push(der);
            next = issuer_of(der, certificates);
        }
        store.keys.push(KeyEntry {
            alias: attributes.name.unwrap_or_default(),
            key: KeyBytes::Pkcs8(key),
            chain: chain.into_iter().map(<[u8]>::to_vec).collect(),
        });
    }
    let trusted = certificates.iter().filter(|bag| bag.attributes.trusted);
    store.trusted = trusted.map(|bag| bag.der.to_vec()).collect();
    store
}

fn issuer_of<'a>(der: &[u8], certificates: &[CertificateBag<'a>]) -> Option<&'a [u8]> {
    let certificate = Certificate::parse(der).ok()?;
    if certificate.issuer == certificate.subject {
        return None;
    }
    let mut all = certificates.iter().map(|bag| bag.der);
    all.find(|other| {
        Certificate::parse(other).is_ok_and(|other| other.subject == certificate.issuer)
    })
}
