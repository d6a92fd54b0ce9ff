//! TLS: key stores, certificates, handshakes.

pub mod acceptor;
pub mod certificate;
pub mod der;
pub mod distinguished_name;
pub mod identity;
pub mod jks;
pub mod options;
pub mod pbe;
pub mod pem;
pub mod pkcs12;
pub mod settings;
pub mod store;
pub mod verifier;
