//! Pure: JSON in the layout of Jackson's pretty printer, in which ZooKeeper's AdminServer answers.

use std::fmt::Write as _;

use crate::metrics::table::Number;
use crate::operator::java_text;

/// A JSON value. Maps keep the order in which they were filled.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a decimal point.
    Double(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Map(Vec<(String, Json)>),
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<i32> for Json {
    fn from(number: i32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Number::from(number).into()
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<Number> for Json {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(number) => Self::Whole(number),
            Number::Double(number) => Self::Double(number),
        }
    }
}

/// A map of these entries.
pub fn map<const N: usize>(entries: [(&str, Json); N]) -> Json {
    Json::Map(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

impl Json {
    /// The text: objects over several lines, arrays on one.
    pub fn pretty(&self) -> String {
        let mut text = String::new();
        self.put(&mut text, 0);
        text
    }

    fn put(&self, text: &mut String, depth: usize) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Self::Whole(number) => {
                let _ = write!(text, "{number}");
            }
            // What JSON has no number for is quoted.
            Self::Double(number) if !number.is_finite() => {
                put_string(&java_text::double(*number), text);
            }
            Self::Double(number) => text.push_str(&java_text::double(*number)),
            Self::Text(string) => put_string(string, text),
            Self::List(items) => {
                text.push_str("[ ");
                for (i, item) in items.iter().enumerate() {
                    text.push_str(if i > 0 { ", " } else { "" });
                    item.put(text, depth);
                }
                text.push_str(if items.is_empty() { "]" } else { " ]" });
            }
            Self::Map(entries) if entries.is_empty() => text.push_str("{ }"),
            Self::Map(entries) => {
                text.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    text.push_str(if i > 0 { ",\n" } else { "\n" });
                    indent(text, depth + 1);
                    put_string(key, text);
                    text.push_str(" : ");
                    value.put(text, depth + 1);
                }
                text.push('\n');
                indent(text, depth);
                text.push('}');
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn put_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_jacksons() {
        // The answer of Apache's server to /commands/dump, shortened.
        let value = map([
            (
                "expiry",
                map([("12802000", Json::List(vec![Json::Whole(3), Json::Whole(2)]))]),
            ),
            ("connections", Json::List(vec![map([("to", 5.into())])])),
            ("none", Json::List(vec![])),
            ("empty", map([])),
            ("latency", Json::Double(0.3509)),
            ("text", "a\"b\nc\u{1}".into()),
            ("error", Json::Null),
        ]);
        let text = "{\n  \"expiry\" : {\n    \"12802000\" : [ 3, 2 ]\n  },\n  \"connections\" : [ {\n    \"to\" : 5\n  } ],\n  \"none\" : [ ],\n  \"empty\" : { },\n  \"latency\" : 0.3509,\n  \"text\" : \"a\\\"b\\nc\\u0001\",\n  \"error\" : null\n}";
        assert_eq!(value.pretty(), text);
        assert_eq!(Json::Double(f64::NAN).pretty(), "\"NaN\"");
    }
}
