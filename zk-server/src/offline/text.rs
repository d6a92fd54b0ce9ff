//! Pure: how the offline tools write paths, data, times and ACLs.

use std::fmt::Write as _;

use common::zk::data::Acl;

/// At most so many bytes of a znode's data are shown in text.
const SHOWN_BYTES: usize = 128;

/// Text in double quotes with what is not printable escaped.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Data as text where it is text, else as hexadecimal, and cut where it is long.
pub fn data(data: Option<&[u8]>) -> String {
    let Some(data) = data else {
        return "null".to_owned();
    };
    let shown = &data[..data.len().min(SHOWN_BYTES)];
    let cut = if shown.len() < data.len() { "..." } else { "" };
    // What is cut may end within a character.
    let whole = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(e) if !cut.is_empty() && e.error_len().is_none() => {
            std::str::from_utf8(&shown[..e.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let printable = |c: char| !c.is_control() || c == '\n' || c == '\t';
    match whole.filter(|text| text.chars().all(printable)) {
        Some(text) => format!("{}{cut}", quoted(text)),
        None => {
            let mut out = String::from("0x");
            for byte in shown {
                let _ = write!(out, "{byte:02x}");
            }
            out + cut
        }
    }
}

/// An ACL as zkCli's setAcl takes it.
pub fn acl(acl: &[Acl]) -> String {
    let entries: Vec<String> = acl
        .iter()
        .map(|entry| {
            let letters = [(1, 'r'), (2, 'w'), (4, 'c'), (8, 'd'), (16, 'a')];
            let perms: String = letters
                .iter()
                .filter(|(bit, _)| entry.perms & bit != 0)
                .map(|(_, letter)| *letter)
                .collect();
            format!("{}:{}:{perms}", entry.id.scheme, entry.id.id)
        })
        .collect();
    entries.join(",")
}

/// A wall clock in milliseconds as RFC 3339 in UTC; a time that no calendar has as a number.
pub fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_text_or_hexadecimal() {
        assert_eq!(data(None), "null");
        assert_eq!(data(Some(b"")), "\"\"");
        assert_eq!(data(Some(b"a\"b\n")), "\"a\\\"b\\u{a}\"");
        assert_eq!(data(Some(&[0, 255])), "0x00ff");
        let long = "é".repeat(100);
        assert_eq!(
            data(Some(&long.as_bytes()[1..])),
            format!("0x{}...", "a9c3".repeat(64))
        );
        let odd = format!("x{long}");
        assert_eq!(
            data(Some(odd.as_bytes())),
            format!("\"x{}\"...", "é".repeat(63))
        );
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_001), "2023-11-14T22:13:20.001Z");
        assert_eq!(time(i64::MIN), i64::MIN.to_string());
    }
}
