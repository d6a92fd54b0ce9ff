//! Pure: what a broker holds, as `Endurance.java` reads it out of it with consumers of both isolation levels.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::history::{At, at};

/// One partition as one consumer sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The first offset, by ListOffsets.
    pub begin: i64,
    /// The end, by ListOffsets at this isolation level.
    pub end: i64,
    /// Offsets and numbers of the records in the order in which they came.
    pub records: Vec<(i64, i64)>,
}

/// Everything that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// As read_uncommitted sees it.
    pub all: BTreeMap<At, Contents>,
    /// As read_committed sees it.
    pub committed: BTreeMap<At, Contents>,
    /// Committed offsets by group and partition.
    pub offsets: BTreeMap<(String, At), i64>,
    /// Records whose key, value, time or headers are not what their number says.
    pub spoiled: Vec<String>,
}

impl Holdings {
    /// Reads the lines.
    ///
    /// # Errors
    /// When a line is not one that the reader writes, or the last one is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let mut holdings = Self::default();
        for line in text.lines() {
            holdings.line(line).with_context(|| line.to_owned())?;
        }
        ensure!(text.ends_with("end\n"), "the end is missing");
        Ok(holdings)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["range", level, topic, partition, begin, end] => {
                let contents = self.contents(level, at(topic, partition)?);
                contents.begin = begin.parse()?;
                contents.end = end.parse()?;
            }
            ["rec", level, topic, partition, offset, number] => match number.parse() {
                Ok(number) => {
                    let record = (offset.parse()?, number);
                    self.contents(level, at(topic, partition)?)
                        .records
                        .push(record);
                }
                Err(_) => self.spoiled.push(line.to_owned()),
            },
            ["offset", group, topic, partition, offset] => {
                let key = (group.to_owned(), at(topic, partition)?);
                self.offsets.insert(key, offset.parse()?);
            }
            ["end"] => {}
            _ => bail!("an unknown line"),
        }
        Ok(())
    }

    fn contents(&mut self, level: &str, at: At) -> &mut Contents {
        let level = match level {
            "read_committed" => &mut self.committed,
            _ => &mut self.all,
        };
        level.entry(at).or_default()
    }
}
