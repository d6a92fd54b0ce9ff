//! Pure: whether a client's certificate is to be trusted.
//!
//! The chain is checked by `webpki`. Two things that Java takes and `webpki` refuses come on top,
//! because stores made by keytool and OpenSSL live from them: a certificate that is itself in the
//! trust store (self-signed ones among them), and one of version 1 that a trusted one has signed
//! (`openssl x509 -req` without extensions).

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    RootCertStore, SignatureScheme,
};

use crate::tls::certificate::Certificate;

/// Trusts what a trust store says.
#[derive(Debug)]
pub struct Verifier {
    trusted: Vec<Vec<u8>>,
    subjects: Vec<DistinguishedName>,
    chains: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Trusts these certificates (DER) and what they have signed; `mandatory`: a client must have
    /// one.
    #[must_use]
    pub fn new(
        trusted: Vec<Vec<u8>>,
        mandatory: bool,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let all = trusted.iter().map(|der| CertificateDer::from(der.clone()));
        // Those that cannot be roots may still be met themselves.
        roots.add_parsable_certificates(all);
        let subject = |der: &Vec<u8>| {
            let certificate = Certificate::parse(der).ok()?;
            Some(DistinguishedName::from(certificate.subject.to_vec()))
        };
        let subjects = trusted.iter().filter_map(subject).collect();
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Self {
            subjects,
            trusted,
            chains: builder.build().ok(),
            mandatory,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Whether a trusted certificate has signed this one, which is too old to have extensions.
    fn is_signed_by_trusted(&self, certificate: &Certificate) -> bool {
        let issuers = self.trusted.iter().filter_map(|der| {
            let issuer = Certificate::parse(der).ok()?;
            (issuer.subject == certificate.issuer).then_some(issuer)
        });
        for issuer in issuers {
            let mut fitting = self.algorithms.all.iter().filter(|algorithm| {
                algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                    && algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
            });
            let (signed, signature) = (certificate.signed, certificate.signature);
            if fitting.any(|algorithm| {
                let verified = algorithm.verify_signature(issuer.public_key, signed, signature);
                verified.is_ok()
            }) {
                return true;
            }
        }
        false
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::parse(der).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = parse(end_entity)?;
        if !certificate
            .is_for_clients()
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?
        {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        if self.trusted.iter().any(|der| *der == end_entity.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        if certificate.version < 3 {
            if !certificate.is_valid_at(now.as_secs()) {
                return Err(Error::InvalidCertificate(CertificateError::Expired));
            }
            if self.is_signed_by_trusted(&certificate) {
                return Ok(ClientCertVerified::assertion());
            }
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        match &self.chains {
            Some(chains) => chains.verify_client_cert(end_entity, intermediates, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let parsed = parse(certificate)?;
        if parsed.version >= 3 {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        }
        let mapping = self.algorithms.mapping.iter();
        let (_, algorithms) = mapping
            .into_iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerIncompatible::NoSignatureSchemesInCommon)?;
        let mut fitting = algorithms
            .iter()
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == parsed.key_algorithm);
        if fitting.any(|algorithm| {
            let verified =
                algorithm.verify_signature(parsed.public_key, message, signed.signature());
            verified.is_ok()
        }) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let parsed = parse(certificate)?;
        if parsed.version >= 3 {
            return verify_tls13_signature(message, certificate, signed, &self.algorithms);
        }
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key_info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
