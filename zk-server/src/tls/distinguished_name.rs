//! Pure: distinguished names as Java's `X500Principal.getName()` prints them (RFC 2253).
//!
//! ACLs hold these texts, so each character counts.

use std::fmt::Write as _;

use crate::tls::der::{self, Der, DerError, tag};

/// The attributes that RFC 2253 names; all others are shown by number.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// Strings that are shown as text: UTF8, Printable, T61, IA5, General, BMP.
const TEXT_TAGS: [u8; 6] = [0x0c, 0x13, 0x14, 0x16, 0x1b, 0x1e];

/// What a text escapes with a backslash.
const ESCAPED: &str = ",=+<>#;\"\\";

/// The text of a Name (its whole encoding): the last part first.
pub fn text(name: &[u8]) -> Result<String, DerError> {
    let mut parts = Vec::new();
    let mut names = Der::new(name).inside(tag::SEQUENCE)?;
    while !names.is_empty() {
        let mut attributes = names.inside(tag::SET)?;
        let mut part = String::new();
        while !attributes.is_empty() {
            let mut attribute = attributes.inside(tag::SEQUENCE)?;
            if !part.is_empty() {
                part.push('+');
            }
            put_attribute(&mut attribute, &mut part)?;
        }
        parts.push(part);
    }
    parts.reverse();
    Ok(parts.join(","))
}

fn put_attribute(attribute: &mut Der, out: &mut String) -> Result<(), DerError> {
    let oid = der::dotted(attribute.contents(tag::OID)?).ok_or(DerError::Number)?;
    let value = attribute.any()?;
    let keyword = KEYWORDS.iter().find(|(number, _)| *number == oid);
    let _ = write!(out, "{}=", keyword.map_or(oid.as_str(), |(_, word)| word));
    if keyword.is_none() || !TEXT_TAGS.contains(&value.tag) {
        out.push('#');
        for byte in value.whole {
            let _ = write!(out, "{byte:02x}");
        }
        return Ok(());
    }
    // Java takes the bytes of all of them for UTF-8.
    put_text(&String::from_utf8_lossy(value.contents), out);
    Ok(())
}

fn put_text(text: &str, out: &mut String) {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\0' {
            escaped.push_str("\\00");
            continue;
        }
        if ESCAPED.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    let is_blank = |c: char| c == ' ' || c == '\r';
    let lead = escaped.len() - escaped.trim_start_matches(is_blank).len();
    let end = escaped.trim_end_matches(is_blank).len();
    for (at, c) in escaped.char_indices() {
        if at < lead || at >= end {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let pairs = digits.chunks_exact(2);
        pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    /// Names as `new X500Principal(der).getName()` of JDK 17 prints them.
    #[test]
    fn names_are_printed_as_java_prints_them() {
        for (der, text) in [
            ("3000", ""),
            (
                "3031310f300d06035504031e06002c00280027310f300d06035504061e06005c00400029310d300b060355040c14042d39252f",
                "2.5.4.12=#14042d39252f,C=\\00\\\\\\00@\\00),CN=\\00\\,\\00(\\00'",
            ),
            (
                "30423116300b060355042e0c045c2e2e3c3007060355040b0c00311d300b06035504091e04007a0027300e060355040c14070a26303962263f3109300706035504070400",
                "L=#0400,STREET=\\00z\\00'+2.5.4.12=#14070a26303962263f,2.5.4.46=#0c045c2e2e3c+OU=",
            ),
            (
                "302d310c300a06035504050c03255f3a310f300d06035504091e060028000d20ac310c300a060355040314033de920",
                "CN=\\=\u{fffd}\\ ,STREET=\\00(\\00\r \u{fffd},2.5.4.5=#0c03255f3a",
            ),
        ] {
            assert_eq!(super::text(&bytes(der)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn broken_names_are_errors() {
        for der in ["", "30", "3005", "300531", "3006310430023000", "310030"] {
            assert!(super::text(&bytes(der)).is_err(), "{der}");
        }
    }
}
