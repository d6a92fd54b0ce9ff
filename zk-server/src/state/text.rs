//! Pure: lengths of text as Java counts them.

/// Java's length of a string in UTF-8: units of UTF-16, in which ZooKeeper's metrics measure
/// paths and names.
pub fn java_length(utf8: &[u8]) -> usize {
    if utf8.is_ascii() {
        return utf8.len();
    }
    // One unit for each byte that begins a character, another one beyond the basic plane.
    let begins = utf8.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    begins + utf8.iter().filter(|byte| **byte >= 0xf0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_as_in_java() {
        for text in ["", "/a/b", "/é", "/日本", "/a😀é"] {
            assert_eq!(java_length(text.as_bytes()), text.encode_utf16().count());
        }
    }
}
