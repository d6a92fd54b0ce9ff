//! Pure: settings of TLS (X509Util.java, SSLContextAndOptions.java, NettyServerCnxnFactory.java).

use std::path::PathBuf;

/// How TLS is spoken on the ports that speak it.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// `ssl.keyStore.*`
    pub key_store: StoreOptions,
    /// `ssl.trustStore.*`; without it no certificate of a client is trusted.
    pub trust_store: Option<StoreOptions>,
    /// `ssl.clientAuth`
    pub client_auth: ClientAuth,
    /// `ssl.enabledProtocols`, or else `ssl.protocol`.
    pub protocols: Vec<String>,
    /// `ssl.ciphersuites`; none: the usual ones.
    pub cipher_suites: Option<Vec<String>>,
    /// `netty.server.outstandingHandshake.limit`: handshakes at a time; none: no limit.
    pub handshake_limit: Option<usize>,
}

/// Where a store is and how it is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// The key that names the file, for messages.
    pub key: &'static str,
    /// `.location`
    pub path: PathBuf,
    /// `.password`; may be empty.
    pub password: String,
    /// `.passwordPath`: a file with the password, which wins.
    pub password_path: Option<PathBuf>,
    /// `.type`; none: by the file's name.
    pub kind: Option<StoreKind>,
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password is nobody's business.
        out.debug_struct("StoreOptions")
            .field("path", &self.path)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What kind of file a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Java's own.
    Jks,
    /// Text with certificates and a key.
    Pem,
    /// PKCS#12.
    Pkcs12,
    /// Bouncy Castle's, which is not supported.
    Bcfks,
}

impl StoreKind {
    /// The kind that a `.type` names, in any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let kinds = [
            ("JKS", Self::Jks),
            ("PEM", Self::Pem),
            ("PKCS12", Self::Pkcs12),
            ("BCFKS", Self::Bcfks),
        ];
        let found = kinds
            .iter()
            .find(|(kind, _)| kind.eq_ignore_ascii_case(name));
        found.map(|(_, kind)| *kind)
    }

    /// The kind that the end of a file name shows.
    #[must_use]
    pub fn of_file(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "jks" => Some(Self::Jks),
            "pem" => Some(Self::Pem),
            "p12" => Some(Self::Pkcs12),
            "bcfks" => Some(Self::Bcfks),
            _ => None,
        }
    }
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked and may refuse.
    Want,
    /// They must.
    Need,
}

impl ClientAuth {
    /// The value of `ssl.clientAuth`, in any case; `need` if it is empty.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "want" => Some(Self::Want),
            "need" | "" => Some(Self::Need),
            _ => None,
        }
    }
}
