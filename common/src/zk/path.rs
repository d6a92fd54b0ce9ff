//! Pure: which paths a node may have (`PathUtils.java`), and taking them apart.
//!
//! Java looks at UTF-16 units, so positions in messages count those, and nothing beyond the
//! basic plane is allowed: its surrogates are not.

/// Why a path is not one. The texts are the ones a ZooKeeper client shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing at all.
    #[error("Path length must be > 0")]
    Empty,
    /// It does not begin at the root.
    #[error("Path must start with / character")]
    NoLeadingSlash,
    /// It ends in a slash.
    #[error("Path must not end with / character")]
    TrailingSlash,
    /// Something in the middle of it.
    #[error("Invalid path string \"{path}\" caused by {reason} @{position}")]
    Invalid {
        /// The whole path.
        path: String,
        /// What is wrong.
        reason: &'static str,
        /// The UTF-16 unit where that was seen.
        position: usize,
    },
}

/// Whether `path` may name a node.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::NoLeadingSlash);
    }
    if path.len() == 1 {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    if is_plain(path.as_bytes()) {
        return Ok(());
    }
    match first_fault(path) {
        None => Ok(()),
        Some((reason, position)) => Err(PathError::Invalid {
            path: path.to_owned(),
            reason,
            position,
        }),
    }
}

/// Whether `path` may be asked for in a create; with `sequential` the number that will follow is
/// taken into account, so that `/a/` is fine then.
pub fn validate_for_create(path: &str, sequential: bool) -> Result<(), PathError> {
    if sequential {
        validate(&format!("{path}1"))
    } else {
        validate(path)
    }
}

/// The common case, quick to tell: printable ASCII without `//` and `/.`.
fn is_plain(path: &[u8]) -> bool {
    path.iter().all(|byte| matches!(byte, 0x20..=0x7e))
        && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn first_fault(path: &str) -> Option<(&'static str, usize)> {
    const SLASH: u16 = b'/' as u16;
    const DOT: u16 = b'.' as u16;
    let units: Vec<u16> = path.encode_utf16().collect();
    for (i, &unit) in units.iter().enumerate().skip(1) {
        let last = units[i - 1];
        let ends_part = units.get(i + 1).is_none_or(|next| *next == SLASH);
        let reason = match unit {
            0 => "null character not allowed",
            SLASH if last == SLASH => "empty node name specified",
            DOT if last == DOT && ends_part && units[i - 2] == SLASH => {
                "relative paths not allowed"
            }
            DOT if last == SLASH && ends_part => "relative paths not allowed",
            0x01..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff => "invalid character",
            _ => continue,
        };
        return Some((reason, i));
    }
    None
}

/// The path of the node above: `/` for `/a`, none for `/`.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        slash => Some(&path[..slash]),
    }
}

/// The last part of a path; empty for `/`.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

/// `parent` and `name` put together.
#[must_use]
pub fn join(parent: &str, name: &str) -> String {
    if parent == "/" {
        format!("/{name}")
    } else {
        format!("{parent}/{name}")
    }
}

/// The path of a sequential node, given its parent's cversion: ten digits, with a minus sign
/// among them once the 32-bit count has wrapped.
#[must_use]
pub fn sequential(prefix: &str, parent_cversion: i32) -> String {
    format!("{prefix}{parent_cversion:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_create_may_end_in_a_slash() {
        assert_eq!(validate_for_create("/a/", true), Ok(()));
        assert_eq!(
            validate_for_create("/a/", false),
            Err(PathError::TrailingSlash)
        );
        assert_eq!(validate_for_create("/a/.", true), Ok(()));
    }

    #[test]
    fn parts() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/"), None);
        assert_eq!(name("/a/b"), "b");
        assert_eq!(sequential("/a/n-", 7), "/a/n-0000000007");
        assert_eq!(sequential("/a/", -5), "/a/-000000005");
        assert_eq!(sequential("/a/", i32::MIN), "/a/-2147483648");
    }
}
