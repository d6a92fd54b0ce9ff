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

/// Strings that are shown as text: UTF8, Printable, T61, General, Universal, BMP.
const TEXT_TAGS: [u8; 6] = [0x0c, 0x13, 0x14, 0x1b, 0x1c, 0x1e];

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
    put_text(&characters(value.tag, value.contents), out);
    Ok(())
}

fn characters(tag: u8, bytes: &[u8]) -> String {
    const T61: u8 = 0x14;
    const GENERAL: u8 = 0x1b;
    const BMP: u8 = 0x1e;
    match tag {
        T61 | GENERAL => bytes.iter().map(|byte| char::from(*byte)).collect(),
        BMP => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
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
