//! Pure: steps that each show one rule of a running log.

use super::steps::{Batch, Configs, Step, configs};

const HOUR_MS: i64 = 3_600_000;

fn create(topic: &str, keys: &[(&str, &str)]) -> Step {
    Step::Create(topic.to_owned(), configs(keys))
}

fn configure(topic: &str, changes: Configs) -> Step {
    Step::Configure(topic.to_owned(), changes)
}

fn produce(topic: &str, value_bytes: usize, timestamp: i64) -> Step {
    Step::Produce(topic.to_owned(), Batch::one(value_bytes, timestamp))
}

fn keyed(topic: &str, value_bytes: usize, timestamp: i64) -> Step {
    let key = Some("key");
    let batch = Batch {
        key,
        ..Batch::one(value_bytes, timestamp)
    };
    Step::Produce(topic.to_owned(), batch)
}

fn starts_at(topic: &str, offset: i64) -> Step {
    Step::StartsAt(topic.to_owned(), offset)
}

/// Some batches of about 350 bytes.
fn fill(topic: &str, count: usize, timestamp: i64) -> Vec<Step> {
    vec![produce(topic, 280, timestamp); count]
}

/// What needs no timer: rolling, preallocation, live changes of what an append goes by.
pub fn before_the_timers(now: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    rolling(now, &mut steps);
    rolling_by_time(now, &mut steps);
    changes(now, &mut steps);
    steps.push(Step::Settle("rolling, preallocation, changes"));
    steps
}

fn rolling(now: i64, steps: &mut Vec<Step>) {
    steps.push(create("size", &[("segment.bytes", "1000")]));
    steps.extend(fill("size", 9, now));
    // Exactly as large as a segment, and a byte more.
    steps.push(produce("size", 930, now));
    steps.push(produce("size", 931, now));
    steps.push(produce("size", 929, now));
    let dense = [("segment.index.bytes", "24"), ("index.interval.bytes", "0")];
    steps.push(create("index-full", &dense));
    for number in 0..12 {
        steps.push(produce("index-full", 20, now + number));
    }
    // Only its time index is never full, since time stands still.
    steps.push(create("still", &dense));
    steps.extend(vec![produce("still", 20, now); 12]);
    // With less than room for an entry Apache's broker makes no log, and does not start again with one; ours keeps the records.
    steps.push(create("no-index", &[("segment.index.bytes", "12")]));
    steps.extend(fill("no-index", 4, now));
    steps.push(create("sparse", &[("index.interval.bytes", "1000")]));
    steps.extend(fill("sparse", 20, now));
    // Sequences over several segments, whose starts have snapshots.
    steps.push(create("producers", &[("segment.bytes", "1000")]));
    for sequence in 0..5 {
        for producer_id in [7000, 7001] {
            let producer = Some((producer_id, sequence * 2));
            let batch = Batch {
                count: 2,
                producer,
                ..Batch::one(100, now)
            };
            steps.push(Step::Produce("producers".to_owned(), batch));
        }
    }
    let refused = [("segment.bytes", "1000"), ("max.message.bytes", "800")];
    steps.push(create("refused", &refused));
    steps.push(produce("refused", 720, now));
    steps.push(produce("refused", 750, now));
    steps.push(configure(
        "refused",
        configs(&[("max.message.bytes", "5000")]),
    ));
    steps.push(produce("refused", 750, now));
    steps.push(produce("refused", 950, now));
    steps.push(configure(
        "refused",
        vec![("max.message.bytes".to_owned(), None)],
    ));
    steps.push(configure("refused", configs(&[("segment.bytes", "2000")])));
    steps.push(produce("refused", 950, now));
}

fn rolling_by_time(now: i64, steps: &mut Vec<Step>) {
    steps.push(create("by-time", &[("segment.ms", "10000")]));
    for later in [0, 10_000, 10_001, 5, 20_001, 20_002, -HOUR_MS, -1 - now] {
        steps.push(produce("by-time", 50, now + later));
    }
    steps.push(produce("by-time", 50, now + 40_000));
    let jitter = [("segment.ms", "10000"), ("segment.jitter.ms", "5000")];
    steps.push(create("jitter", &jitter));
    for later in [0, 5_000, 10_001, 15_000, 20_002] {
        steps.push(produce("jitter", 50, now + later));
    }
    steps.push(create("no-time", &[("segment.ms", "500")]));
    steps.push(produce("no-time", 50, -1));
    let own = [
        ("segment.ms", "400"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    steps.push(create("stamped", &own));
    steps.push(produce("stamped", 50, 5));
    steps.push(Step::Pause(800));
    // The clock counts where records have no time, and where it is their time.
    steps.push(produce("no-time", 50, -1));
    steps.push(produce("no-time", 50, -1));
    steps.push(produce("stamped", 50, 5));
    steps.push(Step::Segments("stamped".to_owned(), 2));
    steps.push(Step::Segments("no-time".to_owned(), 2));
}

fn changes(now: i64, steps: &mut Vec<Step>) {
    let room = [("preallocate", "true"), ("segment.bytes", "3000")];
    steps.push(create("room", &room));
    steps.extend(fill("room", 2, now));
    steps.push(configure("room", configs(&[("segment.bytes", "5000")])));
    steps.extend(fill("room", 20, now));
    steps.push(configure("room", configs(&[("preallocate", "false")])));
    steps.extend(fill("room", 20, now));
    steps.push(configure("room", configs(&[("preallocate", "true")])));
    steps.extend(fill("room", 12, now));
    steps.push(create("room-empty", &room));
    // Whose time counts may change while records are there.
    steps.push(create("turned", &[]));
    steps.push(produce("turned", 50, now - HOUR_MS));
    steps.push(configure(
        "turned",
        configs(&[("message.timestamp.type", "LogAppendTime")]),
    ));
    steps.push(produce("turned", 50, now - HOUR_MS));
    steps.push(configure(
        "turned",
        configs(&[("message.timestamp.type", "CreateTime")]),
    ));
    steps.push(produce("turned", 50, now + HOUR_MS));
    steps.push(create("policy", &[]));
    steps.push(produce("policy", 50, now));
    steps.push(configure(
        "policy",
        configs(&[("cleanup.policy", "compact")]),
    ));
    steps.push(produce("policy", 50, now));
    steps.push(keyed("policy", 50, now));
    let window = [
        ("message.timestamp.before.max.ms", "600000"),
        ("message.timestamp.after.max.ms", "600000"),
    ];
    steps.push(configure("policy", configs(&window)));
    for later in [-HOUR_MS, HOUR_MS, 0] {
        steps.push(keyed("policy", 50, now + later));
    }
    steps.push(configure(
        "policy",
        configs(&[("message.format.version", "0.10.2")]),
    ));
    steps.push(keyed("policy", 50, now));
    for (key, value) in [
        ("min.insync.replicas", "2"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("segment.bytes", "13"),
        ("no.such.key", "1"),
    ] {
        steps.push(configure("policy", configs(&[(key, value)])));
        steps.push(keyed("policy", 50, now));
    }
}

/// What timers do: retention, flushing, checkpoints, removal of files.
pub fn with_timers(now: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    retention_by_time(now, &mut steps);
    retention_otherwise(now, &mut steps);
    // Records and their deletion meet in one topic again and again.
    steps.push(Step::Delete("size".to_owned()));
    steps.push(create("size", &[("segment.bytes", "1000")]));
    steps.extend(fill("size", 4, now));
    steps.push(create("flushed", &[("flush.messages", "3")]));
    steps.extend(fill("flushed", 7, now));
    steps.push(create("flushed-by-time", &[("flush.ms", "100")]));
    steps.extend(fill("flushed-by-time", 7, now));
    steps.push(create("lag", &[("cleanup.policy", "compact")]));
    for _ in 0..3 {
        steps.push(keyed("lag", 50, now));
    }
    steps.push(configure(
        "lag",
        configs(&[("max.compaction.lag.ms", "1000")]),
    ));
    steps.push(keyed("lag", 50, now + 1001));
    steps.push(starts_at("lag", 0));
    steps.push(Step::Settle("retention, flushing, checkpoints"));
    // What was to be kept until now goes at once.
    steps.push(configure("mixed", configs(&[("retention.ms", "0")])));
    steps.push(configure("policy", configs(&[("retention.ms", "1")])));
    steps.push(configure(
        "by-size",
        vec![("retention.bytes".to_owned(), None)],
    ));
    steps.extend(fill("by-size", 5, now));
    steps.push(configure("by-size", configs(&[("retention.bytes", "0")])));
    steps.push(starts_at("by-size", 15));
    steps.push(Step::Settle("changed retention"));
    steps
}

fn retention_by_time(now: i64, steps: &mut Vec<Step>) {
    let hour = [("segment.bytes", "1000"), ("retention.ms", "3600000")];
    steps.push(create("aged", &hour));
    steps.extend(fill("aged", 6, now - 2 * HOUR_MS));
    // All go, so that the log goes on with an empty segment.
    steps.push(starts_at("aged", 6));
    steps.extend(fill("aged", 3, now - 2 * HOUR_MS));
    steps.push(starts_at("aged", 9));
    steps.extend(fill("aged", 3, now));
    let far = [("segment.bytes", "1000"), ("retention.ms", "1")];
    steps.push(create("future", &far));
    steps.extend(fill("future", 5, now + 24 * HOUR_MS));
    // What is old stays behind what is not.
    let short = configs(&[("retention.ms", "3600000")]);
    steps.push(create("mixed", &[("segment.bytes", "1000")]));
    steps.extend(fill("mixed", 2, now - 2 * HOUR_MS));
    steps.extend(fill("mixed", 2, now));
    steps.extend(fill("mixed", 4, now - 2 * HOUR_MS));
    steps.push(configure("mixed", short.clone()));
    steps.push(starts_at("mixed", 2));
    steps.push(configure("stamped", configs(&[("retention.ms", "300")])));
    steps.push(starts_at("stamped", 2));
    // Where records have no time the file's counts.
    steps.push(configure("no-time", configs(&[("retention.ms", "300")])));
    steps.push(starts_at("no-time", 3));
    let slow = [
        ("segment.bytes", "1000"),
        ("file.delete.delay.ms", "3600000"),
    ];
    steps.push(create("slow", &slow));
    steps.extend(fill("slow", 5, now - 2 * HOUR_MS));
    steps.push(configure("slow", short));
    steps.push(starts_at("slow", 5));
}

fn retention_otherwise(now: i64, steps: &mut Vec<Step>) {
    let size = [("segment.bytes", "1000"), ("retention.bytes", "1500")];
    steps.push(create("by-size", &size));
    steps.extend(fill("by-size", 10, now));
    steps.push(starts_at("by-size", 4));
    steps.push(create("cut", &[("segment.bytes", "1000")]));
    steps.extend(fill("cut", 9, now));
    for offset in [3, 2, 100, -2, 9, 10, -1] {
        steps.push(Step::DeleteRecords("cut".to_owned(), offset));
    }
    // Nothing of it is left, so that the log goes on in a new segment.
    steps.push(Step::Settle("all records deleted"));
    steps.extend(fill("cut", 3, now));
    steps.push(Step::DeleteRecords("cut".to_owned(), 10));
    let both = [
        ("cleanup.policy", "compact,delete"),
        ("segment.bytes", "1000"),
        ("retention.ms", "3600000"),
    ];
    steps.push(create("both", &both));
    steps.extend(vec![keyed("both", 280, now - 2 * HOUR_MS); 5]);
    steps.push(starts_at("both", 5));
    let compact = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1000"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "100"),
    ];
    steps.push(create("kept", &compact));
    steps.extend(vec![keyed("kept", 280, now - 2 * HOUR_MS); 7]);
    steps.push(Step::DeleteRecords("kept".to_owned(), 3));
}

/// What goes on where it was left.
pub fn after_a_restart(now: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    for topic in ["size", "index-full", "room", "room-empty", "cut", "aged"] {
        steps.extend(fill(topic, 3, now));
    }
    for sequence in [10, 12] {
        let producer = Some((7000, sequence));
        let batch = Batch {
            count: 2,
            producer,
            ..Batch::one(100, now)
        };
        steps.push(Step::Produce("producers".to_owned(), batch));
    }
    steps.push(produce("by-time", 50, now + 50_001));
    steps.push(Step::Settle("appends after a restart"));
    steps
}
