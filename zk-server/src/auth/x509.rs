//! Pure: the scheme `x509`: the subject of a client's certificate (X509AuthenticationProvider.java).
//!
//! An ACL may hold what Java's `X500Principal` can parse: RFC 1779 and RFC 2253 mixed, as it was
//! seen to take them.

/// The keywords that Java knows, in upper case.
const KEYWORDS: [&str; 22] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
    "OID.",
];

/// What may stand behind a backslash.
const ESCAPABLE: &str = ",=\n+<>#;\\\" ";

/// What must not stand without one outside quotes.
const SPECIAL: &str = ",+<>;\"";

/// Whether an ACL may hold this id.
pub fn is_valid(name: &str) -> bool {
    name.is_empty()
        || split(name, &[',', ';'])
            .iter()
            .all(|part| split(part, &['+']).iter().all(|pair| is_pair(pair)))
}

/// Cuts at separators that are neither escaped nor within quotes.
fn split<'a>(text: &'a str, separators: &[char]) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        } else if separators.contains(&c) && !quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// One `keyword=value`.
fn is_pair(pair: &str) -> bool {
    let Some((keyword, value)) = pair.split_once('=') else {
        return false;
    };
    is_keyword(keyword.trim()) && is_value(value.trim_start_matches([' ', '\n']))
}

fn is_keyword(keyword: &str) -> bool {
    let keyword = keyword.to_uppercase();
    if KEYWORDS.contains(&keyword.as_str()) && keyword != "OID." {
        return true;
    }
    let number = keyword.strip_prefix("OID.").unwrap_or(&keyword);
    let arcs: Vec<&str> = number.split('.').collect();
    let is_number = |arc: &str| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit());
    if arcs.len() < 2 || !arcs.iter().all(|arc| is_number(arc)) {
        return false;
    }
    match arcs[0].trim_start_matches('0') {
        "" | "1" => arcs[1].parse::<u32>().is_ok_and(|second| second < 40),
        "2" => true,
        _ => false,
    }
}

fn is_value(value: &str) -> bool {
    if let Some(hex) = value.strip_prefix('#') {
        let hex = hex.trim_end_matches([' ', '\n']);
        return bytes_of(hex).is_some_and(|bytes| is_der(&bytes));
    }
    match value.strip_prefix('"') {
        Some(quoted) => is_quoted(quoted),
        None => is_plain(value),
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    Some(pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// Whether this is one value in DER, as far as its tag and length go.
fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [tag, ..] if tag & 0x1f == 0x1f => false,
        [_, length, rest @ ..] if *length < 0x80 => rest.len() == usize::from(*length),
        [_, 0x81, length, rest @ ..] => *length >= 0x80 && rest.len() == usize::from(*length),
        [_, 0x82, high, low, rest @ ..] => {
            *high > 0 && rest.len() == usize::from(*high) << 8 | usize::from(*low)
        }
        _ => false,
    }
}

/// What follows an opening quote.
fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.all(|c| c == ' ' || c == '\n'),
            '\\' if !takes_escape(&mut chars) => return false,
            _ => {}
        }
    }
    false
}

fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            if !takes_escape(&mut chars) {
                return false;
            }
        } else if SPECIAL.contains(c) {
            return false;
        }
    }
    true
}

/// What stands behind a backslash: two hexadecimal digits or a special character.
fn takes_escape(chars: &mut std::str::Chars) -> bool {
    match chars.next() {
        Some(c) if c.is_ascii_hexdigit() => chars.next().is_some_and(|c| c.is_ascii_hexdigit()),
        Some(c) => ESCAPABLE.contains(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_as_for_java() {
        for (name, valid) in [
            ("CN=client,O=Tandem", true),
            ("cn = client ; o=Tandem", true),
            ("", true),
            ("client", false),
            ("XX=client", false),
            ("CN=a\\,b", true),
            ("CN=\"a,b\"", true),
            ("CN=\"a,b", false),
            ("CN=a<b", false),
            ("1.2.3=x", true),
            ("CN=a+UID=b", true),
            ("CN=a+", false),
            ("CN=a,", false),
        ] {
            assert_eq!(is_valid(name), valid, "{name}");
        }
    }
}
