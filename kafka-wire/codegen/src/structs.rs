//! Pure: the Rust source of one struct: declaration, default, codec.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::names;
use crate::schema::{Default, Field, Message, Struct, Type, Versions};

/// A struct with what is needed to write its source.
#[derive(Debug, Clone, Copy)]
pub struct StructSource<'a> {
    /// The message that it belongs to.
    pub message: &'a Message,
    /// The struct.
    pub item: &'a Struct,
    /// Rust names of the message's structs.
    pub names: &'a BTreeMap<String, String>,
}

impl StructSource<'_> {
    fn rust_name<'b>(&'b self, name: &'b str) -> &'b str {
        self.names.get(name).map_or(name, String::as_str)
    }

    fn is_message(&self) -> bool {
        self.item.name == self.message.name
    }

    /// Versions of this struct that are flexible.
    fn flexible(&self) -> Option<Versions> {
        self.message
            .flexible
            .and_then(|flexible| flexible.intersect(self.item.versions))
    }

    /// The expression for "lengths are compact".
    fn flexible_expression(&self) -> &'static str {
        match self.flexible() {
            None => "false",
            Some(flexible) if flexible == self.item.versions => "true",
            Some(_) => "flexible",
        }
    }

    fn flexible_binding(&self) -> String {
        match self.flexible() {
            Some(flexible) if flexible != self.item.versions => {
                format!("let flexible = version >= {};\n", flexible.min)
            }
            _ => String::new(),
        }
    }

    /// The condition for being in these versions; `None` when that is always so.
    fn condition(&self, versions: Versions) -> Option<String> {
        let all = self.item.versions;
        let Some(inner) = versions.intersect(all) else {
            return Some("false".to_owned());
        };
        Some(match (inner.min == all.min, inner.max == all.max) {
            (true, true) => return None,
            (true, false) => format!("version <= {}", inner.max),
            (false, true) => format!("version >= {}", inner.min),
            (false, false) if inner.min == inner.max => format!("version == {}", inner.min),
            (false, false) => format!("({}..={}).contains(&version)", inner.min, inner.max),
        })
    }

    /// The struct with its documentation.
    #[must_use]
    pub fn declaration(&self) -> String {
        let name = self.rust_name(&self.item.name);
        let mut source = if self.is_message() {
            format!(
                "/// `{}`, versions {}.\n",
                self.item.name, self.message.versions
            )
        } else {
            format!(
                "/// `{}` of `{}`, versions {}.\n",
                self.item.name, self.message.name, self.item.versions
            )
        };
        let derived = if self.has_derived_default() {
            "Default, "
        } else {
            ""
        };
        let _ = writeln!(source, "#[derive({derived}Debug, Clone, PartialEq)]");
        let _ = writeln!(source, "pub struct {name} {{");
        for field in &self.item.fields {
            let _ = writeln!(source, "/// {}", self.field_text(field));
            let _ = writeln!(
                source,
                "pub {}: {},",
                names::field(&field.name),
                self.field_type(field)
            );
        }
        source.push_str("}\n\n");
        source
    }

    /// One line that says what a reader of the schema would see.
    fn field_text(&self, field: &Field) -> String {
        let mut text = format!("`{}`, versions {}", field.name, field.versions);
        match field.nullable {
            Some(nullable) if nullable.covers(field.versions) => text.push_str("; nullable"),
            Some(nullable) => {
                let _ = write!(text, "; nullable in {nullable}");
            }
            None => {}
        }
        match &field.default {
            Default::Zero if field.nullable.is_some() => text.push_str("; default empty"),
            Default::Zero => {}
            Default::Null if field.kind == Type::Records => {}
            Default::Null => text.push_str("; default null"),
            Default::Number(number) => {
                let _ = write!(text, "; default {number}");
            }
            Default::True => text.push_str("; default true"),
        }
        if let Some(tag) = field.tag {
            let _ = write!(text, "; tag {tag}");
        }
        if field.ignorable && !field.versions.covers(self.item.versions) {
            text.push_str("; dropped in other versions");
        }
        text.push('.');
        text
    }

    fn plain_type(&self, kind: &Type) -> String {
        match kind {
            Type::Bool => "bool".to_owned(),
            Type::I8 => "i8".to_owned(),
            Type::I16 => "i16".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::I32 => "i32".to_owned(),
            Type::I64 => "i64".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "ByteString".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Records => "Records".to_owned(),
            Type::Struct(name) => self.rust_name(name).to_owned(),
            Type::Array(element) => format!("Vec<{}>", self.plain_type(element)),
        }
    }

    fn field_type(&self, field: &Field) -> String {
        let plain = self.plain_type(&field.kind);
        if is_option(field) {
            format!("Option<{plain}>")
        } else {
            plain
        }
    }

    fn has_derived_default(&self) -> bool {
        self.item.fields.iter().all(|field| match field.default {
            Default::Zero => !is_option(field),
            Default::Null => true,
            Default::Number(_) | Default::True => false,
        })
    }

    fn default_expression(&self, field: &Field) -> String {
        let zero = match &field.kind {
            Type::Bool => "false".to_owned(),
            Type::F64 => "0.0".to_owned(),
            Type::Uuid => "Uuid::ZERO".to_owned(),
            Type::Array(_) => "Vec::new()".to_owned(),
            Type::String => "ByteString::new()".to_owned(),
            Type::Bytes => "Bytes::new()".to_owned(),
            Type::Struct(name) => format!("{}::default()", self.rust_name(name)),
            _ => "0".to_owned(),
        };
        match &field.default {
            Default::Null => "None".to_owned(),
            Default::Number(number) => number.to_string(),
            Default::True => "true".to_owned(),
            Default::Zero if is_option(field) => format!("Some({zero})"),
            Default::Zero => zero,
        }
    }

    /// The `Default` implementation, where it cannot be derived.
    #[must_use]
    pub fn default(&self) -> String {
        if self.has_derived_default() {
            return String::new();
        }
        let name = self.rust_name(&self.item.name);
        let mut source = format!("impl Default for {name} {{\nfn default() -> Self {{\nSelf {{\n");
        for field in &self.item.fields {
            let _ = writeln!(
                source,
                "{}: {},",
                names::field(&field.name),
                self.default_expression(field)
            );
        }
        source.push_str("}\n}\n}\n\n");
        source
    }

    /// The condition for "differs from its default".
    fn differs(&self, field: &Field) -> String {
        let place = format!("self.{}", names::field(&field.name));
        match (&field.default, &field.kind) {
            (Default::Null, _) => format!("{place}.is_some()"),
            (Default::True, _) => format!("!{place}"),
            (Default::Number(number), _) => format!("{place} != {number}"),
            (Default::Zero, Type::String | Type::Bytes | Type::Array(_)) if is_option(field) => {
                format!("{place}.as_ref().is_none_or(|value| !value.is_empty())")
            }
            (Default::Zero, Type::String | Type::Bytes | Type::Array(_)) => {
                format!("!{place}.is_empty()")
            }
            (Default::Zero, Type::Bool) => place,
            (Default::Zero, Type::Uuid) => format!("!{place}.is_zero()"),
            (Default::Zero, _) => format!("{place} != {}", self.default_expression(field)),
        }
    }

    /// Reading and writing.
    #[must_use]
    pub fn codec(&self) -> String {
        let name = self.rust_name(&self.item.name);
        let (decode, encode) = (self.decode_body(), self.encode_body());
        let mut source = String::new();
        if self.is_message() {
            let _ = writeln!(
                source,
                "impl Message for {name} {{\n\
                 const NAME: &'static str = \"{name}\";\n\
                 const API_KEY: i16 = {};\n\
                 const MIN_VERSION: i16 = {};\n\
                 const MAX_VERSION: i16 = {};\n",
                self.message.api_key.unwrap_or(-1),
                self.message.versions.min,
                self.message.versions.max
            );
        } else {
            let _ = writeln!(source, "impl {name} {{");
        }
        let check = if self.is_message() {
            "Self::check_version(version)?;\n"
        } else {
            ""
        };
        let argument = |body: &str| {
            if self.is_message() || mentions_version(body) {
                "version"
            } else {
                "_version"
            }
        };
        let reader = if decode.contains("r.") || decode.contains("(r, ") {
            "r"
        } else {
            "_r"
        };
        let writer = if encode.contains("w.") || encode.contains("(w, ") {
            "w"
        } else {
            "_w"
        };
        let _ = writeln!(
            source,
            "fn decode({reader}: &mut Reader, {}: i16) -> Result<Self, WireError> {{\n{check}{decode}}}\n",
            argument(&decode)
        );
        let _ = writeln!(
            source,
            "fn encode(&self, {writer}: &mut Writer, {}: i16) -> Result<(), WireError> {{\n{check}{encode}}}\n}}\n",
            argument(&encode)
        );
        source
    }

    fn fields(&self, tagged: bool) -> impl Iterator<Item = &Field> {
        let versions = self.item.versions;
        self.item.fields.iter().filter(move |field| {
            field.tag.is_some() == tagged && field.versions.intersect(versions).is_some()
        })
    }

    fn decode_body(&self) -> String {
        let mut source = self.flexible_binding();
        let fields = self.fields(false).count() + self.fields(true).count();
        source.push_str(match fields {
            0 => "let v = Self::default();\n",
            _ => "let mut v = Self::default();\n",
        });
        let flexible = self.flexible_expression();
        for field in self.fields(false) {
            let place = format!("v.{}", names::field(&field.name));
            let statement = self.read_statement(field, &place, flexible);
            match self.condition(field.versions) {
                None => source.push_str(&statement),
                Some(condition) => {
                    let _ = writeln!(source, "if {condition} {{\n{statement}}}");
                }
            }
        }
        let tags = self.decode_tags();
        match flexible {
            "true" => source.push_str(&tags),
            "flexible" => {
                let _ = writeln!(source, "if flexible {{\n{tags}}}");
            }
            _ => {}
        }
        source.push_str("Ok(v)\n");
        source
    }

    fn decode_tags(&self) -> String {
        if self.fields(true).next().is_none() {
            return "r.skip_tags()?;\n".to_owned();
        }
        let mut source = "r.tags(|tag, r| {\nmatch tag {\n".to_owned();
        for field in self.fields(true) {
            let tag = field.tag.unwrap_or(0);
            let place = format!("v.{}", names::field(&field.name));
            let statement = self.read_statement(field, &place, "true");
            let guard = self
                .tag_condition(field)
                .map_or_else(String::new, |it| format!(" if {it}"));
            let _ = writeln!(source, "{tag}{guard} => {{\n{statement}}}");
        }
        source.push_str("_ => return Ok(false),\n}\nOk(true)\n})?;\n");
        source
    }

    /// The condition for a tagged field, given that the version is flexible.
    fn tag_condition(&self, field: &Field) -> Option<String> {
        let flexible = self.flexible()?;
        if field.versions.covers(flexible) {
            None
        } else {
            self.condition(field.versions)
        }
    }

    fn read_statement(&self, field: &Field, place: &str, flexible: &str) -> String {
        if !is_option(field) {
            return format!("{place} = {};\n", self.read(&field.kind, false, flexible));
        }
        let nullable = self.read(&field.kind, true, flexible);
        let carried = field
            .versions
            .intersect(self.item.versions)
            .unwrap_or(field.versions);
        match field.nullable {
            Some(versions) if !versions.covers(carried) => {
                let condition = self
                    .condition(versions)
                    .unwrap_or_else(|| "true".to_owned());
                let required = self.read(&field.kind, false, flexible);
                format!("{place} = if {condition} {{ {nullable} }} else {{ Some({required}) }};\n")
            }
            _ => format!("{place} = {nullable};\n"),
        }
    }

    fn read(&self, kind: &Type, nullable: bool, flexible: &str) -> String {
        let prefix = if nullable { "nullable_" } else { "" };
        match kind {
            Type::Records => format!("r.records({flexible})?"),
            Type::String => format!("r.{prefix}string({flexible})?"),
            Type::Bytes => format!("r.{prefix}bytes({flexible})?"),
            Type::Struct(name) if nullable => {
                format!(
                    "r.nullable_struct(|r| {}::decode(r, version))?",
                    self.rust_name(name)
                )
            }
            Type::Struct(name) => format!("{}::decode(r, version)?", self.rust_name(name)),
            Type::Array(element) => {
                let element = match element.as_ref() {
                    Type::Struct(name) => {
                        format!("|r| {}::decode(r, version)", self.rust_name(name))
                    }
                    Type::String => format!("|r| r.string({flexible})"),
                    other => format!("Reader::{}", method(other)),
                };
                format!("r.{prefix}array({flexible}, {element})?")
            }
            other => format!("r.{}()?", method(other)),
        }
    }

    fn encode_body(&self) -> String {
        let mut source = self.flexible_binding();
        let flexible = self.flexible_expression();
        for field in self.fields(false) {
            let statement = self.write_statement(field, flexible);
            match self.condition(field.versions) {
                None => source.push_str(&statement),
                Some(condition) => {
                    let _ = write!(source, "if {condition} {{\n{statement}}}");
                    if !field.ignorable {
                        let _ = write!(
                            source,
                            " else if {} {{\n{}}}",
                            self.differs(field),
                            self.refuse(field)
                        );
                    }
                    source.push('\n');
                }
            }
        }
        for field in self.fields(true).filter(|field| !field.ignorable) {
            let Some(carried) = self.condition(field.versions) else {
                continue;
            };
            let absent = match carried.strip_prefix("version >= ") {
                Some(first) => format!("version < {first}"),
                None => format!("!({carried})"),
            };
            let _ = writeln!(
                source,
                "if {absent} && {} {{\n{}}}",
                self.differs(field),
                self.refuse(field)
            );
        }
        let tags = self.encode_tags();
        match flexible {
            "true" => source.push_str(&tags),
            "flexible" => {
                let _ = writeln!(source, "if flexible {{\n{tags}}}");
            }
            _ => {}
        }
        source.push_str("Ok(())\n");
        source
    }

    fn refuse(&self, field: &Field) -> String {
        format!(
            "return Err(WireError::FieldNotInVersion {{ field: \"{}\", version }});\n",
            self.field_path(field)
        )
    }

    fn field_path(&self, field: &Field) -> String {
        let name = names::field(&field.name);
        format!(
            "{}.{}",
            self.rust_name(&self.item.name),
            name.trim_start_matches("r#")
        )
    }

    fn encode_tags(&self) -> String {
        if self.fields(true).next().is_none() {
            return "w.no_tags();\n".to_owned();
        }
        let mut source = "let mut tags = Tags::new();\n".to_owned();
        let mut fields: Vec<&Field> = self.fields(true).collect();
        fields.sort_by_key(|field| field.tag);
        for field in fields {
            let guard = self
                .tag_condition(field)
                .map_or_else(String::new, |it| format!("{it} && "));
            let place = format!("self.{}", names::field(&field.name));
            let write = self.write(&field.kind, &place, is_option(field), "true");
            let _ = writeln!(
                source,
                "if {guard}{} {{\ntags.put({}, |w| {write})?;\n}}",
                self.differs(field),
                field.tag.unwrap_or(0)
            );
        }
        source.push_str("w.tags(tags);\n");
        source
    }

    fn write_statement(&self, field: &Field, flexible: &str) -> String {
        let place = format!("self.{}", names::field(&field.name));
        if !is_option(field) {
            return format!("{}?;\n", self.write(&field.kind, &place, false, flexible));
        }
        let nullable = self.write(&field.kind, &place, true, flexible);
        let carried = field
            .versions
            .intersect(self.item.versions)
            .unwrap_or(field.versions);
        match field.nullable {
            Some(versions) if !versions.covers(carried) => {
                let condition = self
                    .condition(versions)
                    .unwrap_or_else(|| "true".to_owned());
                let value = format!(
                    "required(&{place}, \"{}\", version)?",
                    self.field_path(field)
                );
                let required = self
                    .write(&field.kind, &value, false, flexible)
                    .replace("&required", "required");
                format!("if {condition} {{\n{nullable}?;\n}} else {{\n{required}?;\n}}\n")
            }
            _ => format!("{nullable}?;\n"),
        }
    }

    fn write(&self, kind: &Type, place: &str, nullable: bool, flexible: &str) -> String {
        let prefix = if nullable { "nullable_" } else { "" };
        match kind {
            Type::Records => format!("w.records(&{place}, {flexible})"),
            Type::String => format!("w.{prefix}string(&{place}, {flexible})"),
            Type::Bytes => format!("w.{prefix}bytes(&{place}, {flexible})"),
            Type::Struct(_) if nullable => {
                format!("w.nullable_struct(&{place}, |w, item| item.encode(w, version))")
            }
            Type::Struct(_) => format!("{place}.encode(w, version)"),
            Type::Array(element) => {
                let element = match element.as_ref() {
                    Type::Struct(_) => "item.encode(w, version)".to_owned(),
                    Type::String => format!("w.string(item, {flexible})"),
                    other => format!("w.{}(*item)", method(other)),
                };
                format!("w.{prefix}array(&{place}, {flexible}, |w, item| {element})")
            }
            other => format!("w.{}({place})", method(other)),
        }
    }
}

fn mentions_version(body: &str) -> bool {
    body.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "version")
}

fn is_option(field: &Field) -> bool {
    field.nullable.is_some() || field.kind == Type::Records
}

/// Name of the method that reads or writes a value of fixed size.
fn method(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::I16 => "i16",
        Type::U16 => "u16",
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F64 => "f64",
        Type::Uuid => "uuid",
        Type::Bytes => "bytes",
        _ => "string",
    }
}
