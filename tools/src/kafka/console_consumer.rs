//! Shell: `kafka-console-consumer.sh` (`ConsoleConsumer.scala`).

use std::io::Write;
use std::time::Duration;

use regex_lite::Regex;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{self, ArgsError, Opt, Parsed, key_values};
use crate::client::consumer::{Consumer, Subscription};
use crate::client::error::ClientError;
use crate::client::fetched::ConsumerRecord;
use crate::client::log;
use crate::client::offsets::{EARLIEST, LATEST};
use crate::client::settings::Settings;
use crate::kafka::console_producer::file_settings;
use crate::kafka::formatter::Formatter;

const CLASS: &str = "kafka.tools.ConsoleConsumer$";
/// Bytes of formatted records that are written at once.
const WRITE_BYTES: usize = 64 << 10;

const OPTIONS: &[Opt] = &[
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: the brokers to connect to.",
    ),
    Opt::text(
        "consumer-property",
        "consumer_prop",
        "A setting of the consumer, as key=value.",
    ),
    Opt::text(
        "consumer.config",
        "config file",
        "Property file with settings of the consumer; --consumer-property wins over it.",
    ),
    Opt::flag(
        "enable-systest-events",
        "Print events of the consumer's life as well.",
    ),
    Opt::text("formatter", "class", "How records are printed.")
        .or("kafka.tools.DefaultMessageFormatter"),
    Opt::text(
        "formatter-config",
        "config file",
        "Property file with settings of the formatter; --property wins over it.",
    ),
    Opt::flag(
        "from-beginning",
        "Start with the first record if the group has no position yet.",
    ),
    Opt::text("group", "consumer group id", "The consumer group."),
    Opt::flag("help", "Print usage information."),
    Opt::text(
        "include",
        "Java regex (String)",
        "Read all topics whose name matches.",
    ),
    Opt::text(
        "isolation-level",
        "",
        "read_committed leaves out records of transactions that are open or were aborted.",
    )
    .or("read_uncommitted"),
    Opt::text(
        "key-deserializer",
        "deserializer for key",
        "How keys are turned into text.",
    ),
    Opt::of_type(
        "max-messages",
        "Integer",
        "num_messages",
        "Stop after this many records.",
    ),
    Opt::text(
        "offset",
        "consume offset",
        "Start at this offset, at 'earliest' or at 'latest'; needs --partition.",
    )
    .or("latest"),
    Opt::of_type(
        "partition",
        "Integer",
        "partition",
        "Read this partition only, from its end unless --offset is given.",
    ),
    Opt::text(
        "property",
        "prop",
        "A setting of the formatter, as key=value:\n print.timestamp=true|false\n print.key=true|false\n print.offset=true|false\n print.partition=true|false\n print.headers=true|false\n print.value=true|false\n key.separator=<key.separator>\n line.separator=<line.separator>\n headers.separator=<line.separator>\n null.literal=<null.literal>\n key.deserializer=<key.deserializer>\n value.deserializer=<value.deserializer>\n header.deserializer=<header.deserializer>",
    ),
    Opt::flag(
        "skip-message-on-error",
        "Go on after a record that cannot be printed.",
    ),
    Opt::of_type(
        "timeout-ms",
        "Integer",
        "timeout_ms",
        "Stop when no record comes for this long.",
    ),
    Opt::text("topic", "topic", "The topic to read."),
    Opt::text(
        "value-deserializer",
        "deserializer for values",
        "How values are turned into text.",
    ),
    Opt::flag("version", "Display Kafka version."),
    Opt::text(
        "whitelist",
        "Java regex (String)",
        "DEPRECATED: use --include.",
    ),
];

/// Why the tool does not start.
enum Stop {
    /// Message and help on standard error.
    Usage(String),
    /// A message on standard error.
    Message(String),
    /// Java's report of an exception that nobody caught.
    Uncaught(String),
    /// The version on standard output.
    Version,
}

impl From<ArgsError> for Stop {
    fn from(error: ArgsError) -> Self {
        Self::Uncaught(format!("{}: {error}", error.exception()))
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Uncaught(error.trace())
    }
}

/// What a command line asks for.
struct Plan {
    settings: Settings,
    subscription: Subscription,
    formatter: Formatter,
    max_messages: i64,
    timeout: Option<Duration>,
    skip_on_error: bool,
    events: bool,
}

/// Runs the tool; returns its exit code.
pub async fn run(arguments: &[String]) -> i32 {
    match plan(arguments) {
        Ok(plan) => consume(plan).await,
        Err(Stop::Usage(message)) => {
            eprint!("{message}\n{}", args::help(OPTIONS));
            1
        }
        Err(Stop::Message(message)) => {
            eprintln!("{message}");
            1
        }
        Err(Stop::Uncaught(trace)) => {
            eprintln!("Exception in thread \"main\" {trace}");
            1
        }
        Err(Stop::Version) => {
            println!("3.7.1");
            0
        }
    }
}

fn plan(arguments: &[String]) -> Result<Plan, Stop> {
    let options =
        Parsed::parse(OPTIONS, arguments).map_err(|error| Stop::Usage(error.to_string()))?;
    if arguments.is_empty() || options.has("help") {
        let what =
            "This tool helps to read data from Kafka topics and outputs it to standard output.";
        return Err(Stop::Usage(what.to_owned()));
    }
    if options.has("version") {
        return Err(Stop::Version);
    }
    let extra = key_values(options.values("consumer-property"));
    let mut settings = file_settings(&options, "consumer.config")?;
    let max_messages = options.number::<i32>("max-messages")?.unwrap_or(-1);
    let timeout_ms = options.number::<i32>("timeout-ms")?.unwrap_or(-1);
    let formatter = formatter(&options)?;
    let subscription = subscription(&options)?;
    if !options.has("bootstrap-server") {
        return Err(Stop::Usage(
            "Missing required argument \"[bootstrap-server]\"".to_owned(),
        ));
    }
    let group_passed = set_group(&options, &mut settings, extra.get("group.id"))?;
    if group_passed && options.has("partition") {
        let message = "Options group and partition cannot be specified together.";
        return Err(Stop::Usage(message.to_owned()));
    }
    settings.extend(extra);
    set_reset(&options, &mut settings)?;
    settings.set(
        "bootstrap.servers",
        options.value("bootstrap-server")?.unwrap_or_default(),
    );
    settings.set_default("client.id", "console-consumer");
    if options.has("isolation-level") || settings.get("isolation.level").is_none() {
        let level = options.value("isolation-level")?.unwrap_or_default();
        settings.set("isolation.level", level);
    }
    Ok(Plan {
        settings,
        subscription,
        formatter,
        max_messages: i64::from(max_messages),
        timeout: u64::try_from(timeout_ms).ok().map(Duration::from_millis),
        skip_on_error: options.has("skip-message-on-error"),
        events: options.has("enable-systest-events"),
    })
}

fn formatter(options: &Parsed) -> Result<Formatter, Stop> {
    let mut properties = file_settings(options, "formatter-config")?;
    properties.extend(key_values(options.values("property")));
    for option in ["key-deserializer", "value-deserializer"] {
        if let Some(class) = options.value(option)?.filter(|class| !class.is_empty()) {
            properties.set(&option.replace('-', "."), class);
        }
    }
    Ok(Formatter::new(
        options.value("formatter")?.unwrap_or_default(),
        properties.all(),
    )?)
}

fn subscription(options: &Parsed) -> Result<Subscription, Stop> {
    let usage = |message: &str| Err(Stop::Usage(message.to_owned()));
    let topic = options.value("topic")?;
    let include = match options.value("include")? {
        Some(include) => Some(include),
        None => options.value("whitelist")?,
    };
    let partition = options.number::<i32>("partition")?;
    let from_beginning = options.has("from-beginning");
    if topic.is_some() == include.is_some() {
        let deprecated = if options.has("whitelist") {
            "--whitelist is DEPRECATED use --include instead; ignored if --include specified."
        } else {
            "()"
        };
        return usage(&format!(
            "Exactly one of --include/--topic is required. {deprecated}"
        ));
    }
    if partition.is_some() {
        if topic.is_none() {
            return usage("The topic is required when partition is specified.");
        }
        if from_beginning && options.has("offset") {
            return usage("Options from-beginning and offset cannot be specified together.");
        }
    } else if options.has("offset") {
        return usage("The partition is required when offset is specified.");
    }
    let offset = if options.has("offset") {
        let text = options.value("offset")?.unwrap_or_default().to_lowercase();
        match (text.as_str(), text.parse::<i64>()) {
            ("earliest", _) => EARLIEST,
            ("latest", _) => LATEST,
            (_, Ok(offset)) if offset >= 0 => offset,
            _ => {
                return usage(&format!(
                    "The provided offset value '{text}' is incorrect. Valid values are \
                     'earliest', 'latest', or a non-negative long."
                ));
            }
        }
    } else if from_beginning {
        EARLIEST
    } else {
        LATEST
    };
    Ok(match (topic, partition, include) {
        (Some(topic), Some(partition), _) => {
            Subscription::Partition((topic.into(), partition), offset)
        }
        (Some(topic), None, _) => Subscription::Topics(vec![topic.into()]),
        (None, _, include) => {
            let include = include.unwrap_or_default();
            let pattern = Regex::new(&format!("^(?:{include})$")).map_err(|error| {
                Stop::Uncaught(format!("java.util.regex.PatternSyntaxException: {error}"))
            })?;
            Subscription::Pattern(pattern)
        }
    })
}

/// Sets the group; says whether it was given. Without one it is made up, and commits nothing.
fn set_group(
    options: &Parsed,
    settings: &mut Settings,
    extra: Option<&String>,
) -> Result<bool, Stop> {
    let given = [
        options.value("group")?,
        settings.get("group.id"),
        extra.map(String::as_str),
    ];
    let mut groups: Vec<String> = Vec::new();
    for group in given.into_iter().flatten() {
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    if groups.len() > 1 {
        let quoted: Vec<String> = groups.iter().map(|group| format!("'{group}'")).collect();
        return Err(Stop::Usage(format!(
            "The group ids provided in different places (directly using '--group', via \
             '--consumer-property', or via '--consumer.config') do not match. Detected group ids: \
             {}",
            quoted.join(", ")
        )));
    }
    match groups.first() {
        Some(group) => {
            settings.set("group.id", group.as_str());
            Ok(true)
        }
        None => {
            let number = rand::random_range(0..100_000);
            settings.set("group.id", format!("console-consumer-{number}"));
            settings.set_default("enable.auto.commit", "false");
            Ok(false)
        }
    }
}

fn set_reset(options: &Parsed, settings: &mut Settings) -> Result<(), Stop> {
    let from_beginning = options.has("from-beginning");
    match settings.get("auto.offset.reset") {
        Some(reset) if from_beginning && reset != "earliest" => Err(Stop::Message(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', \
             please remove one option"
        ))),
        Some(_) => Ok(()),
        None => {
            let reset = if from_beginning { "earliest" } else { "latest" };
            settings.set("auto.offset.reset", reset);
            Ok(())
        }
    }
}

/// How reading ended.
enum End {
    /// All is done, or no more will come.
    Done,
    /// A record could not be printed.
    Failed(ClientError),
    /// A signal, by number.
    Signal(i32),
}

async fn consume(plan: Plan) -> i32 {
    let consumer = Consumer::new(&plan.settings, plan.subscription.clone()).await;
    let mut consumer = match consumer {
        Ok(consumer) => consumer,
        Err(error) => {
            report(&error, "Unknown error when running consumer: ");
            return 1;
        }
    };
    let mut printer = Printer {
        formatter: plan.formatter.clone(),
        buffer: Vec::new(),
        count: 0,
    };
    let end = tokio::select! {
        end = read(&plan, &mut consumer, &mut printer) => end,
        number = interrupted() => End::Signal(number),
    };
    // Nobody may be listening any more.
    let _ = printer.flush();
    consumer.close().await;
    eprintln!("Processed a total of {} messages", printer.count);
    if plan.events {
        println!("shutdown_complete");
    }
    match end {
        End::Done => 0,
        End::Failed(error) => {
            report(&error, "Unknown error when running consumer: ");
            1
        }
        End::Signal(number) => 128 + number,
    }
}

fn report(error: &ClientError, message: &str) {
    log::error(CLASS, message);
    eprintln!("{}", error.trace());
}

/// Waits for SIGINT or SIGTERM; returns its number.
async fn interrupted() -> i32 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
    }
}

async fn read(plan: &Plan, consumer: &mut Consumer, printer: &mut Printer) -> End {
    while plan.max_messages == -1 || printer.count < plan.max_messages {
        if !consumer.has_buffered() && !printer.flush() {
            return End::Done;
        }
        let next = async {
            match plan.timeout {
                None => consumer.next().await,
                Some(limit) => match tokio::time::timeout(limit, consumer.next()).await {
                    Ok(next) => next,
                    Err(_) => Err(ClientError::timeout("")),
                },
            }
        };
        let record = match next.await {
            Ok(record) => record,
            Err(error) => {
                // Java prints what it has before it reports.
                printer.flush();
                report(
                    &error,
                    "Error processing message, terminating consumer process: ",
                );
                return End::Done;
            }
        };
        match printer.print(&record) {
            Ok(true) => {}
            Ok(false) => return End::Done,
            Err(error) if plan.skip_on_error => {
                report(&error, "Error processing message, skipping this message: ");
            }
            Err(error) => return End::Failed(error),
        }
    }
    End::Done
}

/// Standard output behind a buffer.
struct Printer {
    formatter: Formatter,
    buffer: Vec<u8>,
    count: i64,
}

impl Printer {
    /// Prints a record; false when nobody listens any more.
    fn print(&mut self, record: &ConsumerRecord) -> Result<bool, ClientError> {
        self.count += 1;
        let start = self.buffer.len();
        if let Err(error) = self.formatter.write(record, &mut self.buffer) {
            self.buffer.truncate(start);
            return Err(error);
        }
        Ok(self.buffer.len() < WRITE_BYTES || self.flush())
    }

    fn flush(&mut self) -> bool {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&self.buffer).and_then(|()| out.flush());
        self.buffer.clear();
        if written.is_err() {
            eprintln!("Unable to write to standard out, closing consumer.");
        }
        written.is_ok()
    }
}
