//! Shell: the ways to spoil the files of a partition, by name.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::Codec;
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions};

use crate::spoiled::time_ms;

/// What spoils a partition.
pub type Spoil = fn(&mut Segments) -> Result<()>;

/// A partition's directory and the base offsets of its segments.
pub struct Segments {
    directory: PathBuf,
    bases: Vec<i64>,
}

impl Segments {
    /// Lists the segments of a directory.
    pub fn of(directory: &Path) -> Result<Self> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(digits) = name.strip_suffix(".log") {
                bases.push(digits.parse()?);
            }
        }
        bases.sort_unstable();
        anyhow::ensure!(bases.len() >= 4, "too few segments: {bases:?}");
        Ok(Self {
            directory: directory.to_owned(),
            bases,
        })
    }

    /// How long the last segment is.
    pub fn last_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(self.last("log"))?.len())
    }

    fn path(&self, base: i64, suffix: &str) -> PathBuf {
        self.directory.join(format!("{base:020}.{suffix}"))
    }

    fn middle(&self, suffix: &str) -> PathBuf {
        self.path(self.bases[self.bases.len() / 2], suffix)
    }

    fn first(&self, suffix: &str) -> PathBuf {
        self.path(self.bases[0], suffix)
    }

    fn last(&self, suffix: &str) -> PathBuf {
        self.path(self.bases[self.bases.len() - 1], suffix)
    }

    fn named(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn snapshots(&self) -> Result<Vec<PathBuf>> {
        self.ending(".snapshot")
    }

    fn ending(&self, suffix: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

fn cut(path: &Path, bytes: u64) -> Result<()> {
    let file = File::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    Ok(file.set_len(length.saturating_sub(bytes))?)
}

fn set_length(path: &Path, length: u64) -> Result<()> {
    Ok(File::options().write(true).open(path)?.set_len(length)?)
}

fn add(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::options().append(true).create(true).open(path)?;
    Ok(file.write_all(bytes)?)
}

fn put(path: &Path, position: u64, bytes: &[u8]) -> Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(position))?;
    Ok(file.write_all(bytes)?)
}

/// Flips the lowest bit of one byte.
fn flip(path: &Path, position: u64) -> Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(position))?;
    file.read_exact(&mut byte)?;
    put(path, position, &[byte[0] ^ 1])
}

fn noise(path: &Path) -> Result<()> {
    let length = usize::try_from(fs::metadata(path)?.len())?.min(4096);
    let noise: Vec<u8> = (0..length).map(|at| (at * 7919 % 251) as u8).collect();
    Ok(fs::write(path, noise)?)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| path.display().to_string())
}

/// Where the second batch of a file begins.
fn second_batch(path: &Path) -> Result<u64> {
    let bytes = fs::read(path)?;
    let length = u32::from_be_bytes(bytes[8..12].try_into()?);
    Ok(u64::from(length) + 12)
}

/// Raises the offsets of the second batch and the ones behind it by the first of some numbers, of the third by the second, and so on.
fn raise(path: &Path, by: &[i64]) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let mut at = 0;
    for number in 0.. {
        let Some(head) = bytes.get(at..at + 12) else {
            break;
        };
        let offset = i64::from_be_bytes(head[..8].try_into()?);
        let length = u32::from_be_bytes(head[8..].try_into()?);
        if number > 0 {
            let by = by[(number - 1).min(by.len() - 1)];
            bytes[at..at + 8].copy_from_slice(&(offset + by).to_be_bytes());
        }
        at += usize::try_from(length)? + 12;
    }
    Ok(fs::write(path, bytes)?)
}

/// Messages of an old format from `first` on, as an old broker has left them.
fn old_messages(magic: i8, codec: Codec, first: i64) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for set in 0..8 {
        let base_offset = first + set * 5;
        let mut builder = MessageSetBuilder::new(MessageSetOptions {
            magic,
            codec,
            base_offset,
            log_append_time: None,
        });
        for offset in base_offset..base_offset + 5 {
            let timestamp = time_ms() + offset * 700 - (offset % 3) * 900;
            let value = format!("old {offset} {}", "y".repeat(50));
            builder.push(offset, timestamp, Some(b"key"), Some(value.as_bytes()));
        }
        all.extend(builder.finish()?);
    }
    Ok(all)
}

/// Makes a log of an upgraded broker: old messages instead of everything, perhaps with batches of today behind them.
fn upgrade(segments: &Segments, old: &[Vec<u8>], and_batches: bool) -> Result<()> {
    let mut log = old.concat();
    if and_batches {
        let mut options = BatchBuilderOptions {
            base_offset: 100,
            partition_leader_epoch: 0,
            ..BatchBuilderOptions::default()
        };
        for _ in 0..3 {
            let mut builder = BatchBuilder::new(options);
            builder.append(time_ms() + 40_000, None, Some(b"new"));
            log.extend(builder.build());
            options.base_offset += 1;
        }
    }
    for path in segments.ending("")? {
        if path
            .file_name()
            .is_some_and(|name| name != "partition.metadata")
        {
            remove(&path)?;
        }
    }
    Ok(fs::write(segments.path(0, "log"), log)?)
}

/// Each of them is done to a partition of its own. None stops a broker.
pub const SPOILS: &[(&str, Spoil)] = &[
    ("nothing", |_| Ok(())),
    ("last log cut by a byte", |s| cut(&s.last("log"), 1)),
    ("last log cut by 30 bytes", |s| cut(&s.last("log"), 30)),
    ("last log cut within a header", |s| {
        let path = s.last("log");
        set_length(&path, second_batch(&path)? + 20)
    }),
    ("last log cut within a length", |s| {
        let path = s.last("log");
        set_length(&path, second_batch(&path)? + 9)
    }),
    ("last log empty", |s| set_length(&s.last("log"), 0)),
    ("last log missing", |s| remove(&s.last("log"))),
    ("zeros behind the last log", |s| {
        add(&s.last("log"), &[0; 5000])
    }),
    ("noise behind the last log", |s| {
        add(&s.last("log"), &[0x5a; 5000])
    }),
    ("a flipped record in the last log", |s| {
        flip(&s.last("log"), 70)
    }),
    ("a flipped checksum in the last log", |s| {
        flip(&s.last("log"), 18)
    }),
    ("a flipped epoch in the last log", |s| {
        flip(&s.last("log"), 15)
    }),
    ("a flipped timestamp in the last log", |s| {
        flip(&s.last("log"), 40)
    }),
    ("a flipped offset in the last log", |s| {
        let path = s.last("log");
        flip(&path, second_batch(&path)? + 7)
    }),
    ("an offset too far ahead in the last log", |s| {
        let path = s.last("log");
        put(&path, second_batch(&path)? + 3, &[1])
    }),
    ("offsets too far apart in the last log", |s| {
        raise(&s.last("log"), &[1 << 32])
    }),
    ("offsets too far apart without an index", |s| {
        raise(&s.last("log"), &[1 << 32])?;
        remove(&s.last("index"))
    }),
    ("offsets too far apart twice", |s| {
        raise(&s.last("log"), &[i64::from(i32::MAX), 1 << 34])
    }),
    ("offsets too far apart in a flipped batch", |s| {
        raise(&s.last("log"), &[1 << 32])?;
        let path = s.last("log");
        flip(&path, second_batch(&path)? + 70)
    }),
    ("an offset below the last log", |s| {
        put(&s.last("log"), 0, &[0; 8])
    }),
    ("a negative length in the last log", |s| {
        put(&s.last("log"), 8, &[0xff; 4])
    }),
    ("a length of zero in the last log", |s| {
        put(&s.last("log"), 8, &[0; 4])
    }),
    ("a huge length in the last log", |s| {
        let path = s.last("log");
        put(&path, second_batch(&path)? + 8, &[0x7f])
    }),
    ("magic 3 in the last log", |s| put(&s.last("log"), 16, &[3])),
    ("magic -1 in the last log", |s| {
        let path = s.last("log");
        put(&path, second_batch(&path)? + 16, &[0xff])
    }),
    ("magic 0 in the last log", |s| put(&s.last("log"), 16, &[0])),
    ("magic 1 in the last log", |s| put(&s.last("log"), 16, &[1])),
    ("a flipped record in the middle", |s| {
        flip(&s.middle("log"), 70)
    }),
    ("a huge length in the middle", |s| {
        let path = s.middle("log");
        put(&path, second_batch(&path)? + 8, &[0x7f])
    }),
    ("middle log cut by a byte", |s| cut(&s.middle("log"), 1)),
    ("middle log empty", |s| set_length(&s.middle("log"), 0)),
    ("middle log missing", |s| remove(&s.middle("log"))),
    ("first log missing", |s| remove(&s.first("log"))),
    ("first log cut by a byte", |s| cut(&s.first("log"), 1)),
    ("all logs missing", |s| {
        s.ending(".log")?.iter().try_for_each(|path| remove(path))
    }),
    ("all files missing", |s| {
        s.ending("")?.iter().try_for_each(|path| remove(path))
    }),
    ("last index missing", |s| remove(&s.last("index"))),
    ("last index empty", |s| set_length(&s.last("index"), 0)),
    ("last index cut by a byte", |s| cut(&s.last("index"), 1)),
    ("last index cut to half", |s| {
        set_length(&s.last("index"), 8)
    }),
    ("noise in the last index", |s| noise(&s.last("index"))),
    ("zeros behind the last index", |s| {
        add(&s.last("index"), &[0; 64])
    }),
    ("first index missing", |s| remove(&s.first("index"))),
    ("first index empty", |s| set_length(&s.first("index"), 0)),
    ("first index cut by a byte", |s| cut(&s.first("index"), 1)),
    ("zeros in the first index", |s| {
        let length = fs::metadata(s.first("index"))?.len();
        Ok(fs::write(
            s.first("index"),
            vec![0; usize::try_from(length)?],
        )?)
    }),
    ("all indexes missing", |s| {
        s.ending("index")?.iter().try_for_each(|path| remove(path))
    }),
    ("last time index missing", |s| remove(&s.last("timeindex"))),
    ("last time index empty", |s| {
        set_length(&s.last("timeindex"), 0)
    }),
    ("last time index cut by a byte", |s| {
        cut(&s.last("timeindex"), 1)
    }),
    ("first time index missing", |s| {
        remove(&s.first("timeindex"))
    }),
    ("first time index empty", |s| {
        set_length(&s.first("timeindex"), 0)
    }),
    ("zeros in the first time index", |s| {
        let length = fs::metadata(s.first("timeindex"))?.len();
        Ok(fs::write(
            s.first("timeindex"),
            vec![0; usize::try_from(length)?],
        )?)
    }),
    ("transaction indexes missing", |s| {
        s.ending(".txnindex")?
            .iter()
            .try_for_each(|path| remove(path))
    }),
    ("a transaction index cut by a byte", |s| {
        cut(s.ending(".txnindex")?.first().context("none")?, 1)
    }),
    ("a transaction index of another version", |s| {
        put(s.ending(".txnindex")?.first().context("none")?, 0, &[0, 5])
    }),
    ("a transaction index with low offsets", |s| {
        add(&s.middle("txnindex"), &[0; 34])
    }),
    ("an empty transaction index", |s| {
        add(&s.first("txnindex"), &[])
    }),
    ("snapshots missing", |s| {
        s.snapshots()?.iter().try_for_each(|path| remove(path))
    }),
    ("newest snapshot missing", |s| {
        remove(s.snapshots()?.last().context("none")?)
    }),
    ("newest snapshot flipped", |s| {
        flip(s.snapshots()?.last().context("none")?, 20)
    }),
    ("newest snapshot cut by a byte", |s| {
        cut(s.snapshots()?.last().context("none")?, 1)
    }),
    ("newest snapshot empty", |s| {
        set_length(s.snapshots()?.last().context("none")?, 0)
    }),
    ("newest snapshot with a byte more", |s| {
        add(s.snapshots()?.last().context("none")?, &[0])
    }),
    ("all snapshots flipped", |s| {
        s.snapshots()?.iter().try_for_each(|path| flip(path, 3))
    }),
    ("a snapshot of another version", |s| {
        put(s.snapshots()?.last().context("none")?, 0, &[0, 2])
    }),
    ("a stray snapshot", |s| {
        let newest = s.snapshots()?.last().context("none")?.clone();
        fs::copy(newest, s.path(3, "snapshot"))?;
        Ok(())
    }),
    ("a snapshot beyond the end", |s| {
        let newest = s.snapshots()?.last().context("none")?.clone();
        fs::copy(newest, s.path(5000, "snapshot"))?;
        Ok(())
    }),
    ("no epochs", |s| remove(&s.named("leader-epoch-checkpoint"))),
    ("an empty epoch file", |s| {
        set_length(&s.named("leader-epoch-checkpoint"), 0)
    }),
    ("an epoch file of one line", |s| {
        Ok(fs::write(s.named("leader-epoch-checkpoint"), "0\n")?)
    }),
    ("epochs out of order", |s| {
        let text = "0\n3\n0 0\n1 30\n1 20\n";
        Ok(fs::write(s.named("leader-epoch-checkpoint"), text)?)
    }),
    ("epochs beyond the end", |s| {
        let text = "0\n2\n0 0\n1 5000\n";
        Ok(fs::write(s.named("leader-epoch-checkpoint"), text)?)
    }),
    ("no topic id", |s| remove(&s.named("partition.metadata"))),
    ("odd files", |s| {
        fs::write(s.named("readme.txt"), "hello")?;
        Ok(fs::create_dir(s.named("lost+found"))?)
    }),
    ("a deleted segment", |s| {
        for suffix in ["log", "index", "timeindex"] {
            fs::rename(s.first(suffix), s.first(&format!("{suffix}.deleted")))?;
        }
        Ok(())
    }),
    ("an orphaned index", |s| {
        fs::copy(s.first("index"), s.path(5, "index"))?;
        fs::copy(s.first("timeindex"), s.path(5, "timeindex"))?;
        Ok(())
    }),
    ("an unfinished cleaned segment", |s| {
        fs::copy(s.first("log"), s.first("log.cleaned"))?;
        Ok(())
    }),
    ("a finished cleaned segment", |s| {
        for suffix in ["log", "index", "timeindex"] {
            fs::copy(s.middle(suffix), s.middle(&format!("{suffix}.swap")))?;
        }
        set_length(&s.middle("log"), 0)
    }),
    ("messages of magic 0", |s| {
        upgrade(s, &[old_messages(0, Codec::None, 0)?], false)
    }),
    ("messages of magic 1", |s| {
        upgrade(s, &[old_messages(1, Codec::None, 0)?], false)
    }),
    ("compressed messages of magic 0", |s| {
        upgrade(s, &[old_messages(0, Codec::Gzip, 0)?], false)
    }),
    ("compressed messages of magic 1", |s| {
        upgrade(s, &[old_messages(1, Codec::Gzip, 0)?], false)
    }),
    ("a log of an upgraded broker", |s| {
        let old = [
            old_messages(0, Codec::Gzip, 0)?,
            old_messages(1, Codec::Snappy, 40)?,
        ];
        upgrade(s, &old, true)
    }),
    ("old messages cut by a byte", |s| {
        upgrade(s, &[old_messages(1, Codec::Gzip, 0)?], false)?;
        cut(&s.path(0, "log"), 1)
    }),
    ("a flipped old message", |s| {
        upgrade(s, &[old_messages(1, Codec::None, 0)?], false)?;
        flip(&s.path(0, "log"), 500)
    }),
];
