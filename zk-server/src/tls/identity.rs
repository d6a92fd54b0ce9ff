//! Pure: what a key store holds: keys with their certificates, and certificates that are trusted.

/// A private key and the certificates that belong to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its name in the store.
    pub alias: String,
    /// PKCS#8 form, or for PEM files what they hold.
    pub key: KeyBytes,
    /// DER form, its own certificate first.
    pub chain: Vec<Vec<u8>>,
}

/// The form of a private key.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyBytes {
    /// PrivateKeyInfo (RFC 5208).
    Pkcs8(Vec<u8>),
    /// RSAPrivateKey (RFC 8017).
    Pkcs1(Vec<u8>),
    /// ECPrivateKey (RFC 5915).
    Sec1(Vec<u8>),
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        out.debug_struct("KeyEntry")
            .field("alias", &self.alias)
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// A store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// Keys in the order of the file.
    pub keys: Vec<KeyEntry>,
    /// Trusted certificates, in DER form.
    pub trusted: Vec<Vec<u8>>,
}
