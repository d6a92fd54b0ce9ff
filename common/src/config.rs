//! Shell: settings from `.properties` or TOML files with overrides, and the declarative table that types them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::properties;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, from 1.
    File(PathBuf, usize),
    /// `--override` or `-D` on the command line.
    CommandLine,
    /// An option in this environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

/// One setting as text, with the place where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value, blanks around it removed.
    pub value: String,
    /// Where it was set; the last place wins.
    pub origin: Origin,
}

/// Why a configuration cannot be used; the message names file, line and key.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no `.properties` or TOML text.
    #[error("{}:{line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An `--override` that is not `key=value`.
    #[error("command line: '{0}' is not of the form key=value")]
    BadOverride(String),
    /// A value that its key does not take. The sentence is the one that Kafka's `ConfigDef` gives.
    #[error("{origin}: Invalid value {value} for configuration {key}: {reason}")]
    Invalid {
        /// Where it was set.
        origin: Origin,
        /// The key.
        key: String,
        /// What was set.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that must be set is not.
    #[error("{}: Missing required configuration \"{key}\" which has no default value", path.display())]
    Missing {
        /// The file in which it was expected.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// Keys that contradict each other.
    #[error("{}: {reason}", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// Which keys, and what to do.
        reason: String,
    },
}

/// All settings of one start: the file's and the command line's.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    path: PathBuf,
    entries: BTreeMap<String, Setting>,
}

impl Settings {
    /// Reads a file: TOML if its name ends in `.toml`, Java properties otherwise.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_path_buf(),
            source,
        })?;
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            Self::from_toml(path, &bytes)
        } else {
            Self::from_properties(path, &bytes)
        }
    }

    /// Reads properties text; `path` is only for messages. A key set twice has its last value.
    pub fn from_properties(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let properties = properties::parse(bytes).map_err(|e| ConfigError::Malformed {
            path: path.to_path_buf(),
            line: e.line,
            reason: "malformed \\uxxxx escape: four hexadecimal digits must follow \\u".into(),
        })?;
        let mut settings = Settings {
            path: path.to_path_buf(),
            entries: BTreeMap::new(),
        };
        for property in properties {
            let origin = Origin::File(path.to_path_buf(), property.line);
            // Java's trim: everything up to the blank, and nothing beyond ASCII.
            let value = property.value.trim_matches(|c| c <= ' ').to_string();
            settings.insert(property.key, value, origin);
        }
        Ok(settings)
    }

    /// Reads TOML: the same keys, quoted (`"log.dirs" = ".."`) or as tables (`log.dirs = ".."`).
    ///
    /// A key that is also the beginning of another one (`broker.id`, `broker.id.generation.enable`)
    /// must be quoted, since TOML does not let a value be a table as well. Arrays become
    /// comma-separated lists.
    pub fn from_toml(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let malformed = |offset: usize, reason: String| ConfigError::Malformed {
            path: path.to_path_buf(),
            line: line_of(bytes, offset),
            reason,
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|e| malformed(e.valid_up_to(), "the file is not UTF-8".into()))?;
        let document = toml::de::DeTable::parse(text).map_err(|e| {
            malformed(
                e.span().map_or(0, |span| span.start),
                e.message().to_string(),
            )
        })?;
        let mut settings = Settings {
            path: path.to_path_buf(),
            entries: BTreeMap::new(),
        };
        let mut flat = Vec::new();
        flatten("", document.get_ref(), &mut flat)
            .map_err(|(offset, reason)| malformed(offset, reason))?;
        for (key, value, offset) in flat {
            let origin = Origin::File(path.to_path_buf(), line_of(bytes, offset));
            settings.insert(key, value, origin);
        }
        Ok(settings)
    }

    /// Applies one `key=value` of the command line over what the file says.
    pub fn set_override(&mut self, text: &str) -> Result<(), ConfigError> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| ConfigError::BadOverride(text.to_string()))?;
        self.insert(
            key.trim().to_string(),
            value.trim().to_string(),
            Origin::CommandLine,
        );
        Ok(())
    }

    /// No settings yet; `path` is only for messages.
    pub fn new(path: &Path) -> Self {
        Settings {
            path: path.to_path_buf(),
            entries: BTreeMap::new(),
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Sets a key, replacing what was there.
    pub fn insert(&mut self, key: String, value: String, origin: Origin) {
        self.entries.insert(key, Setting { value, origin });
    }

    /// The setting of a key, if any.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.entries.get(key)
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.entries
            .iter()
            .map(|(key, setting)| (key.as_str(), setting))
    }
}

fn line_of(bytes: &[u8], offset: usize) -> usize {
    bytes[..offset.min(bytes.len())]
        .iter()
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

type FlatEntry = (String, String, usize);

fn flatten(
    prefix: &str,
    table: &toml::de::DeTable<'_>,
    flat: &mut Vec<FlatEntry>,
) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let offset = name.span().start;
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => flatten(&key, inner, flat)?,
            toml::de::DeValue::Array(items) => {
                let mut texts = Vec::new();
                for item in items.iter() {
                    texts.push(scalar(&key, item.get_ref()).map_err(|e| (offset, e))?);
                }
                flat.push((key, texts.join(","), offset));
            }
            other => {
                let text = scalar(&key, other).map_err(|e| (offset, e))?;
                flat.push((key, text, offset));
            }
        }
    }
    Ok(())
}

fn scalar(key: &str, value: &toml::de::DeValue<'_>) -> Result<String, String> {
    match value {
        toml::de::DeValue::String(text) => Ok(text.trim().to_string()),
        toml::de::DeValue::Integer(number) => Ok(number.to_string()),
        toml::de::DeValue::Float(number) => Ok(number.to_string()),
        toml::de::DeValue::Boolean(flag) => Ok(flag.to_string()),
        _ => Err(format!(
            "{key}: expected a string, a number, true or false, or a list of them"
        )),
    }
}

/// The type of a key, named as in Kafka's `ConfigDef.Type`; the code is DescribeConfigs' ConfigType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    String,
    /// 32 bits, signed.
    Int,
    /// 16 bits, signed.
    Short,
    /// 64 bits, signed.
    Long,
    /// A double.
    Double,
    /// Comma-separated texts.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The code in DescribeConfigs answers (`DescribeConfigsResponse.ConfigType`).
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// What a value must satisfy besides its type; named after `ConfigDef`'s validators.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Nothing more.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number in this closed range.
    Between(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Every item is one of these texts.
    ListOf(&'static [&'static str]),
    /// Text that is not empty.
    NonEmpty,
    /// Whatever the function says; its error is the end of the sentence.
    Check(fn(&str) -> Result<(), String>),
}

/// One row of a server's table of keys.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The default as text; `None` means null.
    pub default: Option<&'static str>,
    /// What else must hold.
    pub rule: Rule,
}

/// What [`check`] finds wrong: the value, or the item of a list, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub value: String,
    /// Why, in the words of `ConfigDef`.
    pub reason: String,
}

/// Checks a value against its row.
pub fn check(definition: &Definition, value: &str) -> Result<(), Wrong> {
    let item = match definition.rule {
        Rule::ListOf(allowed) => list(value)
            .into_iter()
            .find(|i| !allowed.contains(&i.as_str())),
        _ => None,
    };
    check_value(definition, value).map_err(|reason| Wrong {
        value: item.unwrap_or_else(|| parsed(definition.kind, value)),
        reason,
    })
}

/// A value as `ConfigDef` shows it: a number that could be read is shown as Java prints it.
fn parsed(kind: Kind, value: &str) -> String {
    let text = value.trim();
    match kind {
        Kind::Double => text
            .parse::<f64>()
            .map_or(text.to_string(), |n| format!("{n:?}")),
        Kind::Int | Kind::Short | Kind::Long => text
            .parse::<i64>()
            .map_or(text.to_string(), |n| n.to_string()),
        Kind::String => text.to_string(),
        Kind::Boolean | Kind::List | Kind::Class | Kind::Password => value.to_string(),
    }
}

fn check_value(definition: &Definition, value: &str) -> Result<(), String> {
    let trimmed = value.trim();
    let number = match definition.kind {
        Kind::Boolean => {
            if !trimmed.eq_ignore_ascii_case("true") && !trimmed.eq_ignore_ascii_case("false") {
                return Err("Expected value to be either true or false".into());
            }
            None
        }
        Kind::Int => Some(trimmed.parse::<i32>().map(f64::from).map_err(|_| ())),
        Kind::Short => Some(trimmed.parse::<i16>().map(f64::from).map_err(|_| ())),
        Kind::Long => Some(trimmed.parse::<i64>().map(|n| n as f64).map_err(|_| ())),
        Kind::Double => Some(trimmed.parse::<f64>().map_err(|_| ())),
        Kind::String | Kind::List | Kind::Class | Kind::Password => None,
    };
    let number = match number {
        Some(Err(())) => {
            return Err(format!("Not a number of type {}", definition.kind.name()));
        }
        Some(Ok(number)) => Some(number),
        None => None,
    };
    check_rule(definition.rule, trimmed, number)
}

fn check_rule(rule: Rule, text: &str, number: Option<f64>) -> Result<(), String> {
    match rule {
        Rule::Any => Ok(()),
        Rule::AtLeast(least) => match number {
            Some(n) if n < least as f64 => Err(format!("Value must be at least {least}")),
            _ => Ok(()),
        },
        Rule::Between(low, high) => match number {
            Some(n) if n < low => Err(format!("Value must be at least {low}")),
            Some(n) if n > high => Err(format!("Value must be no more than {high}")),
            _ => Ok(()),
        },
        Rule::OneOf(allowed) if allowed.contains(&text) => Ok(()),
        Rule::OneOf(allowed) => Err(format!("String must be one of: {}", allowed.join(", "))),
        Rule::ListOf(allowed) => {
            match list(text)
                .iter()
                .find(|item| !allowed.contains(&item.as_str()))
            {
                Some(_) => Err(format!("String must be one of: {}", allowed.join(", "))),
                None => Ok(()),
            }
        }
        Rule::NonEmpty if text.is_empty() => Err("String must be non-empty".into()),
        Rule::NonEmpty => Ok(()),
        Rule::Check(check) => check(text),
    }
}

/// The items of a comma-separated list, blanks around them removed; empty text has none.
pub fn list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',')
        .map(|item| item.trim().to_string())
        .collect()
}

/// Settings seen through a table of keys: typed, defaulted and checked.
#[derive(Clone, Debug)]
pub struct TypedSettings {
    settings: Settings,
    table: &'static [Definition],
}

impl TypedSettings {
    /// Checks every setting that the table knows.
    pub fn new(settings: Settings, table: &'static [Definition]) -> Result<Self, ConfigError> {
        for definition in table {
            if let Some(setting) = settings.get(definition.name) {
                check(definition, &setting.value).map_err(|wrong| {
                    let mut error = invalid(definition.name, setting, wrong.reason);
                    if let ConfigError::Invalid { value, .. } = &mut error {
                        *value = wrong.value;
                    }
                    error
                })?;
            }
        }
        Ok(TypedSettings { settings, table })
    }

    /// Keys that the table does not know, with where they were set; servers warn about them.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().filter(|(key, _)| !self.is_known(key))
    }

    /// Whether the table knows a key.
    pub fn is_known(&self, key: &str) -> bool {
        self.table.iter().any(|row| row.name == key)
    }

    /// What a key comes to when it is not set.
    pub fn default(&self, key: &str) -> Option<&'static str> {
        let row = self.table.iter().find(|row| row.name == key)?;
        row.default
    }

    /// The settings below.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The value as text: what was set, else the default, else `None`.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.settings.get(key) {
            Some(setting) => Some(&setting.value),
            None => self.default(key),
        }
    }

    /// A parsed value; `None` when neither set nor defaulted.
    pub fn parsed<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.trim().to_ascii_lowercase().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.reject(key, format!("'{text}' is not of the expected type"))),
        }
    }

    /// A parsed value of a key that is required or has a default.
    pub fn required<T: std::str::FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.parsed(key)?.ok_or_else(|| ConfigError::Missing {
            path: self.settings.path().to_path_buf(),
            key: key.to_string(),
        })
    }

    /// A comma-separated list; empty when unset.
    pub fn items(&self, key: &str) -> Vec<String> {
        self.text(key).map(list).unwrap_or_default()
    }

    /// The error for a value that a rule over several keys refuses.
    pub fn reject(&self, key: &str, reason: String) -> ConfigError {
        match self.settings.get(key) {
            Some(setting) => invalid(key, setting, reason),
            None => ConfigError::Conflict {
                path: self.settings.path().to_path_buf(),
                reason,
            },
        }
    }
}

fn invalid(key: &str, setting: &Setting, reason: String) -> ConfigError {
    ConfigError::Invalid {
        origin: setting.origin.clone(),
        key: key.to_string(),
        value: setting.value.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Definition] = &[
        Definition {
            name: "broker.id",
            kind: Kind::Int,
            default: Some("-1"),
            rule: Rule::AtLeast(-1),
        },
        Definition {
            name: "log.dirs",
            kind: Kind::List,
            default: None,
            rule: Rule::Any,
        },
    ];

    fn message(text: &str) -> String {
        let settings =
            Settings::from_properties(Path::new("server.properties"), text.as_bytes()).unwrap();
        TypedSettings::new(settings, TABLE).unwrap_err().to_string()
    }

    #[test]
    fn wrong_values_name_file_line_and_key() {
        assert_eq!(
            message("# x\nbroker.id=zero\n"),
            "server.properties:2: Invalid value zero for configuration broker.id: \
             Not a number of type INT"
        );
        assert_eq!(
            message("broker.id=-2"),
            "server.properties:1: Invalid value -2 for configuration broker.id: \
             Value must be at least -1"
        );
    }

    #[test]
    fn toml_has_the_same_keys() {
        let text = b"\"broker.id\" = 7\n\n[log]\ndirs = [\"/a\", \"/b\"]\n";
        let settings = Settings::from_toml(Path::new("broker.toml"), text).unwrap();
        assert_eq!(
            settings.get("log.dirs").unwrap().origin.to_string(),
            "broker.toml:4"
        );
        let typed = TypedSettings::new(settings, TABLE).unwrap();
        assert_eq!(typed.required::<i32>("broker.id").unwrap(), 7);
        assert_eq!(typed.items("log.dirs"), ["/a", "/b"]);
    }

    #[test]
    fn malformed_toml_names_the_line() {
        let error = Settings::from_toml(Path::new("b.toml"), b"a = 1\nb = = 2\n").unwrap_err();
        assert!(error.to_string().starts_with("b.toml:2: "), "{error}");
        let error = Settings::from_toml(Path::new("b.toml"), b"a = 1\nb = 1979-05-27\n");
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("b.toml:2: b: expected")
        );
    }

    #[test]
    fn overrides_win_and_unknown_keys_are_listed() {
        let mut settings =
            Settings::from_properties(Path::new("s"), b"broker.id=1\nno.such=2\n").unwrap();
        settings.set_override("broker.id=5").unwrap();
        assert!(settings.set_override("nonsense").is_err());
        let typed = TypedSettings::new(settings, TABLE).unwrap();
        assert_eq!(typed.required::<i32>("broker.id").unwrap(), 5);
        assert_eq!(
            typed.unknown().map(|(key, _)| key).collect::<Vec<_>>(),
            ["no.such"]
        );
    }

    #[test]
    fn the_stock_files_say_the_same_in_both_forms() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        for (properties, toml) in [
            ("zookeeper.properties", "zk-server.toml"),
            ("server.properties", "broker.toml"),
        ] {
            let values = |file: &str| -> Vec<(String, String)> {
                let settings = Settings::load(&config.join(file)).unwrap();
                let pair = |(key, set): (&str, &Setting)| (key.to_string(), set.value.clone());
                settings.iter().map(pair).collect()
            };
            assert_eq!(values(properties), values(toml), "{properties} and {toml}");
        }
    }
}
