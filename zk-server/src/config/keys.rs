//! Pure: what a row of the tables of keys says, and how the text of its value is read.
//!
//! Adding a key: put a row into the table of its area in `tables/`, read it in that area's
//! options (`server_config.rs`), and that is all; the loader finds it wherever it may be set.

use common::config::Rule;

use crate::config::tables::all::TABLES;

/// Where a key may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file alone: `QuorumPeerConfig` has a variable for it.
    File,
    /// `key=` in the file or `-Dzookeeper.key=`; the file wins, because there it becomes that
    /// property.
    Both,
    /// `-Dname=` alone; the row has the property's whole name.
    Property,
}

/// How ZooKeeper reads a value, which decides what a wrong one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// `true` or `false`; anything else is an error (`parseBoolean` of QuorumPeerConfig).
    Boolean,
    /// `true` is true and anything else is false (`Boolean.getBoolean`).
    Flag,
    /// 32 bits; anything else is an error (`Integer.parseInt`).
    Int,
    /// 64 bits; anything else is an error (`Long.parseLong`).
    Long,
    /// 32 bits, also hexadecimal or octal; anything else is the default (`Integer.getInteger`).
    IntOrDefault,
    /// 64 bits, also hexadecimal or octal; anything else is the default (`Long.getLong`).
    LongOrDefault,
    /// A number with a fraction; anything else is an error (`Float.parseFloat`).
    Decimal,
}

/// What setting a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What it does in ZooKeeper.
    Works,
    /// Nothing, as with a single server of ZooKeeper; said once, as information.
    Idle(&'static str),
    /// Nothing, unlike in ZooKeeper; said once, as a warning.
    None(&'static str),
}

/// One key, or all keys that begin with the same text.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As the file has it, without `zookeeper.`; with `*` at the end it stands for all that begin so.
    pub name: &'static str,
    /// Where it may be set.
    pub place: Place,
    /// How its text is read.
    pub form: Form,
    /// The value of a key that is not set.
    pub default: Option<&'static str>,
    /// What a value must satisfy besides its form.
    pub rule: Rule,
    /// What setting it does.
    pub effect: Effect,
}

impl Key {
    const fn new(name: &'static str, place: Place, form: Form) -> Self {
        Self {
            name,
            place,
            form,
            default: None,
            rule: Rule::Any,
            effect: Effect::Works,
        }
    }

    /// A key of the file alone.
    pub const fn file(name: &'static str, form: Form) -> Self {
        Self::new(name, Place::File, form)
    }

    /// A key of the file that is the system property `zookeeper.name` as well.
    pub const fn both(name: &'static str, form: Form) -> Self {
        Self::new(name, Place::Both, form)
    }

    /// A system property that the file cannot set.
    pub const fn property(name: &'static str, form: Form) -> Self {
        Self::new(name, Place::Property, form)
    }

    /// With this value where nothing is set.
    pub const fn default(self, value: &'static str) -> Self {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// With a rule for its values.
    pub const fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    /// Without effect on a single server, in ZooKeeper too, for this reason.
    pub const fn idle(self, reason: &'static str) -> Self {
        Self {
            effect: Effect::Idle(reason),
            ..self
        }
    }

    /// Without effect here, for this reason.
    pub const fn none(self, reason: &'static str) -> Self {
        Self {
            effect: Effect::None(reason),
            ..self
        }
    }

    /// Whether this row is about `name`.
    pub fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// The row of a key: one with its whole name before one with a longer or shorter beginning of it.
pub fn find(name: &str, places: &[Place]) -> Option<&'static Key> {
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .filter(|key| places.contains(&key.place) && key.matches(name))
        .max_by_key(|key| {
            (
                key.name == name,
                key.name.len(),
                key.place != Place::Property,
            )
        })
}

/// A number as Java's `Integer.decode` and `Long.decode` read it: `0x`, `#` and `0` are bases.
pub fn decode(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"]
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix));
    let (base, digits) = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => (16, hex),
        (None, Some(octal)) if !octal.is_empty() => (8, octal),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, base).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// The value as a number, by the key's form.
pub fn number(form: Form, text: &str) -> Option<i64> {
    match form {
        Form::Int => text.parse::<i32>().ok().map(i64::from),
        Form::Long => text.parse().ok(),
        Form::IntOrDefault => decode(text).filter(|n| i32::try_from(*n).is_ok()),
        Form::LongOrDefault => decode(text),
        Form::Text | Form::Secret | Form::Boolean | Form::Flag | Form::Decimal => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_key_stands_in_one_row_and_its_default_is_of_its_form() {
        let mut seen = HashSet::new();
        for key in TABLES.iter().flat_map(|table| table.iter()) {
            assert!(
                seen.insert((key.name, key.place == Place::Property)),
                "{} stands twice",
                key.name
            );
            let Some(default) = key.default else { continue };
            match key.form {
                Form::Boolean | Form::Flag => assert!(["true", "false"].contains(&default)),
                Form::Decimal => assert!(default.parse::<f64>().is_ok()),
                Form::Text | Form::Secret => {}
                form => assert!(number(form, default).is_some(), "{}", key.name),
            }
        }
    }

    /// The file lists what the sources and the guides of 3.8.4 name: keys of the file, and system
    /// properties behind `-D`.
    #[test]
    fn every_key_of_zookeeper_has_a_row() {
        let names = include_str!("../../tests/golden/keys-3.8.4.txt");
        for name in names.lines() {
            let known = match name.strip_prefix("-D") {
                None => find(name, &[Place::File]),
                Some(name) => name
                    .strip_prefix("zookeeper.")
                    .and_then(|bare| find(bare, &[Place::Both]))
                    .or_else(|| find(name, &[Place::Property])),
            };
            assert!(known.is_some(), "{name}");
        }
    }

    #[test]
    fn numbers_are_decoded_as_java_decodes_them() {
        for (text, value) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("-#f", Some(-15)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("+7", Some(7)),
            ("08", None),
            ("0x", None),
            ("--1", None),
            ("0x-1", None),
            ("1 ", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(decode(text), value, "{text}");
        }
        assert_eq!(number(Form::IntOrDefault, "2147483648"), None);
        assert_eq!(number(Form::Int, "0x10"), None);
    }
}
