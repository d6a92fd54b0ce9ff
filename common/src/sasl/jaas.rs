//! Pure: JAAS login configuration files, the text format of `java.security.auth.login.config`.
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_super="adminsecret"
//!     user_bob="bobsecret";
//! };
//! ```
//!
//! Read as the JDK reads it (javax.security.auth.login.Configuration, java.io.StreamTokenizer):
//! words of letters, digits and `$_-*.`, strings in double quotes with Java's escapes, `//`, `/*`
//! and also a single `/` begin comments, `${name}` in values stands for a system property.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct JaasError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// One login module of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginModule {
    /// The Java class.
    pub class: String,
    /// Its options in the order of the file; of two with the same name the last counts.
    pub options: Vec<(String, String)>,
}

/// The modules under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `Server`, `Client`, `KafkaServer` and the like.
    pub name: String,
    /// Its modules.
    pub modules: Vec<LoginModule>,
}

/// Reads a file; `property` knows the system properties that values may name.
pub fn parse(
    text: &str,
    property: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Section>, JaasError> {
    let mut parser = Parser {
        tokens: Tokens {
            chars: text.chars().peekable(),
            line: 1,
        },
        property,
    };
    let mut sections: Vec<Section> = Vec::new();
    loop {
        let (line, token) = parser.next()?;
        let name = match token {
            Token::End => return Ok(sections),
            Token::Word(name) => name,
            other => return Err(expected(line, "the name of a section", &other)),
        };
        if sections.iter().any(|section| section.name == name) {
            let reason = format!("there is more than one section {name}");
            return Err(JaasError { line, reason });
        }
        let modules = parser.modules()?;
        sections.push(Section { name, modules });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(char),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "'{word}'"),
            Self::Symbol(symbol) => write!(f, "'{symbol}'"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

fn expected(line: usize, what: &str, found: &Token) -> JaasError {
    let reason = match found {
        // What Java takes for a number is no value there either.
        Token::Symbol(digit) if digit.is_ascii_digit() => {
            format!("expected {what}, found a number; put it in double quotes")
        }
        found => format!("expected {what}, found {found}"),
    };
    JaasError { line, reason }
}

struct Parser<'t, P> {
    tokens: Tokens<'t>,
    property: P,
}

impl<P: Fn(&str) -> Option<String>> Parser<'_, P> {
    fn next(&mut self) -> Result<(usize, Token), JaasError> {
        let token = self.tokens.next()?;
        Ok((self.tokens.line, token))
    }

    fn symbol(&mut self, symbol: char) -> Result<(), JaasError> {
        let (line, token) = self.next()?;
        if token == Token::Symbol(symbol) {
            return Ok(());
        }
        Err(expected(line, &format!("'{symbol}'"), &token))
    }

    /// `{ class flag name=value ... ; ... };`
    fn modules(&mut self) -> Result<Vec<LoginModule>, JaasError> {
        self.symbol('{')?;
        let mut modules = Vec::new();
        loop {
            let (line, token) = self.next()?;
            match token {
                Token::Symbol('}') => {
                    self.symbol(';')?;
                    return Ok(modules);
                }
                Token::Word(class) => {
                    self.control_flag()?;
                    let options = self.options()?;
                    modules.push(LoginModule { class, options });
                }
                other => return Err(expected(line, "the class of a login module", &other)),
            }
        }
    }

    fn control_flag(&mut self) -> Result<(), JaasError> {
        let (line, token) = self.next()?;
        let known = ["required", "requisite", "sufficient", "optional"];
        match &token {
            Token::Word(word) if known.contains(&word.to_ascii_lowercase().as_str()) => Ok(()),
            other => Err(expected(
                line,
                "required, requisite, sufficient or optional",
                other,
            )),
        }
    }

    fn options(&mut self) -> Result<Vec<(String, String)>, JaasError> {
        let mut options = Vec::new();
        loop {
            let (line, token) = self.next()?;
            let name = match token {
                Token::Symbol(';') => return Ok(options),
                Token::Word(name) => name,
                other => return Err(expected(line, "the name of an option or ';'", &other)),
            };
            self.symbol('=')?;
            let (line, token) = self.next()?;
            let Token::Word(value) = token else {
                return Err(expected(line, &format!("the value of {name}"), &token));
            };
            let value = self
                .expand(&value)
                .map_err(|reason| JaasError { line, reason })?;
            options.push((name, value));
        }
    }

    /// Puts system properties in; `${{...}}` is left alone, and so is what has no end.
    fn expand(&self, value: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = value;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = if inner.starts_with('{') {
                inner.find("}}").map(|end| end + 2)
            } else {
                inner.find('}').map(|end| end + 1)
            };
            let Some(end) = end else {
                out.push_str(&rest[start..]);
                return Ok(out);
            };
            let name = &inner[..end - 1];
            match name {
                double if double.starts_with('{') => {
                    out.push_str(&rest[start..start + 2 + end]);
                }
                "/" => out.push('/'),
                name => out.push_str(&(self.property)(name).ok_or_else(|| {
                    format!("there is no system property {name}; pass -D{name}=...")
                })?),
            }
            rest = &inner[end..];
        }
        out.push_str(rest);
        if out.is_empty() && !value.is_empty() {
            return Err(format!("{value} is empty"));
        }
        Ok(out)
    }
}

struct Tokens<'t> {
    chars: Peekable<Chars<'t>>,
    line: usize,
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '$' | '_' | '-' | '*' | '.') || c >= '\u{a0}'
}

impl Tokens<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.chars.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    fn next(&mut self) -> Result<Token, JaasError> {
        loop {
            let Some(c) = self.take() else {
                return Ok(Token::End);
            };
            match c {
                '/' => self.comment(),
                '"' => return Ok(Token::Word(self.quoted())),
                // A token that begins so is a number to Java, and nothing there takes one.
                c if c.is_ascii_digit() || matches!(c, '.' | '-') => return Ok(Token::Symbol(c)),
                c if in_word(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = self.chars.next_if(|c| in_word(*c)) {
                        word.push(c);
                    }
                    return Ok(Token::Word(word));
                }
                c if c <= ' ' => {}
                c => return Ok(Token::Symbol(c)),
            }
        }
    }

    /// What follows a `/`: `/* ... */`, or anything up to the end of the line; as in Java a line
    /// that ends with a single `/` takes the next one with it.
    fn comment(&mut self) {
        if self.take() != Some('*') {
            while self.chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
            return;
        }
        let mut star = false;
        while let Some(c) = self.take() {
            if star && c == '/' {
                return;
            }
            star = c == '*';
        }
    }

    /// A string, which ends with its quote or its line.
    fn quoted(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self.chars.next_if(|c| !matches!(c, '\n' | '\r')) {
            match c {
                '"' => break,
                '\\' => match self.take() {
                    Some(c @ '0'..='7') => out.push(self.octal(c)),
                    Some('a') => out.push('\u{7}'),
                    Some('b') => out.push('\u{8}'),
                    Some('f') => out.push('\u{c}'),
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('v') => out.push('\u{b}'),
                    Some(c) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        out
    }

    /// Up to three octal digits; three only up to `\377`.
    fn octal(&mut self, first: char) -> char {
        let mut value = first.to_digit(8).unwrap_or_default();
        let more = if first <= '3' { 2 } else { 1 };
        for _ in 0..more {
            let Some(digit) = self.chars.next_if(|c| c.is_digit(8)) else {
                break;
            };
            value = value * 8 + digit.to_digit(8).unwrap_or_default();
        }
        char::from_u32(value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Section>, JaasError> {
        parse(text, |name| (name == "home").then(|| "/root".to_owned()))
    }

    fn options(text: &str) -> Vec<(String, String)> {
        let sections = read(text).unwrap();
        sections[0].modules[0].options.clone()
    }

    #[test]
    fn a_file_of_users() {
        let text = "// users\nServer {\n  a.b.DigestLoginModule required\n\
            \tuser_super=\"ad\\\"min\\101\" user_bob=bobsecret /* a\n comment */ x-y = \"\";\n\
            a.b.Other OPTIONAL; };\n/ also a comment\n/\nand this one\nClient { };";
        let sections = read(text).unwrap();
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].modules[1].class, "a.b.Other");
        let expected = [
            ("user_super", "ad\"minA"),
            ("user_bob", "bobsecret"),
            ("x-y", ""),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(sections[0].modules[0].options, expected);
    }

    #[test]
    fn values_name_system_properties() {
        let options = options("S { M required a=\"${home}${/}x\" b=\"${{home}}\" c=\"$ ${\"; };");
        let values: Vec<_> = options.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["/root/x", "${{home}}", "$ ${"]);
        let error = read("S {\nM required a=\"${away}\"; };").unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn malformed_files_are_refused_with_their_line() {
        for (text, line) in [
            ("S {\n M required a=1;\n};", 2),
            ("S {\n M required a=\"1\"\n};", 3),
            ("S {\n M needed;\n};", 2),
            ("S { };\nS { };", 2),
            ("S {", 1),
            ("S { M required a='x'; };", 1),
            ("{", 1),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest::proptest! {
        /// Nothing in a file makes the reader panic.
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n\u{e4}\u{17e}]{0,60}") {
            let _ = read(&format!("S {{ M required {text}"));
            let _ = read(&text);
        }
    }
}
