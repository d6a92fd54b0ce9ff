//! Pure: which names a topic may have, and which topics are the brokers' own (`common/internals/Topic.java`).

/// The topic of group metadata and committed offsets.
pub const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";
/// The topic of transactions.
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";

/// The longest name, in characters: a log directory's name must hold it, a partition number and a suffix.
const MAX_LENGTH: usize = 249;

/// A name that no topic may have; the text is told to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Topic name is invalid: {0}")]
pub struct InvalidTopicName(String);

/// Checks a topic's name.
///
/// # Errors
/// What is wrong with it.
pub fn validate(name: &str) -> Result<(), InvalidTopicName> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_string()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > MAX_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(InvalidTopicName(reason))
}

/// Whether a topic is one of the brokers' own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    name == GROUP_METADATA_TOPIC || name == TRANSACTION_STATE_TOPIC
}

/// Whether two names would share their metrics' names, where `.` becomes `_`.
#[must_use]
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |name: &str| name.replace('.', "_");
    unified(one) == unified(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_kafkas_words() {
        assert_eq!(validate("a.b_c-9"), Ok(()));
        assert_eq!(validate(&"x".repeat(249)), Ok(()));
        let text = |name: &str| validate(name).unwrap_err().to_string();
        assert_eq!(
            text(""),
            "Topic name is invalid: the empty string is not allowed"
        );
        assert_eq!(text(".."), "Topic name is invalid: '..' is not allowed");
        assert!(text(&"x".repeat(250)).ends_with("longer than the max allowed length 249"));
        assert!(text("a b").contains("other than ASCII alphanumerics"));
        assert!(collide("a.b", "a_b") && !collide("a.b", "ab"));
    }
}
