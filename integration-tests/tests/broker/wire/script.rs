//! Pure: a script of requests from a seed: what is produced, fetched and asked for, in every version.

use bytes::Bytes;
use integration_tests::requests::Random;
use integration_tests::talk::versions;
use kafka_wire::api_key::ApiKey;

use super::batches::{self, Sent, TIME_MS};

/// A topic of the script.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// Its configuration.
    pub configs: &'static [(&'static str, &'static str)],
    /// Whether the broker packs batches anew, so that sizes depend on its codec library.
    pub repacks: bool,
}

const fn topic(
    name: &'static str,
    configs: &'static [(&'static str, &'static str)],
    repacks: bool,
) -> Topic {
    Topic {
        name,
        configs,
        repacks,
    }
}

/// The topics, each with [`PARTITIONS`] partitions.
pub const TOPICS: &[Topic] = &[
    topic("plain", &[], false),
    topic("wrapped", &[], true),
    topic("gzip", &[("compression.type", "gzip")], true),
    topic("snappy", &[("compression.type", "snappy")], true),
    topic("lz4", &[("compression.type", "lz4")], true),
    topic("zstd", &[("compression.type", "zstd")], true),
    topic("unpacked", &[("compression.type", "uncompressed")], false),
    topic(
        "append-time",
        &[("message.timestamp.type", "LogAppendTime")],
        false,
    ),
    topic(
        "append-time-snappy",
        &[
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "snappy"),
        ],
        true,
    ),
    topic(
        "window",
        &[
            ("message.timestamp.before.max.ms", "3600000"),
            ("message.timestamp.after.max.ms", "3600000"),
        ],
        false,
    ),
    topic(
        "difference",
        &[("message.timestamp.difference.max.ms", "3600000")],
        false,
    ),
    topic(
        "before",
        &[
            ("message.timestamp.before.max.ms", "1000000000000"),
            ("message.timestamp.after.max.ms", "60000"),
            ("message.timestamp.difference.max.ms", "3600000"),
        ],
        false,
    ),
    topic("compacted", &[("cleanup.policy", "compact")], false),
    topic(
        "both",
        &[
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "lz4"),
        ],
        true,
    ),
    topic("small", &[("max.message.bytes", "300")], false),
    topic("short", &[("segment.bytes", "400")], false),
    topic(
        "tiny",
        &[
            ("segment.bytes", "1000"),
            ("segment.index.bytes", "24"),
            ("index.interval.bytes", "0"),
        ],
        false,
    ),
    topic(
        "as-it-is",
        &[("message.downconversion.enable", "false")],
        false,
    ),
    topic(
        "old",
        &[
            ("message.format.version", "0.10.0"),
            ("compression.type", "gzip"),
        ],
        true,
    ),
];

/// Partitions of each topic.
pub const PARTITIONS: u64 = 2;

/// A partition, by its topic's place in [`TOPICS`]; beyond them there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
}

impl Place {
    /// The topic's name.
    pub fn name(self) -> &'static str {
        TOPICS.get(self.topic).map_or("nothere", |topic| topic.name)
    }

    fn repacks(self) -> bool {
        TOPICS.get(self.topic).is_some_and(|topic| topic.repacks)
    }

    /// Whether packed message sets may be sent there, which brokers pack anew.
    fn takes_wrappers(self) -> bool {
        self.repacks() || self.name() == "unpacked"
    }
}

/// What to read from a partition.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The partition.
    pub place: Place,
    /// From this offset.
    pub offset: i64,
    /// This many bytes.
    pub max_bytes: i32,
    /// The leader epoch the client knows.
    pub current_leader_epoch: i32,
    /// The epoch of the record before the offset.
    pub last_fetched_epoch: i32,
}

/// One request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Produce.
    Produce {
        /// Version.
        version: i16,
        /// -1, 0, 1 or something else.
        acks: i16,
        /// What goes where.
        data: Vec<(Place, Sent)>,
    },
    /// Fetch outside of sessions, or the next one of the session if there is one.
    Fetch {
        /// Version.
        version: i16,
        /// For all partitions.
        max_bytes: i32,
        /// Whether it waits for so many.
        min_bytes: i32,
        /// Isolation.
        isolation_level: i8,
        /// -1 or -2.
        replica_id: i32,
        /// From where.
        wanted: Vec<Wanted>,
        /// No session, opening one, next, or what never fits.
        session: Session,
        /// No longer of interest.
        forgotten: Vec<Place>,
    },
    /// ListOffsets.
    List {
        /// Version.
        version: i16,
        /// -1 or -2.
        replica_id: i32,
        /// Isolation.
        isolation_level: i8,
        /// Partition, leader epoch, time.
        asked: Vec<(Place, i32, i64)>,
    },
    /// DeleteRecords.
    Delete {
        /// Version.
        version: i16,
        /// Partition and offset.
        asked: Vec<(Place, i64)>,
    },
    /// OffsetForLeaderEpoch.
    Epochs {
        /// Version.
        version: i16,
        /// Partition, current epoch, epoch.
        asked: Vec<(Place, i32, i32)>,
    },
}

/// Where a fetch stands in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Without one.
    None,
    /// A new one.
    Open,
    /// The next request of the one that is open, if one is.
    Next,
    /// With an epoch that does not follow.
    Wrong,
    /// The last request of it.
    Close,
}

/// Makes a script.
pub fn script(seed: u64, steps: usize, now_ms: i64) -> Vec<Step> {
    let mut random = Random::new(seed);
    (0..steps).map(|_| step(&mut random, now_ms)).collect()
}

fn version(random: &mut Random, key: ApiKey) -> i16 {
    let versions: Vec<i16> = versions(key).collect();
    random.pick(&versions)
}

fn place(random: &mut Random) -> Place {
    let topics = TOPICS.len() as u64;
    let topic = match random.below(40) {
        0 => topics,
        1..=8 => 0,
        _ => random.below(topics),
    };
    let partition = match random.below(40) {
        0 => 7,
        _ => i32::try_from(random.below(PARTITIONS)).unwrap_or(0),
    };
    Place {
        topic: usize::try_from(topic).unwrap_or(0),
        partition,
    }
}

/// Up to `limit` different partitions, those of a topic side by side.
fn places(random: &mut Random, limit: u64) -> Vec<Place> {
    let count = 1 + random.below(limit);
    let mut places: Vec<Place> = (0..count).map(|_| place(random)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn offset(random: &mut Random) -> i64 {
    match random.below(14) {
        0 => -1,
        1 => 1_000_000,
        2 => i64::MAX,
        3 => -2,
        4..=6 => 0,
        _ => i64::try_from(random.below(40)).unwrap_or(0),
    }
}

fn step(random: &mut Random, now_ms: i64) -> Step {
    match random.below(20) {
        0..=10 => produce(random, now_ms),
        11..=16 => fetch(random),
        17 | 18 => list(random, now_ms),
        _ if random.below(3) == 0 => delete(random),
        _ => epochs(random),
    }
}

fn produce(random: &mut Random, now_ms: i64) -> Step {
    let version = version(random, ApiKey::Produce);
    let data = places(random, 3)
        .into_iter()
        .map(|place| {
            let sent = batches::any(random, version, now_ms, place.takes_wrappers());
            (place, sent)
        })
        .collect();
    Step::Produce {
        version,
        acks: random.pick(&[-1, -1, -1, 1, 1, 1, 1, 0, 2, -2]),
        data,
    }
}

fn fetch(random: &mut Random) -> Step {
    let version = version(random, ApiKey::Fetch);
    let places = places(random, 4);
    // How many batches fit depends on the codec library where the broker packs, and converts, by itself.
    let exact = version > 3 && !places.iter().any(|place| place.repacks());
    let limits: &[i32] = if exact {
        &[0, 1, 60, 100, 200, 500, 1000, 1 << 20, -1, i32::MAX]
    } else {
        &[1 << 20]
    };
    let wanted: Vec<Wanted> = places
        .into_iter()
        .map(|place| Wanted {
            place,
            offset: offset(random),
            max_bytes: random.pick(limits),
            current_leader_epoch: random.pick(&[-1, -1, -1, -1, 0, 0, 4]),
            last_fetched_epoch: random.pick(&[-1, -1, -1, -1, 0, 3]),
        })
        .collect();
    let session = if version < 7 {
        Session::None
    } else {
        use Session::{Close, Next, None, Open, Wrong};
        random.pick(&[None, None, Open, Open, Next, Next, Next, Wrong, Close])
    };
    let forgotten = if session == Session::Next && random.below(2) == 0 {
        self::places(random, 3)
    } else {
        Vec::new()
    };
    let wanted = if matches!(session, Session::Next | Session::Close) && random.below(2) == 0 {
        Vec::new()
    } else {
        wanted
    };
    // In a session partitions of earlier requests are read as well.
    let limits = if session == Session::None {
        limits
    } else {
        &[1 << 20]
    };
    Step::Fetch {
        version,
        max_bytes: random.pick(limits),
        min_bytes: random.pick(&[0, 1, 1, 100, -1]),
        isolation_level: random.pick(&[0, 1]),
        replica_id: random.pick(&[-1, -1, -1, -2]),
        wanted,
        session,
        forgotten,
    }
}

fn list(random: &mut Random, now_ms: i64) -> Step {
    let version = version(random, ApiKey::ListOffsets);
    let times = [
        -1,
        -2,
        -3,
        -4,
        -5,
        0,
        1,
        TIME_MS - 1,
        TIME_MS,
        TIME_MS + 500,
        TIME_MS + 5000,
        now_ms,
        now_ms + 7_300_000,
        i64::MAX,
    ];
    // Version 0 looks at the times of files.
    let times = if version == 0 {
        &times[..2]
    } else {
        &times[..]
    };
    let asked = places(random, 3).into_iter().map(|place| {
        let epoch = if version >= 4 {
            random.pick(&[-1, -1, 0, 5])
        } else {
            -1
        };
        (place, epoch, random.pick(times))
    });
    Step::List {
        asked: asked.collect(),
        version,
        replica_id: random.pick(&[-1, -1, -2]),
        isolation_level: if version >= 2 {
            random.pick(&[0, 1])
        } else {
            0
        },
    }
}

fn delete(random: &mut Random) -> Step {
    Step::Delete {
        version: version(random, ApiKey::DeleteRecords),
        asked: places(random, 2)
            .into_iter()
            .map(|place| (place, random.pick(&[0, 1, 2, 5, 9, -1, -2, 100_000])))
            .collect(),
    }
}

fn epochs(random: &mut Random) -> Step {
    let version = version(random, ApiKey::OffsetForLeaderEpoch);
    let asked = places(random, 3).into_iter().map(|place| {
        let current = if version >= 2 {
            random.pick(&[-1, 0, 3])
        } else {
            -1
        };
        (place, current, random.pick(&[-1, 0, 0, 1, 9]))
    });
    Step::Epochs {
        asked: asked.collect(),
        version,
    }
}

/// The payloads of the batches of magic 2 that a script sends, to tell whether a broker has changed one.
pub fn payloads(steps: &[Step]) -> Vec<Bytes> {
    let sent = steps.iter().flat_map(|step| match step {
        Step::Produce { data, .. } => data.as_slice(),
        _ => &[],
    });
    sent.filter(|(_, sent)| sent.bytes.len() > 61)
        .map(|(_, sent)| {
            let length = sent.bytes[8..12]
                .first_chunk()
                .map_or(0, |length| i32::from_be_bytes(*length));
            let end = usize::try_from(length).unwrap_or(0).saturating_add(12);
            sent.bytes.slice(61..end.clamp(61, sent.bytes.len()))
        })
        .collect()
}
