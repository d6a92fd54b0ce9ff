//! Pure: command lines as the stock tools read them (joptsimple), with their errors and help.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// No argument.
    Nothing,
    /// An argument: its type and what it stands for, as help shows it.
    Argument(&'static str, &'static str),
    /// An argument that may be left out.
    Optional(&'static str, &'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Value when it is not given, if there is one.
    pub default: Option<&'static str>,
    /// What help says.
    pub help: &'static str,
}

impl Opt {
    /// An option without argument.
    #[must_use]
    pub const fn flag(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            takes: Takes::Nothing,
            default: None,
            help,
        }
    }

    /// An option with a text as argument.
    #[must_use]
    pub const fn text(name: &'static str, stands_for: &'static str, help: &'static str) -> Self {
        Self {
            name,
            takes: Takes::Argument("String", stands_for),
            default: None,
            help,
        }
    }

    /// An option with an argument of another type.
    #[must_use]
    pub const fn of_type(
        name: &'static str,
        kind: &'static str,
        stands_for: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            takes: Takes::Argument(kind, stands_for),
            default: None,
            help,
        }
    }

    /// The same option with a default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }
}

/// Why a command line cannot be used; the texts are joptsimple's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// An option that does not exist.
    #[error("{0} is not a recognized option")]
    Unrecognized(String),
    /// An option whose argument is missing.
    #[error("Option {0} requires an argument")]
    MissingArgument(String),
    /// An option that may be given once.
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    Multiple(String),
    /// An argument of the wrong type.
    #[error("Cannot parse argument '{argument}' of option {option}")]
    WrongType {
        /// The option.
        option: String,
        /// The argument as given.
        argument: String,
    },
}

impl ArgsError {
    /// Full name of joptsimple's exception.
    #[must_use]
    pub fn exception(&self) -> &'static str {
        match self {
            Self::Unrecognized(_) => "joptsimple.UnrecognizedOptionException",
            Self::MissingArgument(_) => "joptsimple.OptionMissingRequiredArgumentException",
            Self::Multiple(_) => "joptsimple.MultipleArgumentsForOptionException",
            Self::WrongType { .. } => "joptsimple.OptionArgumentConversionException",
        }
    }
}

/// A parsed command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
}

impl Parsed {
    /// Reads a command line. What belongs to no option is ignored, as the stock tools do.
    ///
    /// # Errors
    /// [`ArgsError::Unrecognized`] and [`ArgsError::MissingArgument`].
    pub fn parse(options: &[Opt], arguments: &[String]) -> Result<Self, ArgsError> {
        let mut parsed = Self::default();
        for option in options {
            if let Some(default) = option.default {
                parsed.defaults.insert(option.name, default);
            }
        }
        let mut rest = arguments.iter().peekable();
        while let Some(token) = rest.next() {
            if token == "--" {
                break;
            }
            let Some(name) = token.strip_prefix('-').filter(|name| !name.is_empty()) else {
                continue;
            };
            let (double, name) = match name.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, name),
            };
            let (name, joined) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let Some(option) = options.iter().find(|option| option.name == name) else {
                // A single dash starts a cluster of one-letter options, of which there are none.
                let unknown = if double {
                    name
                } else {
                    name.get(..1).unwrap_or(name)
                };
                return Err(ArgsError::Unrecognized(unknown.to_owned()));
            };
            let values = parsed.given.entry(option.name).or_default();
            match option.takes {
                Takes::Nothing => {}
                Takes::Argument(..) => {
                    let value = joined.or_else(|| rest.next().cloned());
                    let missing = || ArgsError::MissingArgument(option.name.to_owned());
                    values.push(value.ok_or_else(missing)?);
                }
                Takes::Optional(..) => {
                    let is_value = |next: &&String| !(next.starts_with('-') && next.len() > 1);
                    values.extend(joined.or_else(|| rest.next_if(|next| is_value(next)).cloned()));
                }
            }
        }
        Ok(parsed)
    }

    /// Whether the option was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// All arguments of an option.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }

    /// The argument of an option, else its default.
    ///
    /// # Errors
    /// [`ArgsError::Multiple`].
    pub fn value(&self, name: &str) -> Result<Option<&str>, ArgsError> {
        match self.values(name) {
            [] => Ok(self.defaults.get(name).copied()),
            [value] => Ok(Some(value)),
            _ => Err(ArgsError::Multiple(name.to_owned())),
        }
    }

    /// The argument of an option as a number, else its default.
    ///
    /// # Errors
    /// [`ArgsError::Multiple`] and [`ArgsError::WrongType`].
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, ArgsError> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        let wrong = || ArgsError::WrongType {
            option: name.into(),
            argument: value.into(),
        };
        value.parse().map(Some).map_err(|_| wrong())
    }
}

/// Widths of help's two columns and the space between them.
const COLUMN: usize = 39;
const SPACE: usize = 2;

/// The help of the stock tools: options by name in two columns.
#[must_use]
pub fn help(options: &[Opt]) -> String {
    let mut sorted: Vec<&Opt> = options.iter().collect();
    sorted.sort_by_key(|option| option.name);
    let mut text = String::new();
    let mut row = |left: &str, right: &str| {
        let _ = writeln!(text, "{left:COLUMN$}{:SPACE$}{right:COLUMN$}", "");
    };
    row("Option", "Description");
    row("------", "-----------");
    for option in sorted {
        let name = match option.takes {
            Takes::Nothing => format!("--{}", option.name),
            Takes::Argument(kind, "") => format!("--{} <{kind}>", option.name),
            Takes::Argument(kind, stands_for) => {
                format!("--{} <{kind}: {stands_for}>", option.name)
            }
            Takes::Optional(kind, stands_for) => {
                format!("--{} [{kind}: {stands_for}]", option.name)
            }
        };
        let help = match option.default {
            Some(default) => format!("{} (default: {default})", option.help),
            None => option.help.to_owned(),
        };
        let (left, right) = (wrap(&name), wrap(&help));
        for line in 0..left.len().max(right.len()) {
            let part = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
            row(&part(&left), &part(&right));
        }
    }
    text
}

/// Lines of a column; those after the first are indented. Line breaks in the text stay.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = if lines.is_empty() {
            String::new()
        } else {
            "  ".to_owned()
        };
        let mut is_empty = true;
        for word in paragraph.split(' ') {
            if !is_empty && line.len() + 1 + word.len() > COLUMN {
                lines.push(std::mem::replace(&mut line, "  ".to_owned()));
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        lines.push(line);
    }
    lines
}

/// Reads `key=value` arguments; a missing value is an empty one.
pub fn key_values(arguments: &[String]) -> BTreeMap<String, String> {
    let pair = |argument: &String| match argument.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (argument.clone(), String::new()),
    };
    arguments.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt::flag("list", "List."),
        Opt::text("topic", "topic", "The topic."),
        Opt::of_type("partitions", "Integer", "# of partitions", "How many.").or("1"),
        Opt {
            name: "codec",
            takes: Takes::Optional("String", "codec"),
            default: None,
            help: "The codec.",
        },
    ];

    fn parse(line: &str) -> Result<Parsed, ArgsError> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Parsed::parse(OPTIONS, &arguments)
    }

    #[test]
    fn options_are_read_as_joptsimple_does() {
        let parsed = parse("x --topic --list -list --codec --topic=b --codec gzip y").unwrap();
        assert_eq!(parsed.values("topic"), ["--list", "b"]);
        assert!(parsed.has("list"));
        assert_eq!(parsed.value("codec"), Ok(Some("gzip")));
        assert_eq!(parsed.number::<i32>("partitions"), Ok(Some(1)));
        assert_eq!(
            parsed.value("topic"),
            Err(ArgsError::Multiple("topic".into()))
        );
    }

    #[test]
    fn errors_have_joptsimples_texts() {
        let text = |line| parse(line).unwrap_err().to_string();
        assert_eq!(text("--lis"), "lis is not a recognized option");
        assert_eq!(text("-xyz"), "x is not a recognized option");
        assert_eq!(text("--topic"), "Option topic requires an argument");
        let wrong = parse("--partitions abc")
            .unwrap()
            .number::<i32>("partitions")
            .unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "Cannot parse argument 'abc' of option partitions"
        );
    }

    #[test]
    fn help_has_two_columns() {
        let help = help(OPTIONS);
        assert!(help.lines().all(|line| line.len() == 80), "{help}");
        let row = "--partitions <Integer: # of partitions>  How many. (default: 1)";
        assert!(help.contains(row), "{help}");
    }
}
