//! Shell: whom the server believes: the keys of authentication, and the JAAS file of SASL users.
//!
//! SASL users stand in the section `Server` of the file that `java.security.auth.login.config`
//! names, as options `user_NAME="password"` of ZooKeeper's `DigestLoginModule`; or in the
//! configuration itself, which in TOML reads `[sasl.users]`, `NAME = "password"`.

use std::path::PathBuf;

use common::config::ConfigError;
use common::sasl::jaas::{self, LoginModule, Section};

use crate::auth::digest::Algorithm;
use crate::auth::options::AuthOptions;
use crate::auth::sasl::Users;
use crate::auth::schemes::Schemes;
use crate::config::load::Property;
use crate::config::tls;
use crate::config::values::Values;

const JAAS_FILE: &str = "java.security.auth.login.config";

/// Where the providers of ZooKeeper are, in Java.
const PROVIDERS: &str = "org.apache.zookeeper.server.auth.";

/// Before a user's name, in an option of a login module.
const USER_PREFIX: &str = "user_";

/// Reads all of it; the properties are those that the JAAS file may name.
///
/// # Errors
/// A value that makes no sense, a JAAS file that cannot be read, and what is not supported.
pub fn options(values: &Values, properties: &[Property]) -> Result<AuthOptions, ConfigError> {
    let schemes = schemes(values)?;
    Ok(AuthOptions {
        digest_algorithm: digest_algorithm(values)?,
        super_digest: text(values, "DigestAuthenticationProvider.superDigest"),
        super_subject: text(values, "X509AuthenticationProvider.superUser"),
        sasl_users: sasl_users(values, properties)?,
        sasl_super_users: values
            .beginning_with("superUser")
            .map(|(_, user)| user.to_owned())
            .collect(),
        allow_sasl_failed: values.flag("allowSaslFailedClients"),
        enforced_schemes: enforced(values, &schemes)?,
        ensemble_names: values.text("ensembleAuthName").map(items),
        schemes,
    })
}

fn text(values: &Values, name: &str) -> Option<String> {
    values.text(name).map(str::to_owned)
}

/// A list as ZooKeeper splits it: blanks around items go, empty items stay.
fn items(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// The schemes that `authProvider.*` adds; their keys' endings mean nothing.
fn schemes(values: &Values) -> Result<Schemes, ConfigError> {
    let mut schemes = Schemes {
        digest: values.flag("DigestAuthenticationProvider.enabled"),
        x509: tls::is_spoken(values),
        any_sasl_user: text(values, "letAnySaslUserDoX"),
        ..Schemes::default()
    };
    for (key, class) in values.beginning_with("authProvider.") {
        match class.strip_prefix(PROVIDERS) {
            Some("SASLAuthenticationProvider") => schemes.sasl = true,
            Some("DigestAuthenticationProvider") => schemes.digest = true,
            Some("EnsembleAuthenticationProvider") => schemes.ensemble = true,
            Some("X509AuthenticationProvider") => schemes.x509 = true,
            Some("KeyAuthenticationProvider") => schemes.key = true,
            Some("IPAuthenticationProvider") => {}
            _ => {
                let reason = format!(
                    "the authentication provider {class} cannot be loaded, as this server runs no Java classes; \
                     it has the Digest-, Ensemble-, IP-, Key-, SASL- and X509AuthenticationProvider of {PROVIDERS}*"
                );
                return Err(values.reject(key, reason));
            }
        }
    }
    Ok(schemes)
}

fn digest_algorithm(values: &Values) -> Result<Algorithm, ConfigError> {
    const KEY: &str = "DigestAuthenticationProvider.digestAlg";
    let name = values.text(KEY).unwrap_or_default();
    Algorithm::by_name(name).ok_or_else(|| {
        let reason =
            "no such digest algorithm here; use SHA1, SHA-256, SHA-512 or SHA3-256".to_owned();
        values.reject(KEY, reason)
    })
}

/// The schemes of which a client must prove one.
fn enforced(values: &Values, schemes: &Schemes) -> Result<Vec<String>, ConfigError> {
    let (key, enforced) = if values.flag("sessionRequireClientSASLAuth") {
        ("sessionRequireClientSASLAuth", vec!["sasl".to_owned()])
    } else if values.flag("enforce.auth.enabled") {
        let schemes = values.text("enforce.auth.schemes").map(items);
        ("enforce.auth.schemes", schemes.unwrap_or_default())
    } else {
        return Ok(Vec::new());
    };
    if enforced.is_empty() {
        let reason = "enforce.auth.enabled is true, so enforce.auth.schemes must be set";
        return Err(values.conflict(reason.to_owned()));
    }
    if let Some(scheme) = enforced.iter().find(|scheme| !schemes.has(scheme)) {
        let hint = if scheme == "sasl" {
            format!("; set authProvider.sasl={PROVIDERS}SASLAuthenticationProvider")
        } else {
            String::new()
        };
        let reason = format!("authentication scheme {scheme} is not available{hint}");
        return Err(values.reject(key, reason));
    }
    Ok(enforced)
}

/// Who may log in; `None` if SASL is not configured at all.
fn sasl_users(values: &Values, properties: &[Property]) -> Result<Option<Users>, ConfigError> {
    let mut users = jaas_users(values, properties)?;
    for (key, password) in values.beginning_with("sasl.users.") {
        let name = key.trim_start_matches("sasl.users.");
        users.get_or_insert_default().set(name, password);
    }
    if let (Some(users), Some(password)) = (
        &mut users,
        values.text("SASLAuthenticationProvider.superPassword"),
    ) {
        users.set_super_password(password);
    }
    Ok(users)
}

/// The users of the JAAS file; one without the section, or with an empty one, configures nothing.
fn jaas_users(values: &Values, properties: &[Property]) -> Result<Option<Users>, ConfigError> {
    let Some(value) = values.text(JAAS_FILE) else {
        return Ok(None);
    };
    let path = jaas_path(value);
    let shown = path.display();
    let bytes = std::fs::read(&path)
        .map_err(|e| values.reject(JAAS_FILE, format!("cannot read {shown}: {e}")))?;
    let sections = jaas::parse(&String::from_utf8_lossy(&bytes), |name| {
        property(properties, name)
    })
    .map_err(|e| values.reject(JAAS_FILE, format!("{shown}: {e}")))?;
    let name = values.text("sasl.serverconfig").unwrap_or_default();
    let mut sections = sections
        .into_iter()
        .filter(|section| !section.modules.is_empty());
    let Some(section) = sections.find(|section| section.name == name) else {
        return Ok(None);
    };
    let users = section_users(&section)
        .map_err(|reason| values.reject(JAAS_FILE, format!("{shown}: section {name}: {reason}")))?;
    Ok(Some(users))
}

/// A path or a `file:` address; a `=` before it says that no other file counts.
fn jaas_path(value: &str) -> PathBuf {
    let value = value.strip_prefix('=').unwrap_or(value);
    let path = match value.strip_prefix("file:") {
        Some(path) => path.strip_prefix("//").unwrap_or(path),
        None => value,
    };
    PathBuf::from(path)
}

/// The system properties that a JAAS file may name: those of a JVM that matter, and `-D` options.
fn property(properties: &[Property], name: &str) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok();
    match name {
        "user.home" => variable("HOME"),
        "user.name" => variable("USER"),
        "user.dir" => std::env::current_dir()
            .ok()
            .map(|dir| dir.display().to_string()),
        "file.separator" => Some("/".to_owned()),
        _ => properties
            .iter()
            .rfind(|property| property.name == name)
            .map(|property| property.value.clone()),
    }
}

fn section_users(section: &Section) -> Result<Users, String> {
    let mut users = Users::default();
    for LoginModule { class, options } in &section.modules {
        if class.ends_with("Krb5LoginModule") {
            return Err(
                "Kerberos (GSSAPI) is not supported; list users for DIGEST-MD5 instead".to_owned(),
            );
        }
        if *class != format!("{PROVIDERS}DigestLoginModule") {
            return Err(format!(
                "the login module {class} is not supported; use {PROVIDERS}DigestLoginModule"
            ));
        }
        for (option, value) in options {
            if let Some(user) = option.strip_prefix(USER_PREFIX) {
                users.set(user, value);
            }
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use common::config::Origin;

    use super::*;
    use crate::config::load::{self, CommandLine};

    /// The options of a configuration file, and of a JAAS file if there is one.
    fn read(name: &str, text: &str, jaas: Option<&str>) -> Result<AuthOptions, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        let mut command_line = CommandLine {
            arguments: vec![file.display().to_string()],
            ..CommandLine::default()
        };
        if let Some(jaas) = jaas {
            let file = directory.path().join("jaas.conf");
            std::fs::write(&file, jaas).unwrap();
            let option = format!("-D{JAAS_FILE}=file://{}", file.display());
            command_line.take_option(&option, Origin::CommandLine);
            command_line.take_option("-Dsecret=s3", Origin::CommandLine);
        }
        let values = load::load(&command_line).unwrap();
        options(&values, &command_line.properties)
    }

    fn users(options: &AuthOptions) -> String {
        format!("{:?}", options.sasl_users)
    }

    const JAAS: &str = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required \
        user_bob=\"${secret}\"; }; Other { org.apache.zookeeper.server.auth.DigestLoginModule \
        required; }; Empty { }; Kerberos { com.sun.security.auth.module.Krb5LoginModule required; };";

    #[test]
    fn users_stand_in_a_jaas_file_or_in_toml() {
        let options = read("zoo.cfg", "superUser=bob\nsuperUser.2=eve", Some(JAAS)).unwrap();
        assert_eq!(users(&options), "Some({\"bob\"})");
        assert_eq!(options.sasl_super_users, ["bob", "eve"]);
        let toml = "[sasl.users]\nbob = \"x\"\n[authProvider]\n\
            sasl = \"org.apache.zookeeper.server.auth.SASLAuthenticationProvider\"\n";
        let options = read("zoo.toml", toml, None).unwrap();
        assert_eq!(users(&options), "Some({\"bob\"})");
        assert!(options.schemes.has("sasl"));
        let other = read("zoo.cfg", "sasl.serverconfig=Other", Some(JAAS)).unwrap();
        assert_eq!(users(&other), "Some({})");
        for absent in ["Empty", "Third"] {
            let text = format!("sasl.serverconfig={absent}");
            let none = read("zoo.cfg", &text, Some(JAAS)).unwrap();
            assert_eq!(users(&none), "None");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        for (text, jaas, reason) in [
            (
                "sasl.serverconfig=Kerberos",
                Some(JAAS),
                "Kerberos (GSSAPI) is not supported",
            ),
            ("", Some("Server {"), "line 1: expected"),
            (
                "",
                Some("Server { a.B required; };"),
                "login module a.B is not supported",
            ),
            (
                "authProvider.1=com.example.Own",
                None,
                "com.example.Own cannot be loaded",
            ),
            (
                "DigestAuthenticationProvider.digestAlg=MD2",
                None,
                "no such digest algorithm",
            ),
            (
                "enforce.auth.enabled=true",
                None,
                "enforce.auth.schemes must be set",
            ),
            (
                "sessionRequireClientSASLAuth=true",
                None,
                "set authProvider.sasl=",
            ),
        ] {
            let error = read("zoo.cfg", text, jaas).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn schemes_are_enforced_together() {
        let text = "enforce.auth.enabled=TRUE\nenforce.auth.schemes= digest ,ip";
        let options = read("zoo.cfg", text, None).unwrap();
        assert_eq!(options.enforced_schemes, ["digest", "ip"]);
        assert!(!options.requires_sasl());
    }
}
