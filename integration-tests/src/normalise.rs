//! Pure: takes out of a tool's output what differs between any two runs: ports, directories, ids, times.

use regex_lite::Regex;

/// A list of replacements, applied to each line in order.
#[derive(Debug, Clone, Default)]
pub struct Normaliser {
    literals: Vec<(String, String)>,
    patterns: Vec<(Regex, &'static str)>,
    dropped: Vec<Regex>,
}

impl Normaliser {
    /// The replacements that every script wants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
            .pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>")
            .pattern(r"(TopicId: |topic_id: |Cluster ID: |cluster\.id=)[A-Za-z0-9_-]{22}", "$1<id>")
            .pattern(r#""(topic_id|id)":"[A-Za-z0-9_-]{22}""#, "\"$1\":\"<id>\"")
            .pattern(r"\b1[5-9][0-9]{11}\b", "<ms>")
            .pattern(
                r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [0-9 ]?[0-9] [0-9:]{8} [A-Z]+ [0-9]{4}",
                "<date>",
            )
            .pattern(r"0x[0-9a-f]{12,16}\b", "<session>")
            .pattern(r"console-consumer-[0-9]+ *", "console-consumer-<n> ")
            .pattern(r"adminclient-[0-9]+", "adminclient-<n>")
            // The time of a logged line, which the stock tools are told to leave out.
            .pattern(r"^\[[0-9-]{10} [0-9:,]{12}\] (WARN|ERROR) ", "$1 ")
            // Stack traces of errors that a tool logs: the message before them counts, the frames do not.
            .drop_lines(r"^\s+at [\w$.]+")
            .drop_lines(r"^\s+\.\.\. [0-9]+ more$")
            // What librdkafka logs.
            .drop_lines(r"^%[0-9]\|")
    }

    /// Replaces a text, such as this run's port.
    #[must_use]
    pub fn literal(mut self, from: &str, to: &str) -> Self {
        self.literals.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Replaces what a pattern matches; a pattern that does not parse is ignored (a test below looks for that).
    #[must_use]
    pub fn pattern(mut self, pattern: &str, to: &'static str) -> Self {
        self.patterns
            .extend(Regex::new(pattern).map(|regex| (regex, to)));
        self
    }

    /// Drops the lines that a pattern matches.
    #[must_use]
    pub fn drop_lines(mut self, pattern: &str) -> Self {
        self.dropped.extend(Regex::new(pattern));
        self
    }

    /// The lines of a text with everything replaced; trailing blanks are cut, as tables are padded by width.
    #[must_use]
    pub fn lines(&self, text: &str) -> Vec<String> {
        text.lines()
            .filter(|line| !self.dropped.iter().any(|regex| regex.is_match(line)))
            .map(|line| self.line(line))
            .collect()
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.trim_end().to_owned();
        for (from, to) in &self.literals {
            line = line.replace(from, to);
        }
        for (regex, to) in &self.patterns {
            line = regex.replace_all(&line, *to).into_owned();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_standard_list_parses_and_replaces() {
        let normaliser = Normaliser::new().literal("127.0.0.1:20077", "<broker>");
        assert_eq!(
            (normaliser.patterns.len(), normaliser.dropped.len()),
            (9, 3)
        );
        let text = "Topic: t\tTopicId: 5p7GkYcsQZqzmA0KX_hX-g\tat 127.0.0.1:20077  \n\
                    \tat kafka.Kafka.main(Kafka.scala)\n\
                    ctime = Thu Nov 23 13:02:44 UTC 2023 mtime = 1700744564123 owner = 0x1000abcd0120000\n";
        assert_eq!(
            normaliser.lines(text),
            [
                "Topic: t\tTopicId: <id>\tat <broker>",
                "ctime = <date> mtime = <ms> owner = <session>"
            ]
        );
    }
}
