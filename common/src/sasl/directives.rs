//! Pure: the `key=value, key="value"` lists that DIGEST-MD5 exchanges (RFC 2831, 7.2), read as
//! the JDK's mechanism reads them.

use thiserror::Error;

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DirectiveError {
    /// A key with a comma in it, or none at all.
    #[error("no directive name before '{0}'")]
    Key(char),
    /// No `=` after a key.
    #[error("'=' expected after directive {0}")]
    NoValue(String),
    /// A quoted value without its end.
    #[error("unmatched quote in directive {0}")]
    Unmatched(String),
    /// Something follows the end of a quoted value.
    #[error("comma or blank expected after the quoted value of {0}")]
    Separator(String),
    /// A directive that may be there once is there again.
    #[error("more than one directive {0}")]
    Twice(String),
}

/// The directives of one message, in their order; keys in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives(Vec<(String, Vec<u8>)>);

impl Directives {
    /// Reads a list. A key may be there more than once.
    pub fn parse(bytes: &[u8]) -> Result<Self, DirectiveError> {
        let mut parser = Parser { bytes, at: 0 };
        let mut found = Vec::new();
        loop {
            parser.skip_blanks();
            match parser.peek() {
                None => return Ok(Self(found)),
                Some(b',') => parser.at += 1,
                Some(_) => {
                    let key = parser.key()?;
                    let value = parser.value(&key)?;
                    found.push((key, value));
                }
            }
        }
    }

    /// The only value of a key; an error if there are several.
    pub fn single(&self, key: &str) -> Result<Option<&[u8]>, DirectiveError> {
        let mut values = self.0.iter().filter(|(name, _)| name == key);
        let value = values.next().map(|(_, value)| value.as_slice());
        match values.next() {
            None => Ok(value),
            Some(_) => Err(DirectiveError::Twice(key.to_owned())),
        }
    }

    /// All values of a key.
    pub fn values<'d>(&'d self, key: &'d str) -> impl Iterator<Item = &'d [u8]> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_slice())
    }
}

struct Parser<'b> {
    bytes: &'b [u8],
    at: usize,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' ' | b'\t')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// A key and the `=` after it. A key at the very end needs none, and has an empty value.
    fn key(&mut self) -> Result<String, DirectiveError> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| !is_blank(b) && !matches!(b, b'=' | b','))
        {
            self.at += 1;
        }
        let key = text(&self.bytes[start..self.at]);
        let bare_end = self.at == self.bytes.len();
        self.skip_blanks();
        match self.peek() {
            Some(b'=') if key.is_empty() => Err(DirectiveError::Key('=')),
            Some(b'=') => {
                self.at += 1;
                self.skip_blanks();
                match self.peek() {
                    None => Err(DirectiveError::NoValue(key)),
                    Some(_) => Ok(key),
                }
            }
            Some(b',') => Err(DirectiveError::Key(',')),
            None if bare_end => Ok(key),
            _ => Err(DirectiveError::NoValue(key)),
        }
    }

    fn value(&mut self, key: &str) -> Result<Vec<u8>, DirectiveError> {
        let mut value = Vec::new();
        if self.peek() != Some(b'"') {
            while let Some(byte) = self.peek().filter(|b| !is_blank(*b) && *b != b',') {
                value.push(byte);
                self.at += 1;
            }
            return Ok(value);
        }
        self.at += 1;
        loop {
            let unmatched = || DirectiveError::Unmatched(key.to_owned());
            let mut byte = self.peek().ok_or_else(unmatched)?;
            self.at += 1;
            if byte == b'"' {
                return match self.peek() {
                    None => Ok(value),
                    Some(next) if is_blank(next) || next == b',' => Ok(value),
                    Some(_) => Err(DirectiveError::Separator(key.to_owned())),
                };
            }
            if byte == b'\\' {
                byte = self.peek().ok_or_else(unmatched)?;
                self.at += 1;
            }
            value.push(byte);
        }
    }
}

/// Puts `key="value"`, with what must be escaped escaped, and a comma before it if needed.
pub fn put_quoted(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    put_key(out, key);
    out.push(b'"');
    for &byte in value {
        let control = byte < 32 && !matches!(byte, b'\r' | b'\n' | b'\t') || byte == 127;
        if control || matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Puts `key=value`, and a comma before it if needed.
pub fn put_bare(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    put_key(out, key);
    out.extend_from_slice(value);
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, DirectiveError> {
        let all = Directives::parse(text.as_bytes())?.0;
        let value = |v: Vec<u8>| String::from_utf8(v).unwrap();
        Ok(all.into_iter().map(|(k, v)| (k, value(v))).collect())
    }

    #[test]
    fn values_are_quoted_or_not() {
        let all = parsed("a=1, B = \"x,\\\"y\\\\\" ,,c=d\te=\"\",bare").unwrap();
        let expected = [
            ("a", "1"),
            ("b", "x,\"y\\"),
            ("c", "d"),
            ("e", ""),
            ("bare", ""),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "=1", "a,b=1", "a b", "a=", "a=\"x", "a=\"x\\", "a=\"x\"y", "a ",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let twice = Directives::parse(b"a=1,A=2").unwrap();
        assert_eq!(twice.single("a"), Err(DirectiveError::Twice("a".into())));
        assert_eq!(twice.values("a").count(), 2);
    }

    #[test]
    fn what_is_put_is_read() {
        let mut out = Vec::new();
        put_quoted(&mut out, "a", b"q\"\\\x01");
        put_bare(&mut out, "b", b"c");
        assert_eq!(out, b"a=\"q\\\"\\\\\\\x01\",b=c");
        let all = Directives::parse(&out).unwrap();
        assert_eq!(all.single("a"), Ok(Some(&b"q\"\\\x01"[..])));
    }

    proptest::proptest! {
        /// What is put is read, whatever bytes a value has.
        #[test]
        fn any_value_comes_back(value: Vec<u8>, noise: Vec<u8>) {
            let mut out = Vec::new();
            put_quoted(&mut out, "a", &value);
            let all = Directives::parse(&out).unwrap();
            assert_eq!(all.single("a"), Ok(Some(&value[..])));
            out.extend(noise);
            let _ = Directives::parse(&out);
        }
    }
}
