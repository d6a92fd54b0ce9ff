//! Pure: Java `.properties` text as `java.util.Properties.load` reads it, with line numbers.

use thiserror::Error;

/// One `key=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved.
    pub value: String,
    /// The line of the file on which the entry starts, from 1.
    pub line: usize,
}

/// Text that `java.util.Properties` refuses; there is only one such thing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: malformed \\uxxxx escape: four hexadecimal digits must follow \\u")]
pub struct MalformedEscape {
    /// The line on which the entry with the escape starts, from 1.
    pub line: usize,
}

/// Reads the entries in file order; a key that stands twice is returned twice (Java keeps the last).
///
/// Bytes are ISO-8859-1, as for Java; other characters come as `\uXXXX`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, MalformedEscape> {
    let mut properties = Vec::new();
    for (line, text) in logical_lines(bytes) {
        let (raw_key, raw_value) = split(&text);
        properties.push(Property {
            key: unescape(raw_key).ok_or(MalformedEscape { line })?,
            value: unescape(raw_value).ok_or(MalformedEscape { line })?,
            line,
        });
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Joins continued lines and drops blank ones and comments; a comment line cannot be continued.
fn logical_lines(bytes: &[u8]) -> Vec<(usize, String)> {
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in text.split('\n').enumerate() {
        let trimmed = natural.trim_start_matches(is_blank);
        if open.is_none() && (trimmed.is_empty() || trimmed.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = trimmed.chars().rev().take_while(|&c| c == '\\').count();
        let continued = backslashes % 2 == 1;
        let part = if continued {
            &trimmed[..trimmed.len() - 1]
        } else {
            trimmed
        };
        let (_, joined) = open.get_or_insert_with(|| (index + 1, String::new()));
        joined.push_str(part);
        if !continued {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    lines
}

/// The key ends at the first unescaped `=`, `:` or blank.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let mut key_end = line.len();
    for (at, c) in line.char_indices() {
        if !escaped && (is_blank(c) || c == '=' || c == ':') {
            key_end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let (key, rest) = line.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

/// Resolves escapes; `None` for a malformed `\u`.
fn unescape(raw: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut chars = raw.chars();
    let mut buffer = [0u16; 2];
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                units.push(u16::from_str_radix(&digits, 16).ok()?);
            }
            Some('t') => units.push(9),
            Some('n') => units.push(10),
            Some('f') => units.push(12),
            Some('r') => units.push(13),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buffer)),
            None => {}
        }
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|p| (p.key, p.value, p.line))
            .collect()
    }

    #[test]
    fn separators_comments_and_continuations_are_javas() {
        let text = "# c\n! c\n\n a = b \nk:v\nk2 v2\nlong=one,\\\n   two\\\n\nempty\n=novalue\nesc\\=aped=x\\ty\r\nlast=1";
        let expected = [
            ("a", "b ", 4),
            ("k", "v", 5),
            ("k2", "v2", 6),
            ("long", "one,two", 7),
            ("empty", "", 10),
            ("", "novalue", 11),
            ("esc=aped", "x\ty", 12),
            ("last", "1", 13),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|&(k, v, l)| (k.to_string(), v.to_string(), l))
            .collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn unicode_escapes() {
        assert_eq!(pairs("k=\\u00e9\\ud83d\\ude00\\q")[0].1, "\u{e9}\u{1f600}q");
        assert_eq!(parse(b"a=1\nb=\\u12"), Err(MalformedEscape { line: 2 }));
    }
}
