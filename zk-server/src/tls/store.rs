//! Shell: opens the files of key stores and trust stores.

use std::path::{Path, PathBuf};

use crate::tls::identity::Store;
use crate::tls::jks::{self, JksError};
use crate::tls::options::{StoreKind, StoreOptions};
use crate::tls::pem::{self, PemError};
use crate::tls::pkcs12::{self, Pkcs12Error};

/// Larger files are none: they would only fill the memory. In bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key}: cannot read {}: {source}", path.display())]
    Io {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is no store.
    #[error("{key}: cannot use {}: {reason}", path.display())]
    Store {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Settings that do not go together or cannot be met.
    #[error("{0}")]
    Settings(String),
}

impl StoreOptions {
    /// An error about this store.
    pub fn error(&self, reason: impl Into<String>) -> TlsError {
        TlsError::Store {
            key: self.key,
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Reads the store.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be, or a wrong password.
    pub fn read(&self) -> Result<Store, TlsError> {
        let Some(kind) = self.kind.or_else(|| StoreKind::of_file(&self.path)) else {
            return Err(self.error(
                "its name does not end in .jks, .p12 or .pem; say what it is with the .type key (JKS, PKCS12, PEM)",
            ));
        };
        let bytes = self.read_file(self.key, &self.path)?;
        let password = self.password()?;
        match kind {
            StoreKind::Pem => pem::read(&bytes, &password).map_err(|e: PemError| self.error(e.to_string())),
            StoreKind::Bcfks => Err(self.error(
                "BCFKS stores are not supported; convert it with keytool -importkeystore -deststoretype PKCS12",
            )),
            // Java too takes each for the other.
            StoreKind::Jks | StoreKind::Pkcs12 => self.read_java(&bytes, &password),
        }
    }

    fn read_java(&self, bytes: &[u8], password: &str) -> Result<Store, TlsError> {
        if bytes.starts_with(&jks::MAGIC) {
            return jks::read(bytes, password).map_err(|e: JksError| self.error(e.to_string()));
        }
        if bytes.starts_with(&jks::JCEKS_MAGIC) {
            return Err(self.error(
                "JCEKS stores are not supported; convert it with keytool -importkeystore -deststoretype PKCS12",
            ));
        }
        pkcs12::read(bytes, password).map_err(|e: Pkcs12Error| self.error(e.to_string()))
    }

    fn password(&self) -> Result<String, TlsError> {
        let Some(path) = &self.password_path else {
            return Ok(self.password.clone());
        };
        let key = self.key.replace(".location", ".passwordPath");
        let bytes = self.read_file(&key, path)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    fn read_file(&self, key: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
        let io = |source| TlsError::Io {
            key: key.to_owned(),
            path: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(io)?.len();
        if length > MAX_FILE_BYTES {
            return Err(self.error(format!("{length} bytes are too many for a store")));
        }
        std::fs::read(path).map_err(io)
    }
}
