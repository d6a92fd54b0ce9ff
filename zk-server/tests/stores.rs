//! Shell: key stores written by keytool (JDK 17) and OpenSSL 3 hold what they were given; damaged ones are errors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

use std::path::{Path, PathBuf};

use zk_server::tls::identity::{KeyBytes, Store};
use zk_server::tls::options::{ClientAuth, StoreOptions, TlsOptions};
use zk_server::tls::store::TlsError;
use zk_server::tls::{jks, pem, pkcs12, settings};

const PASSWORD: &str = "changeit";

/// The same key and chain in every form, and the password of each.
const KEYS: [(&str, &str); 9] = [
    ("ec.p12", PASSWORD),
    ("ec.jks", PASSWORD),
    ("ec.pem", ""),
    ("legacy.p12", PASSWORD),
    ("openssl.p12", PASSWORD),
    ("nopassword.p12", ""),
    ("pbes2.pem", PASSWORD),
    ("pbe.pem", PASSWORD),
    ("sec1.pem", ""),
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/tls")
        .join(name)
}

fn options(name: &str, password: &str) -> StoreOptions {
    StoreOptions {
        key: "ssl.keyStore.location",
        path: file(name),
        password: password.to_owned(),
        password_path: None,
        kind: None,
    }
}

fn read(name: &str, password: &str) -> Result<Store, TlsError> {
    options(name, password).read()
}

fn server(key_store: StoreOptions) -> TlsOptions {
    TlsOptions {
        key_store,
        trust_store: Some(options("trust.jks", PASSWORD)),
        client_auth: ClientAuth::Need,
        protocols: vec!["TLSv1.2".to_owned(), "TLSv1.3".to_owned()],
        cipher_suites: None,
        handshake_limit: None,
    }
}

#[test]
fn every_form_holds_the_same_key_and_chain() {
    let reference = read("ec.pem", "").unwrap().keys.remove(0);
    assert_eq!(reference.chain.len(), 2);
    for (name, password) in KEYS {
        let store = read(name, password).unwrap();
        assert_eq!(store.keys.len(), 1, "{name}");
        assert_eq!(store.keys[0].chain, reference.chain, "{name}");
        settings::prepare(&server(options(name, password)))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let keys: Vec<KeyBytes> = ["ec.p12", "ec.jks", "legacy.p12"]
        .map(|name| read(name, PASSWORD).unwrap().keys.remove(0).key)
        .into();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn trusted_certificates_are_those_that_java_trusts() {
    let trusted = read("trust.jks", PASSWORD).unwrap().trusted;
    assert_eq!(trusted.len(), 4);
    for (name, password) in [("trust.p12", PASSWORD), ("open.p12", PASSWORD)] {
        let mut other = read(name, password).unwrap().trusted;
        let mut all = trusted.clone();
        other.sort();
        all.sort();
        assert_eq!(other, all, "{name}");
    }
    // A key's own certificates are no reason to trust anybody.
    for name in ["ec.p12", "ec.jks", "openssl.p12"] {
        assert!(read(name, PASSWORD).unwrap().trusted.is_empty(), "{name}");
    }
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    for (name, password) in KEYS
        .into_iter()
        .filter(|(_, password)| !password.is_empty())
    {
        let error = read(name, &format!("{password}?")).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("password"),
            "{error}"
        );
    }
    let error = read("missing.jks", PASSWORD).unwrap_err().to_string();
    assert!(error.contains("missing.jks"), "{error}");
    let mut unknown = options("ec.p12", PASSWORD);
    unknown.path = file("../tls/ec.p12.txt");
    assert!(unknown.read().unwrap_err().to_string().contains(".type"));
    let mut nobody = server(options("ec.p12", PASSWORD));
    nobody.trust_store = Some(options("ec.jks", PASSWORD));
    let error = settings::prepare(&nobody).unwrap_err().to_string();
    assert!(error.contains("no trusted certificate"), "{error}");
    let error = settings::prepare(&server(options("trust.p12", PASSWORD))).unwrap_err();
    assert!(error.to_string().contains("no private key"), "{error}");
}

/// Cut off anywhere or with any byte changed, a file is an error or reads; nothing else happens.
#[test]
fn damaged_stores_are_errors() {
    for name in ["ec.jks", "trust.jks", "open.p12", "ec.pem"] {
        let good = std::fs::read(file(name)).unwrap();
        let parse = |bytes: &[u8]| match name.rsplit('.').next() {
            Some("jks") => jks::read(bytes, PASSWORD).is_ok(),
            Some("p12") => pkcs12::read(bytes, PASSWORD).is_ok(),
            _ => pem::read(bytes, "").is_ok(),
        };
        assert!(parse(&good), "{name}");
        for end in 0..good.len() {
            let whole = parse(&good[..end]);
            assert!(!whole || name.ends_with("pem"), "{name} cut off at {end}");
        }
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let read = parse(&bad);
                assert!(!read || !name.ends_with("jks"), "{name} changed at {at}");
            }
        }
    }
}
