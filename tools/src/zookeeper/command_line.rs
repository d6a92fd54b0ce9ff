//! Pure: taking a line of the shell apart: words (`ZooKeeperMain.MyCommandOptions`), then
//! options, as commons-cli's `DefaultParser` does it, with its words when it refuses.

/// One option of a command.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its name without the hyphen.
    pub name: &'static str,
    /// Whether a value follows.
    pub has_value: bool,
    /// What it is, for the message that one is missing.
    pub description: &'static str,
}

/// An option without a value.
pub const fn flag(name: &'static str) -> Opt {
    Opt {
        name,
        has_value: false,
        description: "",
    }
}

/// An option with a value.
pub const fn value(name: &'static str) -> Opt {
    Opt {
        name,
        has_value: true,
        description: "",
    }
}

/// How the options of a command go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Each may be there or not.
    Free,
    /// One at most.
    AtMostOne,
    /// Exactly one.
    One,
}

/// Why a command's words make no sense: what commons-cli's exception prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such option.
    #[error("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: {0}")]
    Unrecognized(String),
    /// A value is missing.
    #[error("org.apache.commons.cli.MissingArgumentException: Missing argument for option: {0}")]
    MissingValue(&'static str),
    /// Two options that exclude each other.
    #[error(
        "org.apache.commons.cli.AlreadySelectedException: The option '{option}' was specified \
         but an option from this group has already been selected: '{selected}'"
    )]
    AlreadySelected {
        /// The second one.
        option: &'static str,
        /// The first one.
        selected: &'static str,
    },
    /// None of the options of which there must be one.
    #[error("org.apache.commons.cli.MissingOptionException: Missing required option: {0}")]
    MissingOption(String),
}

/// A command's words, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    options: Vec<(&'static str, Option<String>)>,
    /// What is no option; the command's name comes first.
    pub args: Vec<String>,
}

impl CommandLine {
    /// Whether the option is there.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// The option's value, the first one if it is there more than once.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.options.iter().find(|(option, _)| *option == name)?;
        value.as_deref()
    }
}

/// Sorts a command's words.
pub fn parse(options: &[Opt], choice: Choice, words: &[String]) -> Result<CommandLine, ParseError> {
    let mut parser = Parser {
        options,
        choice,
        selected: None,
        awaiting: None,
        line: CommandLine::default(),
    };
    let mut only_args = false;
    for word in words {
        if only_args {
            parser.line.args.push(word.clone());
        } else if word == "--" {
            only_args = true;
        } else {
            parser.word(word)?;
        }
    }
    parser.finish()
}

struct Parser<'a> {
    options: &'a [Opt],
    choice: Choice,
    selected: Option<&'static str>,
    /// The option whose value is due.
    awaiting: Option<&'static str>,
    line: CommandLine,
}

impl Parser<'_> {
    fn find(&self, name: &str) -> Option<Opt> {
        self.options
            .iter()
            .find(|option| option.name == name)
            .copied()
    }

    fn first_letter(&self, text: &str) -> Option<Opt> {
        let letter = text.chars().next()?;
        self.find(letter.encode_utf8(&mut [0; 4]))
    }

    /// Whether a word would be taken for an option where a value is due.
    fn looks_like_option(&self, word: &str) -> bool {
        let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
            return false;
        };
        let name = text.split('=').next().unwrap_or(text);
        self.find(name).is_some() || self.first_letter(name).is_some()
    }

    fn word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.awaiting.is_some() {
            let number = word.starts_with('-') && word.parse::<f64>().is_ok();
            if number || !self.looks_like_option(word) {
                self.set_value(unquoted(word));
                return Ok(());
            }
        }
        if word == "-" || !word.starts_with('-') {
            self.line.args.push(word.to_owned());
            return Ok(());
        }
        let unrecognized = || ParseError::Unrecognized(word.to_owned());
        if word.starts_with("--") {
            // None of the commands has long options.
            return Err(unrecognized());
        }
        let text = &word[1..];
        if let Some((name, value)) = text.split_once('=') {
            let option = self
                .find(name)
                .filter(|option| option.has_value && name.len() == 1);
            self.option(option.ok_or_else(unrecognized)?)?;
            self.set_value(value);
            return Ok(());
        }
        if let Some(option) = self.find(text) {
            return self.option(option);
        }
        self.letters(word)
    }

    /// Several options in one word, the last one perhaps with its value.
    fn letters(&mut self, word: &str) -> Result<(), ParseError> {
        let text = &word[1..];
        for (at, letter) in text.char_indices() {
            let option = self
                .first_letter(&text[at..])
                .ok_or_else(|| ParseError::Unrecognized(word.to_owned()))?;
            self.option(option)?;
            let rest = &text[at + letter.len_utf8()..];
            if option.has_value && !rest.is_empty() {
                self.set_value(rest);
                break;
            }
        }
        Ok(())
    }

    fn set_value(&mut self, value: &str) {
        self.awaiting = None;
        if let Some((_, slot)) = self.line.options.last_mut() {
            *slot = Some(value.to_owned());
        }
    }

    fn option(&mut self, option: Opt) -> Result<(), ParseError> {
        self.check_value()?;
        if self.choice != Choice::Free {
            match self.selected {
                Some(selected) if selected != option.name => {
                    return Err(ParseError::AlreadySelected {
                        option: option.name,
                        selected,
                    });
                }
                _ => self.selected = Some(option.name),
            }
        }
        self.line.options.push((option.name, None));
        self.awaiting = option.has_value.then_some(option.name);
        Ok(())
    }

    fn check_value(&self) -> Result<(), ParseError> {
        self.awaiting
            .map_or(Ok(()), |name| Err(ParseError::MissingValue(name)))
    }

    fn finish(self) -> Result<CommandLine, ParseError> {
        self.check_value()?;
        if self.choice == Choice::One && self.selected.is_none() {
            let all: Vec<String> = self
                .options
                .iter()
                .map(|option| format!("-{} {}", option.name, option.description))
                .collect();
            return Err(ParseError::MissingOption(format!("[{}]", all.join(", "))));
        }
        Ok(self.line)
    }
}

/// A value without the double quotes around it.
fn unquoted(text: &str) -> &str {
    match text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('"') => inner,
        _ => text,
    }
}

/// The words of a line: separated by blanks, or within quotes of either kind. Like the original,
/// a quote without its partner is skipped at the start of a word and an ordinary character
/// later, and a blank before it (or at the end of a blank line) becomes part of a word.
pub fn words(line: &str) -> Vec<String> {
    let text: Vec<char> = line.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = at + text[at..].iter().take_while(|c| is_blank(**c)).count();
        let quoted = text.get(start).filter(|c| is_quote(**c)).and_then(|quote| {
            let length = text[start + 1..].iter().position(|c| c == quote)?;
            Some(start + 1..start + 1 + length)
        });
        if let Some(inside) = quoted {
            at = inside.end + 1;
            words.push(text[inside].iter().collect());
        } else {
            let first = match text.get(start) {
                Some(c) if !is_quote(*c) => start,
                _ if start > at => start - 1,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let rest = text[first + 1..]
                .iter()
                .take_while(|c| !is_blank(**c))
                .count();
            at = first + 1 + rest;
            words.push(text[first..at].iter().collect());
        }
        at += text[at..].iter().take_while(|c| is_blank(**c)).count();
    }
    words
}

/// Java's `\s`.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

const fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn lines_become_words() {
        let table: &[(&str, &[&str])] = &[
            ("ls /", &["ls", "/"]),
            (
                "  set  /a \"b c\"  'd \"e' ",
                &["set", "/a", "b c", "d \"e"],
            ),
            ("set /a \"\"", &["set", "/a", ""]),
            ("a\"b c\"", &["a\"b", "c\""]),
            ("\"", &[]),
            (" ", &[" "]),
            ("\"abc", &["abc"]),
            ("x \"abc", &["x", "abc"]),
            ("  \"abc", &[" \"abc"]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line), split(expected), "{line:?}");
        }
    }

    const OPTIONS: &[Opt] = &[flag("s"), flag("w"), value("v"), value("add")];

    fn try_parse(words: &[&str]) -> Result<CommandLine, String> {
        parse(OPTIONS, Choice::Free, &split(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_taken_out_of_the_words() {
        let line = try_parse(&["get", "-sw", "/a", "-v", "-1", "-"]).unwrap();
        assert!(line.has("s") && line.has("w"));
        assert_eq!(line.value("v"), Some("-1"));
        assert_eq!(line.args, ["get", "/a", "-"]);
        assert_eq!(try_parse(&["x", "-v=5"]).unwrap().value("v"), Some("5"));
        assert_eq!(try_parse(&["x", "-v5"]).unwrap().value("v"), Some("5"));
        assert_eq!(
            try_parse(&["x", "-add", "\"q\""]).unwrap().value("add"),
            Some("q")
        );
        assert_eq!(try_parse(&["x", "--", "-s"]).unwrap().args, ["x", "-s"]);
    }

    #[test]
    fn refusals_are_worded_as_the_original() {
        let cli = "org.apache.commons.cli.";
        let unrecognized = format!("{cli}UnrecognizedOptionException: Unrecognized option: ");
        for word in ["-1", "-x", "-sx", "--s", "-add=5", "-q=1"] {
            assert_eq!(
                try_parse(&["c", word]),
                Err(format!("{unrecognized}{word}"))
            );
        }
        let missing = format!("{cli}MissingArgumentException: Missing argument for option: v");
        assert_eq!(try_parse(&["c", "-v"]), Err(missing.clone()));
        assert_eq!(try_parse(&["c", "-v", "-s"]), Err(missing));
        let both = parse(OPTIONS, Choice::AtMostOne, &split(&["c", "-s", "-w"])).unwrap_err();
        assert_eq!(
            both,
            ParseError::AlreadySelected {
                option: "w",
                selected: "s"
            }
        );
    }
}
