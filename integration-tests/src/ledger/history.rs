//! Pure: what clients tried and were told, as `Endurance.java` writes it down line by line.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// A topic and the number of a partition.
pub type At = (String, i32);

/// How a transaction ended, as far as its producer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Begun, and nothing was heard of its end yet.
    Open,
    /// The broker said that it is committed.
    Committed,
    /// Aborted, or left to its timeout.
    Aborted,
    /// The commit was sent and failed: all of it is there, or nothing.
    Unknown,
}

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// How many records it has; known when its commit is tried.
    pub records: Option<i64>,
    /// Its end.
    pub outcome: Outcome,
}

/// What happened to the offset of a group in a partition, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A member sent this offset to be committed.
    Tries(i64),
    /// The broker said that it is.
    Commits(i64),
    /// A member was given the partition and starts to read here.
    Starts(i64),
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The partition.
    pub at: At,
    /// Where the broker said that it put the record.
    pub offset: i64,
    /// The record.
    pub number: i64,
}

/// Everything the clients know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In the order in which they came.
    pub acks: Vec<Ack>,
    /// By producer and number.
    pub transactions: BTreeMap<(i64, i64), Transaction>,
    /// By group and partition.
    pub groups: BTreeMap<(String, At), Vec<Step>>,
    /// The largest offset that DeleteRecords was asked for.
    pub deletes: BTreeMap<At, i64>,
    /// The largest start offset that DeleteRecords answered.
    pub deleted: BTreeMap<At, i64>,
    /// Records that the producer gave up, and actors that ended: always wrong.
    pub failures: Vec<String>,
    /// Errors that clients are meant to recover from.
    pub notes: Vec<String>,
}

impl History {
    /// Reads the lines.
    ///
    /// # Errors
    /// When a line is not one that the clients write.
    pub fn parse(text: &str) -> Result<Self> {
        let mut history = Self::default();
        for (number, line) in text.lines().enumerate() {
            history
                .line(line)
                .with_context(|| format!("line {}: {line}", number + 1))?;
        }
        Ok(history)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ack", topic, partition, offset, number] => self.acks.push(Ack {
                at: at(topic, partition)?,
                offset: offset.parse()?,
                number: number.parse()?,
            }),
            ["begin", producer, number] => {
                let open = Transaction {
                    records: None,
                    outcome: Outcome::Open,
                };
                self.transactions
                    .insert((producer.parse()?, number.parse()?), open);
            }
            ["commits", producer, number, count] => {
                self.transaction(producer, number)?.records = Some(count.parse()?);
            }
            ["committed", producer, number] => {
                self.transaction(producer, number)?.outcome = Outcome::Committed;
            }
            ["aborted", producer, number] | ["aborted", producer, number, "left"] => {
                self.transaction(producer, number)?.outcome = Outcome::Aborted;
            }
            ["unknown", producer, number] => {
                self.transaction(producer, number)?.outcome = Outcome::Unknown;
            }
            [
                step @ ("tries" | "commits-at" | "starts"),
                group,
                topic,
                partition,
                offset,
            ] => {
                let offset = offset.parse()?;
                let step = match step {
                    "tries" => Step::Tries(offset),
                    "commits-at" => Step::Commits(offset),
                    _ => Step::Starts(offset),
                };
                let key = (group.to_owned(), at(topic, partition)?);
                self.groups.entry(key).or_default().push(step);
            }
            ["deletes", topic, partition, offset] => {
                raise(&mut self.deletes, at(topic, partition)?, offset.parse()?);
            }
            ["deleted", topic, partition, offset] => {
                raise(&mut self.deleted, at(topic, partition)?, offset.parse()?);
            }
            ["failed" | "died", ..] => self.failures.push(line.to_owned()),
            ["note", ..] => self.notes.push(line.to_owned()),
            _ => bail!("an unknown line"),
        }
        Ok(())
    }

    fn transaction(&mut self, producer: &str, number: &str) -> Result<&mut Transaction> {
        let key = (producer.parse()?, number.parse()?);
        self.transactions
            .get_mut(&key)
            .context("the transaction was never begun")
    }
}

/// A topic and partition from two words.
///
/// # Errors
/// When the second is no number.
pub fn at(topic: &str, partition: &str) -> Result<At> {
    Ok((topic.to_owned(), partition.parse()?))
}

fn raise(all: &mut BTreeMap<At, i64>, at: At, offset: i64) {
    let known = all.entry(at).or_insert(offset);
    *known = offset.max(*known);
}
