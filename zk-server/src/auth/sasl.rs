//! Pure: the scheme `sasl`: who may log in, and how far a client has come with it
//! (ZooKeeperSaslServer.java, SaslServerCallbackHandler.java, SASLAuthenticationProvider.java).

use std::collections::HashMap;

use common::sasl::digest_md5::{self, DigestMd5Error, Service, Verified};

/// What DIGEST-MD5 clients of ZooKeeper expect, whatever the server's address is.
const SERVICE: Service<'static> = Service {
    protocol: "zookeeper",
    name: "zk-sasl-md5",
};

/// The user whose password `SASLAuthenticationProvider.superPassword` replaces.
const SUPER: &str = "super";

/// The users and their passwords.
#[derive(Clone, Default)]
pub struct Users {
    passwords: HashMap<String, String>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.passwords.keys()).finish()
    }
}

impl Users {
    /// Adds a user, or changes a password.
    pub fn set(&mut self, user: &str, password: &str) {
        self.passwords.insert(user.to_owned(), password.to_owned());
    }

    /// Replaces the password of the user `super`, if there is one.
    pub fn set_super_password(&mut self, password: &str) {
        if let Some(old) = self.passwords.get_mut(SUPER) {
            password.clone_into(old);
        }
    }

    fn password(&self, user: &str) -> Option<String> {
        self.passwords.get(user).cloned()
    }
}

/// How far a connection has come. There is one exchange on each: after it, whether it went well
/// or not, another token is refused.
#[derive(Clone, Debug, Default)]
pub enum Exchange {
    /// Nothing was sent yet.
    #[default]
    New,
    /// The client was sent this nonce.
    Challenged(String),
    /// It is over.
    Over,
}

/// What the server says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The exchange goes on with this token.
    Challenge(Vec<u8>),
    /// The client is this user; the token lets it check the server.
    Done(Verified),
    /// Authentication failed.
    Failed(Failure),
}

/// Why authentication failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What the client said is wrong.
    #[error(transparent)]
    Wrong(#[from] DigestMd5Error),
    /// A token after the end of the exchange.
    #[error("the exchange is over")]
    Over,
}

impl Failure {
    /// Whether the real server trips over it and closes the connection without an answer.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Wrong(DigestMd5Error::NotANumber(..) | DigestMd5Error::BadName(_))
        )
    }
}

impl Exchange {
    /// Takes a client's token. `nonce` makes a new one, never used before.
    ///
    /// A user whom nobody listed is refused. (The real server checks such a name against the
    /// password of whoever logged in before.)
    pub fn step(&mut self, token: &[u8], users: &Users, nonce: impl FnOnce() -> String) -> Step {
        if token.len() > digest_md5::MAX_RESPONSE_BYTES {
            return Step::Failed(DigestMd5Error::TooLong(token.len()).into());
        }
        match std::mem::replace(self, Self::Over) {
            Self::New => {
                let nonce = nonce();
                let challenge = digest_md5::challenge(SERVICE, &nonce);
                *self = Self::Challenged(nonce);
                Step::Challenge(challenge)
            }
            Self::Challenged(nonce) => {
                let verified =
                    digest_md5::verify(SERVICE, &nonce, token, |user| users.password(user));
                match verified {
                    // The user itself, never the name that the client wants to act for.
                    Ok(verified) if is_valid(&verified.user) => Step::Done(verified),
                    Ok(verified) => Step::Failed(DigestMd5Error::BadName(verified.user).into()),
                    Err(error) => Step::Failed(error.into()),
                }
            }
            Self::Over => Step::Failed(Failure::Over),
        }
    }
}

/// Whether an ACL may hold this id: with an `@` in it, it must look like a Kerberos principal,
/// `service/host@realm` (KerberosName.java).
pub fn is_valid(id: &str) -> bool {
    let Some((name, realm)) = id.split_once('@') else {
        return true;
    };
    !realm.contains(['/', '@']) && name.matches('/').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let mut users = Users::default();
        users.set("bob", "pw");
        users
    }

    fn log_in(exchange: &mut Exchange, user: &str, password: &str) -> Step {
        let nonce = || "n0".to_owned();
        let Step::Challenge(challenge) = exchange.step(b"", &users(), nonce) else {
            panic!("no challenge");
        };
        let answer = digest_md5::answer(SERVICE, &challenge, user, password, "c0").unwrap();
        exchange.step(&answer.response, &users(), nonce)
    }

    #[test]
    fn only_listed_users_with_their_password_come_in_and_only_once() {
        let mut exchange = Exchange::default();
        assert!(matches!(log_in(&mut exchange, "bob", "pw"), Step::Done(v) if v.user == "bob"));
        let again = exchange.step(b"", &users(), String::new);
        assert_eq!(again, Step::Failed(Failure::Over));
        for (user, password) in [("bob", "other"), ("eve", "pw")] {
            let mut exchange = Exchange::default();
            let step = log_in(&mut exchange, user, password);
            assert!(matches!(step, Step::Failed(_)), "{user}");
        }
    }

    #[test]
    fn ids_with_an_at_are_principals() {
        for (id, valid) in [
            ("bob", true),
            ("a/b/c", true),
            ("bob@R", true),
            ("svc/host@R", true),
            ("@", true),
            ("a@b@c", false),
            ("a/b/c@R", false),
            ("a@b/c", false),
        ] {
            assert_eq!(is_valid(id), valid, "{id}");
        }
    }

    #[test]
    fn the_super_password_needs_a_super_user() {
        let mut users = users();
        users.set_super_password("x");
        assert_eq!(users.password("super"), None);
        users.set("super", "y");
        users.set_super_password("x");
        assert_eq!(users.password("super").as_deref(), Some("x"));
    }
}
