//! Pure: the options of `kafka-topics.sh` and which of them go together.

use std::collections::BTreeSet;

use crate::args::{ArgsError, Opt, Parsed};

/// The options.
pub const OPTIONS: &[Opt] = &[
    Opt::flag(
        "alter",
        "Raise the number of partitions of a topic. Its settings are changed with kafka-configs.",
    ),
    Opt::flag(
        "at-min-isr-partitions",
        "With --describe: only partitions with exactly as many replicas in sync as they need.",
    ),
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: the brokers to connect to.",
    ),
    Opt::text(
        "command-config",
        "command config property file",
        "Property file with settings of the admin client.",
    ),
    Opt::text(
        "config",
        "name=value",
        "With --create: a setting of the topic that differs from the cluster's.",
    ),
    Opt::flag("create", "Create a topic."),
    Opt::flag("delete", "Delete a topic."),
    Opt::text("delete-config", "name", "Not supported any more."),
    Opt::flag("describe", "Show details of topics."),
    Opt::flag(
        "exclude-internal",
        "With --list and --describe: leave out internal topics.",
    ),
    Opt::flag("help", "Print usage information."),
    Opt::flag(
        "if-exists",
        "With --alter, --delete and --describe: do nothing if the topic does not exist.",
    ),
    Opt::flag(
        "if-not-exists",
        "With --create: do nothing if the topic exists.",
    ),
    Opt::flag("list", "List the topics."),
    Opt::of_type(
        "partitions",
        "Integer",
        "# of partitions",
        "Number of partitions to create or to alter to. More partitions change the partition of a key. Default for --create: the cluster's.",
    ),
    Opt::text(
        "replica-assignment",
        "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : broker_id_for_part2_replica2 , ...",
        "Brokers for each partition, instead of the cluster's choice.",
    ),
    Opt::of_type(
        "replication-factor",
        "Integer",
        "replication factor",
        "Replicas of each partition. Default: the cluster's.",
    ),
    Opt::text(
        "topic",
        "topic",
        "The topic; a regular expression unless with --create.",
    ),
    Opt::text(
        "topic-id",
        "topic-id",
        "With --describe: the id of the topic.",
    ),
    Opt::flag(
        "topics-with-overrides",
        "With --describe: only topics with settings of their own.",
    ),
    Opt::flag(
        "unavailable-partitions",
        "With --describe: only partitions without a leader.",
    ),
    Opt::flag(
        "under-min-isr-partitions",
        "With --describe: only partitions with fewer replicas in sync than they need.",
    ),
    Opt::flag(
        "under-replicated-partitions",
        "With --describe: only partitions with replicas out of sync.",
    ),
    Opt::flag("version", "Display Kafka version."),
];

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];
const REPORTS: [&str; 4] = [
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

/// What the tool does with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do what it says.
    Run(Parsed),
    /// Print the message and the help to standard error, and fail.
    Usage(String),
    /// Print the version.
    Version,
    /// Print the message and Java's exception to standard error, and fail.
    Fail(&'static str, String),
}

/// Reads and checks a command line.
#[must_use]
pub fn decide(arguments: &[String]) -> Decision {
    let parsed = match Parsed::parse(OPTIONS, arguments) {
        Ok(parsed) => parsed,
        Err(error) => return Decision::Fail(error.exception(), error.to_string()),
    };
    if arguments.is_empty() {
        return usage("Create, delete, describe, or change a topic.");
    }
    if parsed.has("help") {
        return usage("This tool helps to create, delete, describe, or change a topic.");
    }
    if parsed.has("version") {
        return Decision::Version;
    }
    if ACTIONS.iter().filter(|action| parsed.has(action)).count() != 1 {
        return usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        );
    }
    if !parsed.has("bootstrap-server") {
        let message = "--bootstrap-server must be specified".to_owned();
        return Decision::Fail("java.lang.IllegalArgumentException", message);
    }
    match missing(&parsed).or_else(|| conflicting(&parsed)) {
        Some(message) => Decision::Usage(message),
        None => Decision::Run(parsed),
    }
}

fn usage(message: &str) -> Decision {
    Decision::Usage(message.to_owned())
}

fn missing(parsed: &Parsed) -> Option<String> {
    let required =
        |name: &str| (!parsed.has(name)).then(|| format!("Missing required argument \"[{name}]\""));
    let named = parsed.has("topic") || parsed.has("topic-id");
    if parsed.has("describe") && parsed.has("if-exists") && !named {
        return Some("--topic or --topic-id is required to describe a topic".to_owned());
    }
    let topic = if parsed.has("list") || parsed.has("describe") {
        None
    } else {
        required("topic")
    };
    if topic.is_some() || !parsed.has("alter") {
        return topic;
    }
    if parsed.has("config") {
        return Some(
            "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \
             \"[alter]\" (the kafka-configs CLI supports altering topic configs with a \
             --bootstrap-server option)"
                .to_owned(),
        );
    }
    required("partitions")
}

/// The first pair of options that do not go together.
fn conflicting(parsed: &Parsed) -> Option<String> {
    let conflict = |option: &str, with: &str| {
        let both = parsed.has(option) && parsed.has(with);
        both.then(|| format!("Option \"[{option}]\" can't be used with option \"[{with}]\""))
    };
    let other_than = |option: &str, allowed: &[&str], also: &[&str]| {
        let actions = ACTIONS.iter().filter(|action| !allowed.contains(action));
        actions.chain(also).find_map(|with| conflict(option, with))
    };
    let overrides: &[&str] = &["topics-with-overrides"];
    let checks: [(&str, &[&str], &[&str]); 11] = [
        ("config", &["alter", "create"], &[]),
        ("delete-config", &["alter"], &["bootstrap-server"]),
        ("partitions", &["alter", "create"], &[]),
        ("replication-factor", &["create"], &[]),
        ("replica-assignment", &["alter", "create"], &[]),
        (REPORTS[0], &["describe"], overrides),
        (REPORTS[1], &["describe"], overrides),
        (REPORTS[2], &["describe"], overrides),
        (REPORTS[3], &["describe"], overrides),
        ("topics-with-overrides", &["describe"], &REPORTS),
        ("if-exists", &["alter", "delete", "describe"], &[]),
    ];
    for (index, (option, allowed, also)) in checks.iter().enumerate() {
        if let Some(message) = other_than(option, allowed, also) {
            return Some(message);
        }
        if index == 4 && parsed.has("create") {
            let assigned = ["partitions", "replication-factor"];
            let found = assigned
                .iter()
                .find_map(|with| conflict("replica-assignment", with));
            if found.is_some() {
                return found;
            }
        }
    }
    other_than("if-not-exists", &["create"], &[])
        .or_else(|| other_than("exclude-internal", &["list", "describe"], &[]))
}

/// Reads `0:1,1:2`: the brokers of each partition.
///
/// # Errors
/// Java's exception and its text.
pub fn replica_assignment(text: &str) -> Result<Vec<Vec<i32>>, (&'static str, String)> {
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for part in text.trim_end_matches(',').split(',') {
        let mut brokers = Vec::new();
        for broker in part.trim_end_matches(':').split(':').map(str::trim) {
            let number = || {
                let message = format!("For input string: \"{broker}\"");
                ("java.lang.NumberFormatException", message)
            };
            brokers.push(broker.parse().map_err(|_| number())?);
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<i32> = brokers
            .iter()
            .copied()
            .filter(|broker| !seen.insert(*broker))
            .collect();
        if !twice.is_empty() {
            let twice: Vec<String> = twice.iter().map(i32::to_string).collect();
            return Err((
                "org.apache.kafka.server.common.AdminCommandFailedException",
                format!(
                    "Partition replica lists may not contain duplicate entries: {}",
                    twice.join(",")
                ),
            ));
        }
        if partitions
            .first()
            .is_some_and(|first| first.len() != brokers.len())
        {
            return Err((
                "org.apache.kafka.server.common.AdminOperationException",
                format!(
                    "Partition {} has different replication factor: {brokers:?}",
                    partitions.len()
                ),
            ));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

/// Reads `name=value` settings; the last of a name wins.
///
/// # Errors
/// The text of Java's `IllegalArgumentException`.
pub fn topic_configs(arguments: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut configs: Vec<(String, String)> = Vec::new();
    for argument in arguments {
        let mut parts: Vec<&str> = argument.split('=').map(str::trim).collect();
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        let [name, value] = parts.as_slice() else {
            return Err(
                "requirement failed: Invalid topic config: all configs to be added must \
                        be in the format \"key=val\"."
                    .to_owned(),
            );
        };
        configs.retain(|(known, _)| known != name);
        configs.push(((*name).to_owned(), (*value).to_owned()));
    }
    Ok(configs)
}

/// Whether an argument may be read as a number; for options that are looked at late.
///
/// # Errors
/// [`ArgsError`].
pub fn partitions(parsed: &Parsed) -> Result<Option<i32>, ArgsError> {
    parsed.number("partitions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> String {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match decide(&arguments) {
            Decision::Usage(message) | Decision::Fail(_, message) => message,
            Decision::Run(_) => "run".to_owned(),
            Decision::Version => "version".to_owned(),
        }
    }

    #[test]
    fn combinations_are_judged_as_by_the_stock_tool() {
        // Texts as the stock class prints them.
        for (line, expected) in [
            (
                "--bootstrap-server x --list --partitions 3",
                "Option \"[partitions]\" can't be used with option \"[list]\"",
            ),
            (
                "--bootstrap-server x --create --topic x --if-exists",
                "Option \"[if-exists]\" can't be used with option \"[create]\"",
            ),
            (
                "--bootstrap-server x --create --topic x --partitions 1 --replica-assignment 0:1",
                "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
            ),
            (
                "--bootstrap-server x --describe --under-replicated-partitions --topics-with-overrides",
                "Option \"[under-replicated-partitions]\" can't be used with option \"[topics-with-overrides]\"",
            ),
            (
                "--bootstrap-server x --alter --topic x",
                "Missing required argument \"[partitions]\"",
            ),
            ("--list", "--bootstrap-server must be specified"),
            ("--bootstrap-server x --list foo", "run"),
            ("--version", "version"),
        ] {
            assert_eq!(message(line), expected);
        }
    }

    #[test]
    fn assignments() {
        assert_eq!(replica_assignment("0:1, 1:0").unwrap(), [[0, 1], [1, 0]]);
        let (_, text) = replica_assignment("0:1,0").unwrap_err();
        assert_eq!(text, "Partition 1 has different replication factor: [0]");
    }
}
