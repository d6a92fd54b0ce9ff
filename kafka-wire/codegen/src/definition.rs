//! Pure: a message definition as its JSON says it, comments stripped.

use serde::Deserialize;
use serde_json::Value;

/// One definition file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// API key; records have none.
    pub api_key: Option<i16>,
    /// `request`, `response`, `header` or `data`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who receives it: `zkBroker`, `broker`, `controller`.
    #[serde(default)]
    pub listeners: Vec<String>,
    /// Name of the message.
    pub name: String,
    /// Versions that exist.
    pub valid_versions: String,
    /// Versions with compact lengths and tags.
    pub flexible_versions: String,
    /// Not used.
    pub deprecated_versions: Option<String>,
    /// Whether the last version may still change.
    #[serde(default)]
    pub latest_version_unstable: bool,
    /// Top-level fields in wire order.
    pub fields: Vec<FieldDefinition>,
    /// Structs used in more than one place.
    #[serde(default)]
    pub common_structs: Vec<StructDefinition>,
}

/// A struct that several fields share.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StructDefinition {
    /// Name of the struct.
    pub name: String,
    /// Versions in which it exists.
    pub versions: String,
    /// Fields in wire order.
    pub fields: Vec<FieldDefinition>,
}

/// One field.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldDefinition {
    /// Name of the field.
    pub name: String,
    /// Type: a primitive, a struct's name, or `[]` and one of these.
    #[serde(rename = "type")]
    pub kind: String,
    /// Versions that carry it.
    pub versions: String,
    /// Versions in which it may be null.
    pub nullable_versions: Option<String>,
    /// Versions in which it is a tagged field.
    pub tagged_versions: Option<String>,
    /// Own flexible versions; only the request header has such a field.
    pub flexible_versions: Option<String>,
    /// Its tag, as number or text.
    pub tag: Option<Value>,
    /// Default, as text, number or bool.
    pub default: Option<Value>,
    /// Whether it may be dropped in versions that lack it.
    #[serde(default)]
    pub ignorable: bool,
    /// Fields of the struct that is its type.
    #[serde(default)]
    pub fields: Vec<FieldDefinition>,
    /// Not used.
    #[serde(default)]
    pub map_key: bool,
    /// Not used.
    #[serde(default)]
    pub zero_copy: bool,
    /// Not used.
    pub entity_type: Option<String>,
    /// Not used: the documentation of generated code is our own.
    pub about: Option<String>,
}

impl Definition {
    /// Parses a definition file.
    ///
    /// # Errors
    /// When the text without its comments is not the JSON of a definition.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&strip_comments(text))
    }
}

/// Removes `//` comments, of which strings have none.
fn strip_comments(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        let mut end = line.len();
        for (index, character) in line.char_indices() {
            match character {
                '"' if previous != '\\' => in_string = !in_string,
                '/' if previous == '/' && !in_string => {
                    end = index - 1;
                    break;
                }
                _ => {}
            }
            previous = character;
        }
        stripped.push_str(&line[..end]);
        stripped.push('\n');
    }
    stripped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_stay() {
        assert_eq!(
            strip_comments("{ // a\n\"b//c\": 1 }"),
            "{ \n\"b//c\": 1 }\n"
        );
    }
}
