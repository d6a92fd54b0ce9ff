//! Shell: `kafka-console-producer.sh` (`ConsoleProducer.scala`).

use std::io::{BufRead, IsTerminal, Write};

use tokio::sync::{mpsc, oneshot};

use crate::args::{self, ArgsError, Opt, Parsed, Takes, key_values};
use crate::client::error::ClientError;
use crate::client::log;
use crate::client::producer::Producer;
use crate::client::producer_batch::Callback;
use crate::client::producer_options::ProducerRecord;
use crate::client::settings::{Settings, host_and_port};
use crate::kafka::line_reader::LineReader;

const CALLBACK: &str = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback";
const LINE_READER: &str = "kafka.tools.ConsoleProducer$LineMessageReader";
/// Lines that may wait to be made into records.
const QUEUED_LINES: usize = 1024;

const OPTIONS: &[Opt] = &[
    Opt::of_type(
        "batch-size",
        "Integer",
        "size",
        "Bytes of a batch (batch.size); max-partition-memory-bytes wins over it.",
    )
    .or("16384"),
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED unless --broker-list is given: the brokers to connect to, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text(
        "broker-list",
        "broker-list",
        "DEPRECATED: use --bootstrap-server.",
    ),
    Opt {
        name: "compression-codec",
        takes: Takes::Optional("String", "compression-codec"),
        default: None,
        help: "Compress with 'none', 'gzip', 'snappy', 'lz4' or 'zstd'; 'gzip' when no name follows.",
    },
    Opt::flag("help", "Print usage information."),
    Opt::text(
        "line-reader",
        "reader_class",
        "How standard input is read; there is one way.",
    )
    .or(LINE_READER),
    Opt::of_type(
        "max-block-ms",
        "Long",
        "max block on send",
        "How long to wait for metadata, in ms (max.block.ms).",
    )
    .or("60000"),
    Opt::of_type(
        "max-memory-bytes",
        "Long",
        "total memory in bytes",
        "Bytes that may wait to be sent (buffer.memory).",
    )
    .or("33554432"),
    Opt::of_type(
        "max-partition-memory-bytes",
        "Integer",
        "memory in bytes per partition",
        "Bytes of a batch (batch.size).",
    )
    .or("16384"),
    Opt::of_type(
        "message-send-max-retries",
        "Integer",
        "",
        "How often a batch is tried again (retries).",
    )
    .or("3"),
    Opt::of_type(
        "metadata-expiry-ms",
        "Long",
        "metadata expiration interval",
        "Age at which metadata is asked for again, in ms.",
    )
    .or("300000"),
    Opt::text(
        "producer-property",
        "producer_prop",
        "A setting of the producer, as key=value.",
    ),
    Opt::text(
        "producer.config",
        "config file",
        "Property file with settings of the producer; --producer-property wins over it.",
    ),
    Opt::text(
        "property",
        "prop",
        "A setting of the line reader, as key=value:\n parse.key=false\n parse.headers=false\n ignore.error=false\n key.separator=\\t\n headers.delimiter=\\t\n headers.separator=,\n headers.key.separator=:\n null.marker=   text that stands for null\nWith parse.headers and parse.key a line is\n \"h1:v1,h2:v2...\\tkey\\tvalue\"",
    ),
    Opt::text(
        "reader-config",
        "config file",
        "Property file with settings of the line reader; --property wins over it.",
    ),
    Opt::text(
        "request-required-acks",
        "request required acks",
        "Which replicas must have a record before it counts (acks).",
    )
    .or("-1"),
    Opt::of_type(
        "request-timeout-ms",
        "Integer",
        "request timeout ms",
        "How long to wait for an answer, in ms.",
    )
    .or("1500"),
    Opt::of_type(
        "retry-backoff-ms",
        "Long",
        "",
        "Pause before a batch is tried again, in ms.",
    )
    .or("100"),
    Opt::of_type(
        "socket-buffer-size",
        "Integer",
        "size",
        "Bytes of the send buffer; left to the system.",
    )
    .or("102400"),
    Opt::flag("sync", "Wait for each record before the next one is read."),
    Opt::of_type(
        "timeout",
        "Long",
        "timeout_ms",
        "How long a batch may wait for more records, in ms (linger.ms).",
    )
    .or("1000"),
    Opt::text("topic", "topic", "REQUIRED: the topic to write to."),
    Opt::flag("version", "Display Kafka version."),
];

/// Options that are settings of the producer: option, setting, whether it is a number.
const SETTINGS: [(&str, &str, bool); 10] = [
    ("timeout", "linger.ms", true),
    ("request-required-acks", "acks", false),
    ("request-timeout-ms", "request.timeout.ms", true),
    ("message-send-max-retries", "retries", true),
    ("retry-backoff-ms", "retry.backoff.ms", true),
    ("socket-buffer-size", "send.buffer.bytes", true),
    ("max-memory-bytes", "buffer.memory", true),
    ("batch-size", "batch.size", true),
    ("max-partition-memory-bytes", "batch.size", true),
    ("metadata-expiry-ms", "metadata.max.age.ms", true),
];

/// Why the tool stops.
enum Stop {
    /// Message and help on standard error.
    Usage(String),
    /// A message on standard error.
    Message(String),
    /// Java's stack trace on standard error.
    Error(ClientError),
    /// The version on standard output.
    Version,
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

impl From<ArgsError> for Stop {
    fn from(error: ArgsError) -> Self {
        Self::Message(error.to_string())
    }
}

/// Runs the tool; returns its exit code.
pub async fn run(arguments: &[String]) -> i32 {
    match produce(arguments).await {
        Ok(()) => 0,
        Err(Stop::Usage(message)) => {
            eprint!("{message}\n{}", args::help(OPTIONS));
            1
        }
        Err(Stop::Message(message)) => {
            eprintln!("{message}");
            1
        }
        Err(Stop::Error(error)) => {
            eprintln!("{}", error.trace());
            1
        }
        Err(Stop::Version) => {
            println!("3.7.1");
            0
        }
    }
}

async fn produce(arguments: &[String]) -> Result<(), Stop> {
    let options = check(arguments)?;
    let producer = Producer::new(&settings(&options)?).await?;
    let result = feed(&producer, &options).await;
    producer.close().await;
    result
}

fn check(arguments: &[String]) -> Result<Parsed, Stop> {
    let usage = |message: String| Stop::Usage(message);
    let options = Parsed::parse(OPTIONS, arguments).map_err(|error| usage(error.to_string()))?;
    let asks = options.has("help") || options.has("version");
    if !asks && !options.has("bootstrap-server") && !options.has("broker-list") {
        return Err(usage(
            "Missing required option(s) [bootstrap-server]".to_owned(),
        ));
    }
    if options.has("help") {
        let what = "This tool helps to read data from standard input and publish it to Kafka.";
        return Err(usage(what.to_owned()));
    }
    if options.has("version") {
        return Err(Stop::Version);
    }
    if !options.has("topic") {
        return Err(usage("Missing required argument \"[topic]\"".to_owned()));
    }
    if !servers(&options)?
        .split(',')
        .all(|url| host_and_port(url).is_some())
    {
        let message = "Please provide valid host:port like host1:9091,host2:9092\n ";
        return Err(usage(message.to_owned()));
    }
    Ok(options)
}

fn servers(options: &Parsed) -> Result<&str, ArgsError> {
    let option = if options.has("bootstrap-server") {
        "bootstrap-server"
    } else {
        "broker-list"
    };
    Ok(options.value(option)?.unwrap_or_default())
}

/// Reads the property file that an option names.
pub(crate) fn file_settings(options: &Parsed, option: &str) -> Result<Settings, ClientError> {
    let wrong = |error: ArgsError| ClientError::Other(error.exception(), error.to_string());
    let Some(path) = options.value(option).map_err(wrong)? else {
        return Ok(Settings::default());
    };
    let missing = |_| ClientError::Other("java.nio.file.NoSuchFileException", path.to_owned());
    Settings::parse(&std::fs::read(path).map_err(missing)?)
}

fn settings(options: &Parsed) -> Result<Settings, Stop> {
    let mut settings = file_settings(options, "producer.config")?;
    settings.extend(key_values(options.values("producer-property")));
    settings.set("bootstrap.servers", servers(options)?);
    let codec = match (
        options.has("compression-codec"),
        options.value("compression-codec")?,
    ) {
        (false, _) => "none",
        (true, None | Some("")) => "gzip",
        (true, Some(codec)) => codec,
    };
    settings.set("compression.type", codec);
    settings.set_default("client.id", "console-producer");
    let all = SETTINGS
        .iter()
        .chain([&("max-block-ms", "max.block.ms", true)]);
    for (option, setting, is_number) in all {
        // What is given wins over the file, and the file over the option's default.
        if options.has(option) || settings.get(setting).is_none() {
            if *is_number {
                options.number::<i64>(option)?;
            }
            settings.set(setting, options.value(option)?.unwrap_or_default());
        }
    }
    Ok(settings)
}

async fn feed(producer: &Producer, options: &Parsed) -> Result<(), Stop> {
    let class = options.value("line-reader")?.unwrap_or(LINE_READER);
    if class != LINE_READER {
        let exception = "java.lang.ClassNotFoundException";
        return Err(ClientError::Other(exception, class.to_owned()).into());
    }
    let mut properties = file_settings(options, "reader-config")?;
    properties.extend(key_values(options.values("property")));
    let topic = options.value("topic")?.unwrap_or_default();
    let mut reader = LineReader::new(topic, properties.all())?;
    let sync = options.has("sync");
    let mut lines = read_lines();
    while let Some(line) = lines.recv().await {
        let record = reader.record(&line)?;
        if sync {
            send_and_wait(producer, record).await?;
        } else {
            let callback = logging_callback(&record);
            producer.send(record, callback).await;
        }
    }
    Ok(())
}

async fn send_and_wait(producer: &Producer, record: ProducerRecord) -> Result<(), ClientError> {
    let (sender, receiver) = oneshot::channel();
    let callback = move |result| {
        // The receiver waits below.
        let _ = sender.send(result);
    };
    producer.send(record, Box::new(callback)).await;
    producer.flush().await;
    match receiver.await {
        Ok(Err(error)) => Err(ClientError::Other(
            "java.util.concurrent.ExecutionException",
            format!("{0}\nCaused by: {0}", error.trace()),
        )),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

fn logging_callback(record: &ProducerRecord) -> Callback {
    let topic = record.topic.clone();
    let size = |bytes: &Option<bytes::Bytes>| match bytes {
        Some(bytes) => format!("{} bytes", bytes.len()),
        None => "null".to_owned(),
    };
    let (key, value) = (size(&record.key), size(&record.value));
    Box::new(move |result| {
        if let Err(error) = result {
            let message = format!(
                "Error when sending message to topic {topic} with key: {key}, value: {value} \
                 with error:"
            );
            log::error(CALLBACK, &message);
            eprintln!("{}", error.trace());
        }
    })
}

/// Lines of standard input, read by a thread; a prompt is shown when a person types them.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(QUEUED_LINES);
    std::thread::spawn(move || {
        let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        loop {
            if prompt {
                print!(">");
                // A terminal that is gone ends the input as well.
                let _ = std::io::stdout().flush();
            }
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let text = String::from_utf8_lossy(text).into_owned();
            if sender.blocking_send(text).is_err() {
                return;
            }
        }
    });
    receiver
}
