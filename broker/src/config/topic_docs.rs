//! Pure: what each topic key means, in a sentence of our own.

/// The sentence for DescribeConfigs, version 3 and later.
pub fn documentation(key: &str) -> Option<&'static str> {
    DOCS.iter()
        .find(|(name, _)| *name == key)
        .map(|(_, text)| *text)
}

#[rustfmt::skip]
const DOCS: &[(&str, &str)] = &[
    ("cleanup.policy", "What becomes of old segments: \"delete\" drops them by age and size, \"compact\" keeps the last value of each key; both may be given."),
    ("compression.type", "The codec of stored batches; \"producer\" keeps what the producer used, \"uncompressed\" unpacks."),
    ("delete.retention.ms", "How long a tombstone stays in a compacted topic, in ms, so that late readers still see the deletion."),
    ("file.delete.delay.ms", "How long a file stays on disk after its segment was deleted, in ms."),
    ("flush.messages", "Force the log to disk after this many messages; left to the operating system by default."),
    ("flush.ms", "Force the log to disk after this time, in ms; left to the operating system by default."),
    ("follower.replication.throttled.replicas", "Replicas whose follower side is slowed down: partition:broker pairs, or * for all."),
    ("index.interval.bytes", "Bytes of log between two entries of the offset index."),
    ("leader.replication.throttled.replicas", "Replicas whose leader side is slowed down: partition:broker pairs, or * for all."),
    ("local.retention.bytes", "With tiered storage, how many bytes of a partition stay on local disks; -2 means retention.bytes."),
    ("local.retention.ms", "With tiered storage, how long segments stay on local disks, in ms; -2 means retention.ms."),
    ("max.compaction.lag.ms", "The longest time that a message of a compacted topic may wait for compaction, in ms."),
    ("max.message.bytes", "The largest record batch that is accepted, in bytes after compression."),
    ("message.downconversion.enable", "Whether old consumers get batches converted to their format."),
    ("message.format.version", "Deprecated: the format of stored messages follows the inter-broker protocol version."),
    ("message.timestamp.after.max.ms", "How far ahead of the broker's clock a message's own timestamp may be, in ms."),
    ("message.timestamp.before.max.ms", "How far behind the broker's clock a message's own timestamp may be, in ms."),
    ("message.timestamp.difference.max.ms", "Deprecated: how far a message's own timestamp may differ from the broker's clock, in ms."),
    ("message.timestamp.type", "Whether a message keeps its own timestamp (CreateTime) or gets the broker's (LogAppendTime)."),
    ("min.cleanable.dirty.ratio", "The uncompacted share of a log from which compaction starts."),
    ("min.compaction.lag.ms", "How long a message stays uncompacted at least, in ms."),
    ("min.insync.replicas", "How many replicas must be in sync for a produce request with acks=all to be accepted."),
    ("preallocate", "Whether the file of a new segment gets its full size at once."),
    ("remote.storage.enable", "Whether old segments move to tiered storage."),
    ("retention.bytes", "How many bytes a partition keeps before old segments are deleted; -1 means any number."),
    ("retention.ms", "How long messages are kept before their segments are deleted, in ms; -1 means for ever."),
    ("segment.bytes", "The size at which a segment is closed and a new one begun, in bytes."),
    ("segment.index.bytes", "The largest size of an index file, in bytes."),
    ("segment.jitter.ms", "At most this much, chosen by chance, is taken off segment.ms, so that segments do not all end at once, in ms."),
    ("segment.ms", "The age at which a segment is closed even if it is not full, in ms."),
    ("unclean.leader.election.enable", "Whether a replica that is not in sync may become leader when no other is left, at the price of losing messages."),
];
