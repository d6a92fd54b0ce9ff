//! Pure: keys of authentication and of access control.

use crate::config::keys::Form::{Flag, Secret, Text};
use crate::config::keys::Key;

/// Why keys of Kerberos do nothing.
const KERBEROS: &str = "Kerberos (GSSAPI) is not supported; SASL users log in with DIGEST-MD5";

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("skipACL", Text).default("no"),
    Key::both("authProvider.*", Text),
    Key::both("DigestAuthenticationProvider.superDigest", Secret),
    Key::both("DigestAuthenticationProvider.enabled", Flag).default("true"),
    Key::both("DigestAuthenticationProvider.digestAlg", Text).default("SHA1"),
    Key::both("enforce.auth.enabled", Flag).default("false"),
    Key::both("enforce.auth.schemes", Text),
    Key::both("sessionRequireClientSASLAuth", Flag).default("false"),
    Key::both("allowSaslFailedClients", Flag).default("false"),
    Key::both("letAnySaslUserDoX", Text),
    Key::both("superUser", Text),
    Key::both("superUser.*", Text),
    Key::both("SASLAuthenticationProvider.superPassword", Secret),
    Key::both("sasl.serverconfig", Text).default("Server"),
    Key::both("sasl.users.*", Secret),
    Key::property("java.security.auth.login.config", Text),
    Key::both("ensembleAuthName", Text),
    Key::both("enableEagerACLCheck", Flag)
        .default("false")
        .idle("only servers of an ensemble use it"),
    Key::both("sasl.client*", Text).idle("only clients use it"),
    Key::both("kerberos.removeHostFromPrincipal", Flag).none(KERBEROS),
    Key::both("kerberos.removeRealmFromPrincipal", Flag).none(KERBEROS),
    Key::both("kerberos.canonicalizeHostNames", Flag).none(KERBEROS),
    Key::both("security.auth_to_local", Text).none(KERBEROS),
    Key::both("kerberos.minReLoginTimeMs", Text).none(KERBEROS),
    Key::both("requireKerberosConfig", Flag).none(KERBEROS),
    Key::property("java.security.krb5.conf", Text).none(KERBEROS),
    Key::property("java.security.krb5.realm", Text).none(KERBEROS),
    Key::property("java.security.krb5.kdc", Text).none(KERBEROS),
];
