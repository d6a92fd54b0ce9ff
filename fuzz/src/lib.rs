//! What several targets share: directories of a partition from any bytes, and checksums made right, so that the fuzzer gets behind them.

use std::fs;
use std::path::Path;

use kafka_wire::records::batch::{crc32, crc32c};

/// Files of a partition that `fill` may make: two segments, and what compaction, deletion and stops leave.
pub const FILES: [&str; 13] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000096.log",
    "00000000000000000096.index",
    "00000000000000000096.timeindex",
    "00000000000000000096.txnindex",
    "00000000000000000096.snapshot",
    "00000000000000000166.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
    "00000000000000000000.log.swap",
];

/// The second segment far away, as far as offsets go.
const FAR: [(&str, &str); 3] = [
    ("00000000000000000096", "00000000002147483648"),
    ("00000000000000000096", "09223372036854775807"),
    ("00000000000000000000", "09223372036854775700"),
];

/// Makes the files of [`FILES`] in `dir`: each has its length in two bytes before it, little endian; one of length 0 is not made.
/// `form` moves the offsets; with `mend`, checksums are made right.
pub fn fill(dir: &Path, form: u8, mend: bool, data: &[u8]) {
    let mut rest = data;
    for name in FILES {
        let [low, high, more @ ..] = rest else { break };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (content, behind) = more.split_at(length.min(more.len()));
        rest = behind;
        if length == 0 {
            continue;
        }
        let mut content = content.to_vec();
        if mend && name.contains(".log") {
            mend_log(&mut content);
        }
        if mend && name.ends_with(".snapshot") {
            mend_snapshot(&mut content);
        }
        let mut name = name.to_owned();
        if let Some((from, to)) = FAR.get(usize::from(form)) {
            name = name.replace(from, to);
        }
        fs::write(dir.join(name), content).expect("it can be written");
    }
}

/// Gives whatever looks like a batch or message its checksum.
pub fn mend_log(log: &mut [u8]) {
    let mut rest = log;
    while rest.len() > 26 {
        let length = u32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let size = length.saturating_add(12);
        if size < 26 || size > rest.len() {
            return;
        }
        let (batch, behind) = rest.split_at_mut(size);
        let (at, sum) = match batch[16] {
            0 | 1 => (12, crc32(&batch[16..])),
            _ => (17, crc32c(&batch[21..])),
        };
        batch[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        rest = behind;
    }
}

/// Gives a snapshot of producers its checksum.
pub fn mend_snapshot(snapshot: &mut [u8]) {
    if snapshot.len() > 6 {
        let sum = crc32c(&snapshot[6..]);
        snapshot[2..6].copy_from_slice(&sum.to_be_bytes());
    }
}
