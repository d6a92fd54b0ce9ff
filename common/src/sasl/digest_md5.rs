//! Pure: the SASL mechanism DIGEST-MD5 (RFC 2831) with quality of protection `auth`, both sides.
//!
//! The server sends `realm="..",nonce="..",charset=utf-8,algorithm=md5-sess`; the client answers
//! with `username`, `realm`, `nonce`, `cnonce`, `nc`, `qop`, `digest-uri` and `response`; the
//! server proves in turn that it knows the password with `rspauth`. What is checked, what is
//! taken for granted and how text becomes bytes follow the JDK's mechanism, the other side of
//! every Java client: `nc` is not looked at, and a name, realm or password is hashed in Latin-1
//! if it fits, in UTF-8 otherwise.

use md5::{Digest, Md5};
use thiserror::Error;

use crate::sasl::directives::{DirectiveError, Directives, put_bare, put_quoted};

/// Longest answer of a client in bytes, as RFC 2831 has it.
pub const MAX_RESPONSE_BYTES: usize = 4096;

/// Longest challenge of a server in bytes, as RFC 2831 has it.
pub const MAX_CHALLENGE_BYTES: usize = 2048;

/// A nonce is used once, so this is its count in every hash.
const NONCE_COUNT: &[u8] = b"00000001";

/// What a client says, once at most; anything else is passed over.
const DIRECTIVES: &[&str] = &[
    "username",
    "realm",
    "nonce",
    "cnonce",
    "nonce-count",
    "qop",
    "digest-uri",
    "response",
    "maxbuf",
    "charset",
    "cipher",
    "authzid",
    "auth-param",
];

/// The only quality of protection offered and asked for: no layer after authentication.
const QOP: &str = "auth";

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestMd5Error {
    /// The message cannot be read.
    #[error("malformed message: {0}")]
    Malformed(#[from] DirectiveError),
    /// The message is too long.
    #[error("message of {0} bytes is too long")]
    TooLong(usize),
    /// A directive that must be there is not.
    #[error("missing directive {0}")]
    Missing(&'static str),
    /// A directive does not have the value that it must have.
    #[error("directive {0} has the unexpected value '{1}'")]
    Unexpected(&'static str, String),
    /// A number that is none.
    #[error("directive {0} is no number: '{1}'")]
    NotANumber(&'static str, String),
    /// A user's name that cannot be one.
    #[error("'{0}' cannot be the name of a user")]
    BadName(String),
    /// There is no such user.
    #[error("no user '{0}'")]
    UnknownUser(String),
    /// The password is another one.
    #[error("wrong password for user '{0}'")]
    WrongPassword(String),
    /// The other side does not know the password either.
    #[error("the server does not know the password")]
    WrongServer,
}

/// What both sides must agree on.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The service, `zookeeper`.
    pub protocol: &'a str,
    /// The server's name, which is its realm as well: `zk-sasl-md5`.
    pub name: &'a str,
}

impl Service<'_> {
    fn uri(&self) -> String {
        format!("{}/{}", self.protocol, self.name)
    }
}

/// A client that the server now knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whose password it knows.
    pub user: String,
    /// The last message to the client.
    pub reply: Vec<u8>,
}

/// The server's first message. The nonce must never have been used before.
pub fn challenge(service: Service<'_>, nonce: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_quoted(&mut out, "realm", service.name.as_bytes());
    put_quoted(&mut out, "nonce", nonce.as_bytes());
    put_bare(&mut out, "charset", b"utf-8");
    put_bare(&mut out, "algorithm", b"md5-sess");
    out
}

/// Checks a client's answer to [`challenge`]; `password` knows the users.
pub fn verify(
    service: Service<'_>,
    nonce: &str,
    response: &[u8],
    password: impl FnOnce(&str) -> Option<String>,
) -> Result<Verified, DigestMd5Error> {
    if response.len() > MAX_RESPONSE_BYTES {
        return Err(DigestMd5Error::TooLong(response.len()));
    }
    let directives = Directives::parse(response)?;
    for key in DIRECTIVES {
        directives.single(key)?;
    }
    let text = |key: &'static str| -> Result<Option<String>, DigestMd5Error> {
        let value = directives.single(key)?;
        Ok(value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let unexpected = |key, value: &Option<String>| {
        DigestMd5Error::Unexpected(key, value.clone().unwrap_or_default())
    };
    let charset = text("charset")?;
    if charset.as_deref().is_some_and(|charset| charset != "utf-8") {
        return Err(unexpected("charset", &charset));
    }
    number(&directives, "maxbuf", 10)?;
    let user = text("username")?.ok_or(DigestMd5Error::Missing("username"))?;
    let realm = text("realm")?;
    if realm.as_deref() != Some(service.name) {
        return Err(unexpected("realm", &realm));
    }
    let returned = directives.single("nonce")?;
    if returned != Some(nonce.as_bytes()) {
        return Err(unexpected("nonce", &text("nonce")?));
    }
    let cnonce = directives
        .single("cnonce")?
        .ok_or(DigestMd5Error::Missing("cnonce"))?;
    let count = number(&directives, "nonce-count", 16)?;
    if count.is_some_and(|count| count != 1) {
        return Err(unexpected("nonce-count", &text("nonce-count")?));
    }
    let qop = text("qop")?;
    if qop.as_deref().is_some_and(|qop| qop != QOP) {
        return Err(unexpected("qop", &qop));
    }
    let uri = text("digest-uri")?;
    let Some(uri) = uri.filter(|uri| uri.eq_ignore_ascii_case(&service.uri())) else {
        return Err(unexpected("digest-uri", &text("digest-uri")?));
    };
    let proof = directives
        .single("response")?
        .ok_or(DigestMd5Error::Missing("response"))?;
    let Some(password) = password(&user) else {
        return Err(DigestMd5Error::UnknownUser(user));
    };
    let session = Session {
        user: &user,
        realm: service.name,
        password: &password,
        nonce: nonce.as_bytes(),
        cnonce,
        authzid: directives.single("authzid")?,
        uri: &uri,
    };
    if !same(proof, session.response("AUTHENTICATE").as_bytes()) {
        return Err(DigestMd5Error::WrongPassword(user));
    }
    let reply = format!("rspauth={}", session.response("")).into_bytes();
    Ok(Verified { user, reply })
}

/// A number as Java's `Integer.parseInt` reads it.
fn number(
    directives: &Directives,
    key: &'static str,
    base: u32,
) -> Result<Option<i32>, DigestMd5Error> {
    let Some(value) = directives.single(key)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value);
    match i32::from_str_radix(&text, base) {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(DigestMd5Error::NotANumber(key, text.into_owned())),
    }
}

/// A client's answer, and what the server must say to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message to the server.
    pub response: Vec<u8>,
    expected: String,
}

/// The client's answer to a server's challenge. The client's nonce must be unpredictable.
pub fn answer(
    service: Service<'_>,
    challenge: &[u8],
    user: &str,
    password: &str,
    cnonce: &str,
) -> Result<Answer, DigestMd5Error> {
    if challenge.len() > MAX_CHALLENGE_BYTES {
        return Err(DigestMd5Error::TooLong(challenge.len()));
    }
    let directives = Directives::parse(challenge)?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let nonce = directives
        .single("nonce")?
        .ok_or(DigestMd5Error::Missing("nonce"))?;
    let algorithm = directives.single("algorithm")?.map(text);
    if algorithm.as_deref() != Some("md5-sess") {
        let algorithm = algorithm.unwrap_or_default();
        return Err(DigestMd5Error::Unexpected("algorithm", algorithm));
    }
    if let Some(offered) = directives.single("qop")?.map(text)
        && !offered.split(',').any(|qop| qop.trim() == QOP)
    {
        return Err(DigestMd5Error::Unexpected("qop", offered));
    }
    let utf8 = directives.single("charset")?.is_some();
    let realm = directives
        .values("realm")
        .next()
        .map(text)
        .unwrap_or_default();
    let uri = service.uri();
    let session = Session {
        user,
        realm: &realm,
        password,
        nonce,
        cnonce: cnonce.as_bytes(),
        authzid: None,
        uri: &uri,
    };
    let proof = session.response("AUTHENTICATE");
    let mut out = Vec::new();
    if utf8 {
        put_bare(&mut out, "charset", b"utf-8");
    }
    put_quoted(&mut out, "username", user.as_bytes());
    put_quoted(&mut out, "realm", realm.as_bytes());
    put_quoted(&mut out, "nonce", nonce);
    put_bare(&mut out, "nc", NONCE_COUNT);
    put_quoted(&mut out, "cnonce", cnonce.as_bytes());
    put_quoted(&mut out, "digest-uri", uri.as_bytes());
    put_bare(&mut out, "response", proof.as_bytes());
    put_bare(&mut out, "qop", QOP.as_bytes());
    Ok(Answer {
        response: out,
        expected: session.response(""),
    })
}

impl Answer {
    /// Checks the server's last message.
    pub fn check(&self, reply: &[u8]) -> Result<(), DigestMd5Error> {
        let directives = Directives::parse(reply)?;
        let proof = directives
            .single("rspauth")?
            .ok_or(DigestMd5Error::Missing("rspauth"))?;
        if same(proof, self.expected.as_bytes()) {
            Ok(())
        } else {
            Err(DigestMd5Error::WrongServer)
        }
    }
}

/// What goes into the hashes.
struct Session<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
    uri: &'a str,
}

impl Session<'_> {
    /// The hash that proves the password (RFC 2831, 2.1.2.1).
    fn response(&self, method: &str) -> String {
        let secret = join(&[
            &hashed(self.user),
            &hashed(self.realm),
            &hashed(self.password),
        ]);
        let secret = Md5::digest(secret);
        let mut a1: Vec<&[u8]> = vec![&secret, self.nonce, self.cnonce];
        a1.extend(self.authzid);
        let a1 = hex(&Md5::digest(join(&a1)));
        let a2 = hex(&Md5::digest(join(&[
            method.as_bytes(),
            self.uri.as_bytes(),
        ])));
        hex(&Md5::digest(join(&[
            a1.as_bytes(),
            self.nonce,
            NONCE_COUNT,
            self.cnonce,
            QOP.as_bytes(),
            a2.as_bytes(),
        ])))
    }
}

/// Latin-1 where every character has a place in it, UTF-8 otherwise.
fn hashed(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&b':')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 2831, section 4.
    const RFC: Service<'static> = Service {
        protocol: "imap",
        name: "elwood.innosoft.com",
    };

    #[test]
    fn the_example_of_the_standard() {
        let challenge = b"realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",\
            algorithm=md5-sess,charset=utf-8";
        let answer = answer(RFC, challenge, "chris", "secret", "OA6MHXh6VqTrRk").unwrap();
        let text = String::from_utf8(answer.response.clone()).unwrap();
        assert!(
            text.contains("response=d388dad90d4bbd760a152321f2143af7"),
            "{text}"
        );
        let verified = verify(RFC, "OA6MG9tEQGm2hh", &answer.response, |user| {
            (user == "chris").then(|| "secret".to_owned())
        });
        let verified = verified.unwrap();
        assert_eq!(verified.reply, b"rspauth=ea40f60335c427b5527b84dbabcdfffd");
        assert_eq!(answer.check(&verified.reply), Ok(()));
        let other = b"rspauth=ea40f60335c427b5527b84dbabcdfff0";
        assert_eq!(answer.check(other), Err(DigestMd5Error::WrongServer));
    }

    const ZOOKEEPER: Service<'static> = Service {
        protocol: "zookeeper",
        name: "zk-sasl-md5",
    };

    fn attempt(change: impl FnOnce(String) -> String) -> Result<Verified, DigestMd5Error> {
        let challenge = challenge(ZOOKEEPER, "n0");
        let answer = answer(ZOOKEEPER, &challenge, "bob", "pw", "c0").unwrap();
        let response = change(String::from_utf8(answer.response).unwrap());
        verify(ZOOKEEPER, "n0", response.as_bytes(), |user| {
            (user == "bob").then(|| "pw".to_owned())
        })
    }

    #[test]
    fn each_directive_is_checked() {
        assert_eq!(attempt(|r| r).unwrap().user, "bob");
        assert!(attempt(|r| r.replace("nc=00000001,", "")).is_ok());
        assert!(attempt(|r| r.replace(",qop=auth", "")).is_ok());
        for (from, to) in [
            ("\"bob\"", "\"eve\""),
            ("charset=utf-8", "charset=latin-1"),
            ("\"zk-sasl-md5\"", "\"other\""),
            ("\"n0\"", "\"n1\""),
            ("\"c0\"", "\"c1\""),
            ("zookeeper/zk-sasl-md5", "zookeeper/localhost"),
            ("qop=auth", "qop=auth-conf"),
            ("qop=auth", "qop=auth,authzid=x"),
            ("qop=auth", "qop=auth,maxbuf=x"),
            ("qop=auth", "qop=auth,qop=auth"),
            ("cnonce=", "unknown="),
            ("response=", "unknown="),
        ] {
            assert!(attempt(|r| r.replace(from, to)).is_err(), "{from} to {to}");
        }
    }

    #[test]
    fn text_is_hashed_in_latin_1_if_it_fits() {
        assert_eq!(hashed("J\u{fc}rg"), b"J\xfcrg");
        assert_eq!(hashed("\u{17d}"), "\u{17d}".as_bytes());
    }
}
