//! Shell: the places where settings stand: the file, `-D` options and the variables that hold them.
//!
//! A key that `QuorumPeerConfig` has no variable for becomes the system property
//! `zookeeper.<key>` there; so `-Dzookeeper.<key>=value` and `<key>=value` in the file mean the
//! same, and the file wins. Among `-D` options the last one wins, as for `java`.

use std::path::Path;

use common::config::{ConfigError, Origin, Settings};

use crate::config::keys::{self, Place};
use crate::config::values::{Note, Values};

/// The variables whose `-D` options count, in the order in which the stock scripts pass them.
pub const VARIABLES: [&str; 3] = ["SERVER_JVMFLAGS", "JVMFLAGS", "KAFKA_OPTS"];

/// What the command line and its variables say besides the file.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `-Dname=value`; the last of a name counts.
    pub properties: Vec<Property>,
    /// Options of a Java virtual machine, which have no meaning here.
    pub java_options: Vec<(String, Origin)>,
    /// The configuration file, or `port dataDir [tickTime] [maxClientCnxns]`.
    pub arguments: Vec<String>,
}

/// One `-Dname=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The whole name.
    pub name: String,
    /// What stands after the `=`.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
}

impl CommandLine {
    /// Takes the options in the variables of `VARIABLES`.
    pub fn take_variables(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for name in VARIABLES {
            // The stock scripts do not quote them either: blanks separate, quotes are nothing.
            for word in variable(name).unwrap_or_default().split_whitespace() {
                self.take_option(word, Origin::Variable(name));
            }
        }
    }

    /// Takes a `-D` option, or notes one of a Java virtual machine.
    pub fn take_option(&mut self, option: &str, origin: Origin) {
        match option.strip_prefix("-D") {
            Some(property) if !property.is_empty() => {
                let (name, value) = property.split_once('=').unwrap_or((property, ""));
                self.properties.push(Property {
                    name: name.to_owned(),
                    value: value.trim().to_owned(),
                    origin,
                });
            }
            _ => self.java_options.push((option.to_owned(), origin)),
        }
    }
}

/// Reads the file and puts all places together.
///
/// # Errors
/// A file that cannot be read or parsed, or the first value that its key does not take.
pub fn load(command_line: &CommandLine) -> Result<Values, ConfigError> {
    let read = match command_line.arguments.as_slice() {
        [file] => Settings::load(Path::new(file))?,
        arguments => positional(arguments),
    };
    put_together(&read, command_line)
}

/// Puts what was read and what the command line says together.
///
/// # Errors
/// The first value that its key does not take.
pub fn put_together(read: &Settings, command_line: &CommandLine) -> Result<Values, ConfigError> {
    let mut notes = Vec::new();
    let mut settings = Settings::new(read.path());
    from_file(read, &mut settings, &mut notes);
    from_properties(&command_line.properties, &mut settings, &mut notes);
    for (option, origin) in &command_line.java_options {
        notes.push(Note {
            warning: false,
            text: format!(
                "{origin}: {option} is ignored: only a Java virtual machine has a use for it"
            ),
        });
    }
    Values::new(settings, notes)
}

/// `port dataDir [tickTime] [maxClientCnxns]`, as ZooKeeperServerMain takes it.
fn positional(arguments: &[String]) -> Settings {
    let mut settings = Settings::default();
    let keys = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
    for (key, value) in keys.iter().zip(arguments) {
        settings.insert((*key).to_owned(), value.clone(), Origin::CommandLine);
    }
    if arguments.len() < keys.len() {
        // Only a file has a limit without being asked for one.
        settings.insert(
            "maxClientCnxns".to_owned(),
            "0".to_owned(),
            Origin::CommandLine,
        );
    }
    settings
}

fn from_file(read: &Settings, settings: &mut Settings, notes: &mut Vec<Note>) {
    // A TOML file is no file of ZooKeeper's: there all keys are equal.
    let toml = read.path().extension().is_some_and(|end| end == "toml");
    for (written, setting) in read.iter() {
        let name = written.trim();
        let known = keys::find(name, &[Place::File, Place::Both]).is_some();
        if known || (toml && keys::find(name, &[Place::Property]).is_some()) {
            settings.insert(
                name.to_owned(),
                setting.value.clone(),
                setting.origin.clone(),
            );
            continue;
        }
        let bare = name.strip_prefix("zookeeper.").unwrap_or(name);
        let why = if keys::find(name, &[Place::Property]).is_some() {
            format!("{name} has no effect in the file, as in ZooKeeper; pass -D{name}=... instead")
        } else if keys::find(bare, &[Place::File, Place::Both]).is_some() {
            format!("{name} has no effect, as in ZooKeeper; write {bare} instead")
        } else {
            format!("unknown key {name} has no effect")
        };
        notes.push(Note {
            warning: true,
            text: format!("{}: {why}", setting.origin),
        });
    }
}

fn from_properties(properties: &[Property], settings: &mut Settings, notes: &mut Vec<Note>) {
    let mut from_file: Vec<String> = Vec::new();
    from_file.extend(settings.iter().map(|(name, _)| name.to_owned()));
    for property in properties {
        let Property {
            name,
            value,
            origin,
        } = property;
        let bare = name.strip_prefix("zookeeper.");
        let row = match bare.filter(|bare| is_key(bare, Place::Both)) {
            Some(bare) => Some(bare),
            None => Some(name.as_str()).filter(|name| is_key(name, Place::Property)),
        };
        let why = if let Some(row) = row {
            if !from_file.iter().any(|set| set == row) {
                settings.insert(row.to_owned(), value.clone(), origin.clone());
                continue;
            }
            format!("-D{name} has no effect: the file sets {row}, and the file wins")
        } else if let Some(bare) = bare.filter(|bare| is_key(bare, Place::File)) {
            format!("-D{name} has no effect, as in ZooKeeper; set {bare} in the file instead")
        } else if is_key(name, Place::Both) {
            format!("-D{name} has no effect, as in ZooKeeper; pass -Dzookeeper.{name}=... instead")
        } else {
            format!("unknown property -D{name} has no effect")
        };
        notes.push(Note {
            warning: true,
            text: format!("{origin}: {why}"),
        });
    }
}

fn is_key(name: &str, place: Place) -> bool {
    keys::find(name, &[place]).is_some()
}
