//! Pure: settings of a consumer.

use std::time::Duration;

use bytestring::ByteString;

use crate::client::error::ClientError;
use crate::client::group::GroupOptions;
use crate::client::offsets::{EARLIEST, LATEST};
use crate::client::settings::Settings;

/// Settings of a consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Where to start without a position; `None` is an error.
    pub reset: Option<i64>,
    /// How often positions are committed, if at all.
    pub auto_commit: Option<Duration>,
    /// Whether records of open and aborted transactions are left out.
    pub read_committed: bool,
    /// How often topics are looked at again.
    pub metadata_max_age: Duration,
    /// How long a broker may wait for records.
    pub max_wait_ms: i32,
    /// Bytes that a broker waits for.
    pub min_bytes: i32,
    /// The most bytes of an answer.
    pub max_bytes: i32,
    /// The most bytes of a partition in an answer.
    pub partition_max_bytes: i32,
    /// Whether patterns pass over internal topics.
    pub exclude_internal: bool,
    /// Whether asking for a topic may create it.
    pub auto_create: bool,
    /// Rack of this consumer.
    pub rack: ByteString,
}

impl ConsumerOptions {
    /// Reads and checks them.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn read(settings: &Settings) -> Result<Self, ClientError> {
        let words = ["latest", "earliest", "none"];
        let reset = match settings
            .word("auto.offset.reset", &words, "latest")?
            .as_str()
        {
            "latest" => Some(LATEST),
            "earliest" => Some(EARLIEST),
            _ => None,
        };
        let levels = ["read_committed", "read_uncommitted"];
        let level = settings.word("isolation.level", &levels, "read_uncommitted")?;
        let interval = settings.millis("auto.commit.interval.ms", 5000)?;
        let auto_commit = settings.flag("enable.auto.commit", true)?;
        Ok(Self {
            reset,
            auto_commit: auto_commit.then_some(interval),
            read_committed: level == "read_committed",
            metadata_max_age: settings.millis("metadata.max.age.ms", 300_000)?,
            max_wait_ms: settings.number("fetch.max.wait.ms", 500, 0)?,
            min_bytes: settings.number("fetch.min.bytes", 1, 0)?,
            max_bytes: settings.number("fetch.max.bytes", 52_428_800, 0)?,
            partition_max_bytes: settings.number("max.partition.fetch.bytes", 1_048_576, 0)?,
            exclude_internal: settings.flag("exclude.internal.topics", true)?,
            auto_create: settings.flag("allow.auto.create.topics", true)?,
            rack: settings.text("client.rack", "").into(),
        })
    }
}

/// Reads and checks the settings of a group's member.
///
/// # Errors
/// [`ClientError::Config`].
pub fn group_options(settings: &Settings) -> Result<GroupOptions, ClientError> {
    let classes = settings.text(
        "partition.assignment.strategy",
        "org.apache.kafka.clients.consumer.RangeAssignor,\
         org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    );
    let mut assignors = Vec::new();
    for class in classes.split(',').map(str::trim) {
        assignors.push(match class.rsplit('.').next() {
            Some("RangeAssignor") => "range".to_owned(),
            Some("CooperativeStickyAssignor") => "cooperative-sticky".to_owned(),
            _ => {
                let message = format!(
                    "Invalid value {class} for configuration partition.assignment.strategy: this \
                     tool has RangeAssignor and CooperativeStickyAssignor"
                );
                return Err(ClientError::Config(message));
            }
        });
    }
    Ok(GroupOptions {
        group: settings.text("group.id", "").into(),
        instance_id: settings.get("group.instance.id").map(ByteString::from),
        session_timeout: settings.millis("session.timeout.ms", 45_000)?,
        rebalance_timeout: settings.millis("max.poll.interval.ms", 300_000)?,
        heartbeat_interval: settings.millis("heartbeat.interval.ms", 3000)?,
        assignors,
        rack: settings.get("client.rack").map(ByteString::from),
    })
}
