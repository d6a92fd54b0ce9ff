//! Pure: all settings of one start, seen through the tables of keys: typed, defaulted, checked.

use std::path::Path;

use common::config::{self, ConfigError, Definition, Kind, Origin, Rule, Setting, Settings};

use crate::config::keys::{self, Effect, Form, Key, Place};

/// A sentence about the configuration for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// A warning; else information.
    pub warning: bool,
    /// Where, which key, and what about it.
    pub text: String,
}

/// Settings by the names of their rows.
#[derive(Clone, Debug, Default)]
pub struct Values {
    settings: Settings,
    notes: Vec<Note>,
}

impl Values {
    /// Takes settings whose keys are all names of the tables, checks them and notes what has no
    /// effect. A value that ZooKeeper would replace by the default is replaced.
    ///
    /// # Errors
    /// The first value that its key does not take.
    pub fn new(settings: Settings, notes: Vec<Note>) -> Result<Self, ConfigError> {
        let mut values = Self { settings, notes };
        let set: Vec<(String, Setting)> = values
            .settings
            .iter()
            .map(|(name, setting)| (name.to_owned(), setting.clone()))
            .collect();
        for (name, setting) in set {
            if let Some(key) = keys::find(&name, &[Place::File, Place::Both, Place::Property]) {
                values.check(key, &name, &setting)?;
            }
        }
        Ok(values)
    }

    fn check(&mut self, key: &Key, name: &str, setting: &Setting) -> Result<(), ConfigError> {
        let origin = &setting.origin;
        match key.effect {
            Effect::Works => {}
            Effect::Idle(reason) => {
                self.note(false, format!("{origin}: {name} is not used: {reason}"))
            }
            Effect::None(reason) => {
                self.note(true, format!("{origin}: {name} has no effect: {reason}"));
            }
        }
        let value = setting.value.as_str();
        match key.form {
            Form::Flag if !is_boolean(value) => {
                self.note(
                    true,
                    format!("{origin}: {name}={value} counts as false; set true or false"),
                );
            }
            Form::IntOrDefault | Form::LongOrDefault if keys::number(key.form, value).is_none() => {
                let default = key.default.unwrap_or("none");
                self.note(
                    true,
                    format!(
                        "{origin}: {name}={value} is not a number; the default, {default}, is used"
                    ),
                );
                self.settings.remove(name);
            }
            _ => check_value(key, name, setting)?,
        }
        Ok(())
    }

    /// Adds a sentence for the log.
    pub fn note(&mut self, warning: bool, text: String) {
        self.notes.push(Note { warning, text });
    }

    /// Everything to be said about the settings.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        self.settings.path()
    }

    /// Whether the key was set anywhere.
    pub fn is_set(&self, name: &str) -> bool {
        self.settings.get(name).is_some()
    }

    /// The value as text: what was set, else the default, else `None`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.settings.get(name) {
            Some(setting) => Some(&setting.value),
            None => row(name)?.default,
        }
    }

    /// A key of the form `Boolean` or `Flag`.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number; `None` when neither set nor defaulted.
    ///
    /// # Errors
    /// One that `T` cannot hold.
    pub fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let Some(form) = row(name).map(|key| key.form) else {
            return Ok(None);
        };
        let Some(number) = self.text(name).and_then(|text| keys::number(form, text)) else {
            return Ok(None);
        };
        T::try_from(number)
            .map(Some)
            .map_err(|_| self.reject(name, format!("{number} is out of range")))
    }

    /// A number of a key that must be set or has a default.
    ///
    /// # Errors
    /// One that is missing, or that `T` cannot hold.
    pub fn required<T: TryFrom<i64>>(&self, name: &str) -> Result<T, ConfigError> {
        self.number(name)?.ok_or_else(|| self.missing(name))
    }

    /// A text of a key that must be set.
    ///
    /// # Errors
    /// When it is not.
    pub fn required_text(&self, name: &str) -> Result<&str, ConfigError> {
        self.text(name).ok_or_else(|| self.missing(name))
    }

    /// A comma-separated list; empty when unset.
    pub fn items(&self, name: &str) -> Vec<String> {
        self.text(name).map(config::list).unwrap_or_default()
    }

    /// All keys set that begin so, and their values, in alphabetical order of the whole key.
    pub fn beginning_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.settings
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, setting)| (name, setting.value.as_str()))
    }

    /// Where a key was set.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.settings.get(name).map(|setting| &setting.origin)
    }

    /// The error for a value that a rule over several keys refuses.
    pub fn reject(&self, name: &str, reason: String) -> ConfigError {
        match self.settings.get(name) {
            Some(setting) => invalid(row(name), name, setting, reason),
            None => self.conflict(reason),
        }
    }

    /// The error for keys that contradict each other.
    pub fn conflict(&self, reason: String) -> ConfigError {
        ConfigError::Conflict {
            path: self.path().to_owned(),
            reason,
        }
    }

    fn missing(&self, name: &str) -> ConfigError {
        self.conflict(format!("{name} is not set"))
    }
}

fn row(name: &str) -> Option<&'static Key> {
    let key = keys::find(name, &[Place::File, Place::Both, Place::Property]);
    debug_assert!(key.is_some(), "{name} has no row");
    key
}

fn is_boolean(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

fn check_value(key: &Key, name: &str, setting: &Setting) -> Result<(), ConfigError> {
    let kind = match key.form {
        Form::Text | Form::Flag => Kind::String,
        Form::Secret => Kind::Password,
        Form::Boolean => Kind::Boolean,
        Form::Int => Kind::Int,
        Form::Long => Kind::Long,
        // Already numbers, perhaps not in decimal.
        Form::IntOrDefault | Form::LongOrDefault => Kind::Long,
        Form::Decimal => Kind::Double,
    };
    let definition = Definition {
        name: key.name,
        kind,
        default: key.default,
        rule: key.rule,
    };
    // The common check takes blanks away that Java would not.
    let odd_blank = setting.value.trim() != setting.value;
    if odd_blank && !matches!(key.rule, Rule::Any | Rule::NonEmpty) {
        let reason = "there is an unusual blank at its beginning or end";
        return Err(invalid(Some(key), name, setting, reason.to_owned()));
    }
    if key.form == Form::Boolean && !is_boolean(&setting.value) {
        let reason = "it must be true or false".to_owned();
        return Err(invalid(Some(key), name, setting, reason));
    }
    let numeric = !matches!(
        kind,
        Kind::String | Kind::Password | Kind::Boolean | Kind::Double
    );
    let text = match keys::number(key.form, &setting.value) {
        Some(number) => number.to_string(),
        None if numeric => {
            let reason = format!("it must be a whole number of {} bits", bits(key.form));
            return Err(invalid(Some(key), name, setting, reason));
        }
        None => setting.value.clone(),
    };
    config::check(&definition, &text)
        .map_err(|wrong| invalid(Some(key), name, setting, wrong.reason))
}

fn bits(form: Form) -> u8 {
    match form {
        Form::Int | Form::IntOrDefault => 32,
        _ => 64,
    }
}

fn invalid(key: Option<&Key>, name: &str, setting: &Setting, reason: String) -> ConfigError {
    let secret = key.is_some_and(|key| key.form == Form::Secret);
    ConfigError::Invalid {
        origin: setting.origin.clone(),
        key: name.to_owned(),
        value: if secret {
            "(hidden)".to_owned()
        } else {
            setting.value.clone()
        },
        reason,
    }
}
