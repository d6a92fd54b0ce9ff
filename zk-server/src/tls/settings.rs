//! Shell: makes rustls' configuration of the settings and the stores.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use crate::tls::certificate::Certificate;
use crate::tls::der::{self, Der, DerError, tag};
use crate::tls::identity::{KeyBytes, KeyEntry};
use crate::tls::options::{ClientAuth, TlsOptions};
use crate::tls::store::TlsError;
use crate::tls::verifier::Verifier;

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// 1.3.132.0.34, the curve secp384r1
const SECP384R1: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];

/// What the settings come to.
#[derive(Debug)]
pub struct Prepared {
    /// For the sessions.
    pub config: Arc<ServerConfig>,
    /// What is not as it was set, to be logged.
    pub warnings: Vec<String>,
}

/// Reads the stores and puts everything together.
///
/// # Errors
/// Stores that cannot be used, and settings that no client could meet.
pub fn prepare(options: &TlsOptions) -> Result<Prepared, TlsError> {
    let mut warnings = Vec::new();
    let versions = versions(&options.protocols, &mut warnings)?;
    let mut provider = ring::default_provider();
    choose_suites(options, &mut provider, &mut warnings)?;
    let provider = Arc::new(provider);
    let keys = Arc::new(keys(options, &provider)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|e| {
            TlsError::Settings(format!(
                "ssl.ciphersuites has none for ssl.enabledProtocols: {e}"
            ))
        })?;
    let builder = if options.client_auth == ClientAuth::None {
        builder.with_no_client_auth()
    } else {
        let trusted = trusted(options)?;
        let mandatory = options.client_auth == ClientAuth::Need;
        builder.with_client_cert_verifier(Arc::new(Verifier::new(trusted, mandatory, &provider)))
    };
    Ok(Prepared {
        config: Arc::new(builder.with_cert_resolver(keys)),
        warnings,
    })
}

/// The certificates of the trust store.
fn trusted(options: &TlsOptions) -> Result<Vec<Vec<u8>>, TlsError> {
    let Some(store) = &options.trust_store else {
        if options.client_auth == ClientAuth::Want {
            return Ok(Vec::new());
        }
        return Err(TlsError::Settings(
            "ssl.trustStore.location is not set, so no client could prove itself; set it, or ssl.clientAuth=none".to_owned(),
        ));
    };
    let trusted = store.read()?.trusted;
    if trusted.is_empty() {
        return Err(store.error(
            "it holds no trusted certificate; import one with keytool -importcert (those of a key do not count)",
        ));
    }
    for der in &trusted {
        Certificate::parse(der)
            .map_err(|e| store.error(format!("a certificate is broken: {e}")))?;
    }
    Ok(trusted)
}

fn versions(
    names: &[String],
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut versions = Vec::new();
    for name in names {
        let add: &[&SupportedProtocolVersion] = match name.as_str() {
            "TLSv1.2" => &[&version::TLS12],
            "TLSv1.3" => &[&version::TLS13],
            "TLS" => &[&version::TLS12, &version::TLS13],
            name => {
                warnings.push(format!(
                    "protocol {name} is not supported: TLSv1.2 and TLSv1.3 are"
                ));
                continue;
            }
        };
        versions.extend(add);
    }
    if versions.is_empty() {
        return Err(TlsError::Settings(format!(
            "none of the protocols {} is supported; set ssl.enabledProtocols to TLSv1.2, TLSv1.3 or both",
            names.join(",")
        )));
    }
    Ok(versions)
}

/// Leaves the suites that the settings name, in their order.
fn choose_suites(
    options: &TlsOptions,
    provider: &mut CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<(), TlsError> {
    let Some(names) = &options.cipher_suites else {
        return Ok(());
    };
    let java_name = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.replacen("TLS13_", "TLS_", 1)
    };
    let mut chosen = Vec::new();
    for name in names {
        let suites = &provider.cipher_suites;
        match suites.iter().find(|suite| java_name(suite) == *name) {
            Some(suite) => chosen.push(*suite),
            None => warnings.push(format!("cipher suite {name} is not supported")),
        }
    }
    if chosen.is_empty() {
        let all: Vec<String> = provider.cipher_suites.iter().map(java_name).collect();
        return Err(TlsError::Settings(format!(
            "none of ssl.ciphersuites is supported; there are {}",
            all.join(", ")
        )));
    }
    provider.cipher_suites = chosen;
    Ok(())
}

/// The server's keys, of which each client gets the first that it can check.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut keys = self.0.iter();
        let fitting = keys.find(|key| key.key.choose_scheme(schemes).is_some());
        fitting.or(self.0.first()).cloned()
    }
}

fn keys(options: &TlsOptions, provider: &CryptoProvider) -> Result<Keys, TlsError> {
    let store = &options.key_store;
    let mut keys = Vec::new();
    for entry in store.read()?.keys {
        let alias = entry.alias.clone();
        let about = |reason: String| store.error(format!("the key {alias}: {reason}"));
        let Some(own) = entry.chain.first() else {
            return Err(about("it has no certificate".to_owned()));
        };
        let broken = |e: DerError| about(format!("it is broken: {e}"));
        let certificate = Certificate::parse(own).map_err(broken)?;
        let key = private_key(&entry, &certificate).map_err(broken)?;
        let key = provider.key_provider.load_private_key(key).map_err(|e| {
            about(format!(
                "it cannot be used (RSA of 2048 to 4096 bits, EC P-256 and P-384 and Ed25519 can): {e}"
            ))
        })?;
        if let Some(public) = key.public_key()
            && public.as_ref() != certificate.public_key_info
        {
            return Err(about("its certificate belongs to another key".to_owned()));
        }
        let chain = entry.chain.into_iter().map(CertificateDer::from).collect();
        keys.push(Arc::new(CertifiedKey::new(chain, key)));
    }
    if keys.is_empty() {
        return Err(store.error("it holds no private key"));
    }
    Ok(Keys(keys))
}

fn private_key(
    entry: &KeyEntry,
    certificate: &Certificate,
) -> Result<PrivateKeyDer<'static>, DerError> {
    Ok(match &entry.key {
        KeyBytes::Pkcs1(der) => PrivatePkcs1KeyDer::from(der.clone()).into(),
        KeyBytes::Sec1(der) => PrivateSec1KeyDer::from(der.clone()).into(),
        KeyBytes::Pkcs8(der) => PrivatePkcs8KeyDer::from(complete_ec(der, certificate)?).into(),
    })
}

/// Java leaves the public part out of EC keys, and leading zeros too; the library needs both.
fn complete_ec(pkcs8: &[u8], certificate: &Certificate) -> Result<Vec<u8>, DerError> {
    let mut info = Der::new(pkcs8).inside(tag::SEQUENCE)?;
    let version = info.element(tag::INTEGER)?;
    let algorithm = info.element(tag::SEQUENCE)?;
    let mut parts = Der::new(algorithm.contents);
    if parts.contents(tag::OID)? != EC_PUBLIC_KEY {
        return Ok(pkcs8.to_vec());
    }
    let size = match parts.optional(tag::OID)? {
        Some(SECP384R1) => 48,
        _ => 32,
    };
    let mut key = Der::new(info.contents(tag::OCTET_STRING)?).inside(tag::SEQUENCE)?;
    let key_version = key.element(tag::INTEGER)?;
    let secret = key.contents(tag::OCTET_STRING)?;
    let zeros = vec![0; size_missing(size, secret.len())];
    let secret = der::encode(tag::OCTET_STRING, &[&zeros, secret]);
    let public = der::encode(tag::BIT_STRING, &[&[0], certificate.public_key]);
    let public = der::encode(tag::CONTEXT_1, &[&public]);
    let key = der::encode(tag::SEQUENCE, &[key_version.whole, &secret, &public]);
    let key = der::encode(tag::OCTET_STRING, &[&key]);
    Ok(der::encode(
        tag::SEQUENCE,
        &[version.whole, algorithm.whole, &key],
    ))
}

fn size_missing(size: usize, have: usize) -> usize {
    size.saturating_sub(have)
}
