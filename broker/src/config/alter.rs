//! Pure: applying AlterConfigs and IncrementalAlterConfigs to the settings of a topic (`ConfigAdminManager`).

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use common::config::{Kind, list};
use kafka_wire::error_code::ErrorCode;
use thiserror::Error;

use crate::log::config::topic_key;

/// Why a resource's settings are not changed; each has its error code and Kafka's message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct AlterError {
    /// The code in the answer.
    pub code: ErrorCode,
    /// The message in the answer.
    pub message: String,
}

impl AlterError {
    /// INVALID_REQUEST with this message.
    pub fn request(message: impl Into<String>) -> Self {
        AlterError {
            code: ErrorCode::InvalidRequest,
            message: message.into(),
        }
    }

    /// INVALID_CONFIG with this message.
    pub fn config(message: impl Into<String>) -> Self {
        AlterError {
            code: ErrorCode::InvalidConfig,
            message: message.into(),
        }
    }
}

/// One change of IncrementalAlterConfigs (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set the value.
    Set,
    /// Back to the default.
    Delete,
    /// Add items to a list.
    Append,
    /// Take items out of a list.
    Subtract,
}

impl Operation {
    /// The operation of this code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Operation::Set),
            1 => Some(Operation::Delete),
            2 => Some(Operation::Append),
            3 => Some(Operation::Subtract),
            _ => None,
        }
    }
}

/// Refuses a key that stands twice and null values.
pub fn check_shape<'a>(
    configs: impl Iterator<Item = (&'a ByteString, Option<&'a ByteString>, bool)>,
) -> Result<(), AlterError> {
    let mut seen = BTreeSet::new();
    let mut nulls = Vec::new();
    let mut duplicate = false;
    for (name, value, may_be_null) in configs {
        duplicate |= !seen.insert(name.clone());
        if value.is_none() && !may_be_null {
            nulls.push(name.to_string());
        }
    }
    if duplicate {
        return Err(AlterError::request("Error due to duplicate config keys"));
    }
    if !nulls.is_empty() {
        return Err(AlterError::request(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )));
    }
    Ok(())
}

/// Applies one change to the overrides of a topic.
pub fn apply(
    overrides: &mut BTreeMap<String, String>,
    operation: Operation,
    key: &str,
    value: &str,
) -> Result<(), AlterError> {
    match operation {
        Operation::Set => {
            overrides.insert(key.to_string(), value.to_string());
        }
        Operation::Delete => {
            overrides.remove(key);
        }
        Operation::Append => {
            let mut items = items_of(overrides, key, "append")?;
            items.extend(
                list(value)
                    .into_iter()
                    .filter(|item| !items.contains(item))
                    .collect::<Vec<_>>(),
            );
            overrides.insert(key.to_string(), items.join(","));
        }
        Operation::Subtract => {
            let gone = list(value);
            let mut items = items_of(overrides, key, "subtract")?;
            items.retain(|item| !gone.contains(item));
            overrides.insert(key.to_string(), items.join(","));
        }
    }
    Ok(())
}

/// The items that a list key has now, or by default.
fn items_of(
    overrides: &BTreeMap<String, String>,
    key: &str,
    what: &str,
) -> Result<Vec<String>, AlterError> {
    let row = topic_key(key)
        .ok_or_else(|| AlterError::config(format!("Unknown topic config name: {key}")))?;
    if row.kind != Kind::List {
        return Err(AlterError::config(format!(
            "Config value {what} is not allowed for config key: {key}"
        )));
    }
    let now = overrides
        .get(key)
        .map(String::as_str)
        .or(row.default)
        .unwrap_or_default();
    Ok(list(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink() {
        let mut overrides = BTreeMap::new();
        apply(
            &mut overrides,
            Operation::Append,
            "cleanup.policy",
            "compact,delete",
        )
        .unwrap();
        assert_eq!(overrides["cleanup.policy"], "delete,compact");
        apply(
            &mut overrides,
            Operation::Subtract,
            "cleanup.policy",
            "delete",
        )
        .unwrap();
        assert_eq!(overrides["cleanup.policy"], "compact");
        let refused = apply(&mut overrides, Operation::Append, "retention.ms", "1").unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        apply(&mut overrides, Operation::Delete, "cleanup.policy", "").unwrap();
        assert!(overrides.is_empty());
    }

    #[test]
    fn nulls_and_duplicates_are_refused() {
        let (a, value) = (ByteString::from("a"), ByteString::from("1"));
        let twice = [(&a, Some(&value), false), (&a, Some(&value), false)];
        assert!(
            check_shape(twice.into_iter())
                .unwrap_err()
                .message
                .contains("duplicate")
        );
        let null = check_shape([(&a, None, false)].into_iter()).unwrap_err();
        assert_eq!(null.message, "Null value not supported for : a");
        assert!(check_shape([(&a, None, true)].into_iter()).is_ok());
    }
}
