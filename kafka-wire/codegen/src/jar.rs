//! Shell: reads the message definitions out of Kafka's jars.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::definition::Definition;
use crate::error::Error;

/// The jars that hold definitions of messages and records.
pub const JARS: [&str; 3] = [
    "kafka-clients-3.7.1.jar",
    "kafka-group-coordinator-3.7.1.jar",
    "kafka_2.13-3.7.1.jar",
];

/// Reads all definitions, by the message's name.
///
/// # Errors
/// When a jar is missing or a definition cannot be parsed.
pub fn read_definitions(directory: &Path) -> Result<BTreeMap<String, Definition>, Error> {
    let mut definitions = BTreeMap::new();
    for jar in JARS {
        let path = directory.join(jar).display().to_string();
        let file = File::open(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let jar_error = |source| Error::Jar {
            path: path.clone(),
            source,
        };
        let mut archive = zip::ZipArchive::new(file).map_err(jar_error)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(jar_error)?;
            let name = entry.name().to_owned();
            if !name.starts_with("common/message/") || !name.ends_with(".json") {
                continue;
            }
            let mut text = String::new();
            entry
                .read_to_string(&mut text)
                .map_err(|source| Error::File {
                    path: format!("{path}!{name}"),
                    source,
                })?;
            let definition = Definition::parse(&text).map_err(|source| Error::Json {
                entry: format!("{path}!{name}"),
                source,
            })?;
            definitions.insert(definition.name.clone(), definition);
        }
    }
    Ok(definitions)
}
