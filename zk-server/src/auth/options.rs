//! Pure: whom the server believes.

use common::zk::data::Id;

use crate::auth::digest::Algorithm;
use crate::auth::sasl::Users;
use crate::auth::schemes::{SUPER, Schemes};

/// Settings of authentication.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// The schemes that are registered.
    pub schemes: Schemes,
    /// The hash of `digest`.
    pub digest_algorithm: Algorithm,
    /// `user:digest` of the super user.
    pub super_digest: Option<String>,
    /// The subject of the super user's certificate.
    pub super_subject: Option<String>,
    /// Who may log in with SASL; without it SASL is not configured.
    pub sasl_users: Option<Users>,
    /// SASL users that are super users.
    pub sasl_super_users: Vec<String>,
    /// `allowSaslFailedClients`: who fails may stay, as nobody in particular.
    pub allow_sasl_failed: bool,
    /// Schemes of which a client must have proved one before anything else; empty: none.
    pub enforced_schemes: Vec<String>,
    /// Names by which clients of the scheme `ensemble` may call the ensemble; `None`: any.
    pub ensemble_names: Option<Vec<String>>,
}

impl AuthOptions {
    /// The identities of a client whose certificate has this subject.
    pub fn certificate_ids(&self, subject: &str) -> Vec<Id> {
        let mut ids = Vec::new();
        if !self.schemes.x509 {
            return ids;
        }
        if self.super_subject.as_deref() == Some(subject) {
            ids.push(Id::new(SUPER, subject));
        }
        ids.push(Id::new("x509", subject));
        ids
    }

    /// Whether SASL is one of the schemes that a client must prove.
    pub fn requires_sasl(&self) -> bool {
        self.enforced_schemes.iter().any(|scheme| scheme == "sasl")
    }
}
