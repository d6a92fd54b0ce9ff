//! Pure: the authentication schemes that this server knows, and what each makes of an identity
//! (ProviderRegistry.java and the providers beside it).

use common::zk::data::Id;

use crate::auth::{digest, ip, sasl, x509};

/// The scheme that every client fits, with its only id.
const WORLD: (&str, &str) = ("world", "anyone");

/// The scheme of an identity that passes every check of an ACL.
pub const SUPER: &str = "super";

/// Which schemes are registered besides `world`, `auth` and `ip`, which always are.
#[derive(Clone, Debug)]
pub struct Schemes {
    /// `DigestAuthenticationProvider.enabled`.
    pub digest: bool,
    /// Whether certificates are identities, as on every server that speaks TLS.
    pub x509: bool,
    /// SASLAuthenticationProvider: ACLs may name SASL users.
    pub sasl: bool,
    /// EnsembleAuthenticationProvider: clients may check that they talk to the right ensemble.
    pub ensemble: bool,
    /// KeyAuthenticationProvider: clients may show a multiple of the number in `/key`.
    pub key: bool,
    /// `letAnySaslUserDoX`: ACL entries of `sasl` with this id are for every SASL user.
    pub any_sasl_user: Option<String>,
}

impl Default for Schemes {
    fn default() -> Self {
        Self {
            digest: true,
            x509: false,
            sasl: false,
            ensemble: false,
            key: false,
            any_sasl_user: None,
        }
    }
}

impl Schemes {
    /// Whether a scheme is registered.
    pub fn has(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest,
            "x509" => self.x509,
            "sasl" => self.sasl,
            "ensemble" => self.ensemble,
            "key" => self.key,
            _ => false,
        }
    }

    /// Whether a client with this identity is meant by the id of an ACL entry.
    pub fn matches(&self, client: &Id, entry: &Id) -> bool {
        client.scheme == entry.scheme
            && self.has(&entry.scheme)
            && match &*entry.scheme {
                "ip" => ip::matches(&client.id, &entry.id),
                "sasl" => {
                    &*client.id == "super"
                        || client.id == entry.id
                        || self.any_sasl_user.as_deref() == Some(&*entry.id)
                }
                "ensemble" => false,
                _ => client.id == entry.id,
            }
    }

    /// Whether the id of an ACL entry of this scheme is looked at, so that it must not be null.
    pub fn asks_for_id(&self, scheme: &str) -> bool {
        scheme == WORLD.0 || self.has(scheme)
    }

    /// Whether an ACL may hold this id.
    pub fn is_valid(&self, id: &Id) -> bool {
        if is_anyone(id) {
            return true;
        }
        self.has(&id.scheme)
            && match &*id.scheme {
                "digest" => digest::is_valid(&id.id),
                "ip" => ip::is_valid(&id.id),
                "x509" => x509::is_valid(&id.id),
                "sasl" => sasl::is_valid(&id.id),
                "key" => true,
                _ => false,
            }
    }

    /// Whether an identity was proved, so that `auth` in an ACL stands for it; an address is only
    /// observed.
    pub fn is_authenticated(&self, id: &Id) -> bool {
        self.has(&id.scheme) && matches!(&*id.scheme, "digest" | "sasl" | "x509" | "key")
    }

    /// The name of a client in `whoAmI`; empty if its scheme is not registered.
    pub fn user<'i>(&self, id: &'i Id) -> &'i str {
        match &*id.scheme {
            scheme if !self.has(scheme) => "",
            "digest" => digest::user(&id.id),
            _ => &id.id,
        }
    }
}

/// Whether the id of an ACL entry means everybody.
pub fn is_anyone(id: &Id) -> bool {
    (&*id.scheme, &*id.id) == WORLD
}
