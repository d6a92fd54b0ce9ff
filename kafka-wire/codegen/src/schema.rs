//! Pure: definitions resolved into version ranges, types and defaults.

use std::fmt;

use serde_json::Value;

use crate::definition::{Definition, FieldDefinition};
use crate::error::Error;

/// A range of versions; `max` is [`i16::MAX`] for "and later".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// First version.
    pub min: i16,
    /// Last version.
    pub max: i16,
}

impl Versions {
    /// Parses `none`, `3`, `3-5` or `3+`; `none` is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(min) = text.strip_suffix('+') {
            return Some(Self {
                min: min.parse().ok()?,
                max: i16::MAX,
            });
        }
        if let Some((min, max)) = text.split_once('-') {
            return Some(Self {
                min: min.parse().ok()?,
                max: max.parse().ok()?,
            });
        }
        text.parse().ok().map(|version| Self {
            min: version,
            max: version,
        })
    }

    /// Versions in both.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        };
        (both.min <= both.max).then_some(both)
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Whether it holds the version.
    #[must_use]
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.min <= other.min && self.max >= other.max
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { min, max: i16::MAX } => write!(f, "{min}+"),
            Self { min, max } if min == max => write!(f, "{min}"),
            Self { min, max } => write!(f, "{min}-{max}"),
        }
    }
}

/// Type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::I8,
            "int16" => Self::I16,
            "uint16" => Self::U16,
            "int32" => Self::I32,
            "int64" => Self::I64,
            "float64" => Self::F64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element)?)),
                None if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    Self::Struct(text.to_owned())
                }
                None => return None,
            },
        })
    }

    /// The struct that this is, or is an array of.
    #[must_use]
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

/// Default of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Default {
    /// Zero, false, empty, or a struct of defaults.
    Zero,
    /// Null.
    Null,
    /// A number.
    Number(i64),
    /// True.
    True,
}

/// A field.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name as Kafka has it.
    pub name: String,
    /// Type.
    pub kind: Type,
    /// Versions that carry it.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Option<Versions>,
    /// Tag, when it is a tagged field.
    pub tag: Option<u32>,
    /// Default.
    pub default: Default,
    /// Whether it may be dropped in versions that lack it.
    pub ignorable: bool,
}

/// A struct; the first of a message is the message itself.
#[derive(Debug, Clone)]
pub struct Struct {
    /// Name as Kafka has it.
    pub name: String,
    /// Versions in which it can occur.
    pub versions: Versions,
    /// Fields in wire order.
    pub fields: Vec<Field>,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Name as Kafka has it.
    pub name: String,
    /// API key; records have none.
    pub api_key: Option<i16>,
    /// Versions that exist.
    pub versions: Versions,
    /// Versions with compact lengths and tags.
    pub flexible: Option<Versions>,
    /// The message and the structs in it.
    pub structs: Vec<Struct>,
}

impl Message {
    /// Resolves a definition.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the generator does not know.
    pub fn resolve(definition: &Definition) -> Result<Self, Error> {
        let unsupported = |reason: String| Error::Unsupported {
            message: definition.name.clone(),
            reason,
        };
        let versions = Versions::parse(&definition.valid_versions)
            .ok_or_else(|| unsupported("valid versions".to_owned()))?;
        let mut resolver = Resolver {
            definition,
            structs: Vec::new(),
        };
        resolver.add_struct(&definition.name, versions, &definition.fields)?;
        let mut message = Self {
            name: definition.name.clone(),
            api_key: definition.api_key,
            versions,
            flexible: Versions::parse(&definition.flexible_versions)
                .and_then(|flexible| flexible.intersect(versions)),
            structs: resolver.structs,
        };
        message.sort_depth_first();
        Ok(message)
    }

    /// The struct of this name.
    #[must_use]
    pub fn find_struct(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|candidate| candidate.name == name)
    }

    /// Whether lengths are compact in this version.
    #[must_use]
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible
            .is_some_and(|flexible| flexible.contains(version))
    }

    /// Puts the structs in the order in which a reader meets them.
    fn sort_depth_first(&mut self) {
        let mut order = vec![self.name.clone()];
        let mut next = 0;
        while next < order.len() {
            let fields = self
                .find_struct(&order[next])
                .map(|found| found.fields.clone());
            let mut at = next + 1;
            for field in fields.unwrap_or_default() {
                if let Some(name) = field.kind.struct_name()
                    && !order.iter().any(|known| known == name)
                {
                    order.insert(at, name.to_owned());
                    at += 1;
                }
            }
            next += 1;
        }
        self.structs
            .sort_by_key(|item| order.iter().position(|name| *name == item.name));
    }
}

struct Resolver<'a> {
    definition: &'a Definition,
    structs: Vec<Struct>,
}

impl Resolver<'_> {
    /// Adds a struct that occurs in the given versions; one that is known gets more versions.
    fn add_struct(
        &mut self,
        name: &str,
        versions: Versions,
        fields: &[FieldDefinition],
    ) -> Result<(), Error> {
        let versions = match self.structs.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.versions = known.versions.hull(versions);
                known.versions
            }
            None => {
                let fields = fields.iter().map(|field| self.field(field));
                let fields = fields.collect::<Result<_, _>>()?;
                self.structs.push(Struct {
                    name: name.to_owned(),
                    versions,
                    fields,
                });
                versions
            }
        };
        for field in fields {
            let Some(carried) = Versions::parse(&field.versions) else {
                continue;
            };
            let (Some(inner), Some(kind)) = (carried.intersect(versions), Type::parse(&field.kind))
            else {
                continue;
            };
            let Some(struct_name) = kind.struct_name() else {
                continue;
            };
            if field.fields.is_empty() {
                let common = self.definition.common_structs.iter();
                let found = common.clone().find(|common| common.name == struct_name);
                let found = found.ok_or_else(|| self.unsupported(struct_name, "no such struct"))?;
                self.add_struct(struct_name, inner, &found.fields)?;
            } else {
                self.add_struct(struct_name, inner, &field.fields)?;
            }
        }
        Ok(())
    }

    fn unsupported(&self, field: &str, what: &str) -> Error {
        Error::Unsupported {
            message: self.definition.name.clone(),
            reason: format!("{field}: {what}"),
        }
    }

    fn field(&self, field: &FieldDefinition) -> Result<Field, Error> {
        let unsupported = |what: &str| self.unsupported(&field.name, what);
        let kind = Type::parse(&field.kind).ok_or_else(|| unsupported("unknown type"))?;
        let versions =
            Versions::parse(&field.versions).ok_or_else(|| unsupported("no versions"))?;
        if field.flexible_versions.is_some() {
            return Err(unsupported("own flexible versions"));
        }
        let tagged = field.tagged_versions.as_deref().and_then(Versions::parse);
        if tagged.is_some_and(|tagged| tagged != versions)
            || tagged.is_some() != field.tag.is_some()
        {
            return Err(unsupported("tagged in only some of its versions"));
        }
        let tag = match &field.tag {
            None => None,
            Some(Value::String(tag)) => tag.parse().ok(),
            Some(tag) => tag.as_u64().and_then(|tag| u32::try_from(tag).ok()),
        };
        if tag.is_some() != tagged.is_some() {
            return Err(unsupported("tag is no number"));
        }
        let default = match &field.default {
            None if kind == Type::Records => Default::Null,
            None => Default::Zero,
            Some(Value::Bool(value)) => parse_default(&value.to_string()),
            Some(Value::Number(value)) => parse_default(&value.to_string()),
            Some(Value::String(value)) => parse_default(value),
            Some(_) => return Err(unsupported("unknown default")),
        };
        Ok(Field {
            name: field.name.clone(),
            kind,
            versions,
            nullable: field.nullable_versions.as_deref().and_then(Versions::parse),
            tag,
            default,
            ignorable: field.ignorable,
        })
    }
}

fn parse_default(text: &str) -> Default {
    let hexadecimal = text
        .strip_prefix("0x")
        .and_then(|digits| i64::from_str_radix(digits, 16).ok());
    match (text, hexadecimal.or_else(|| text.parse().ok())) {
        ("null", _) => Default::Null,
        ("true", _) => Default::True,
        (_, Some(number)) if number != 0 => Default::Number(number),
        _ => Default::Zero,
    }
}
