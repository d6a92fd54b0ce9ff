//! Pure: compares what clients were told with what a broker holds once they rest.
//!
//! What must hold: an acknowledged record is where its acknowledgement says, once, and in the order in which its
//! producer sent it; of a transaction read_committed sees everything or nothing, as its end says; a copy made within
//! transactions is exact; a committed offset never goes back; the latest value of a key outlives compaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Ack, At, History, Outcome, Step};
use super::holdings::{Contents, Holdings};

/// The numbers of a producer are its index times this, and up.
const PRODUCER: i64 = 1_000_000_000;
/// The numbers of a transaction's records are its number times this, and up.
const TRANSACTION: i64 = 100;
/// The topic whose producer may double records: it has acks=1 and no idempotence.
const MAY_DOUBLE: &str = "plain";
/// The topic that is compacted.
const TABLE: &str = "table";
/// The topic whose front is deleted.
const SHORT: &str = "short";
/// The topics of the transactions.
const TRANSACTIONAL: [&str; 2] = ["txn", "side"];

/// Everything that is wrong; `clean` when no log start offset can have been forgotten.
#[must_use]
pub fn check(history: &History, holdings: &Holdings, clean: bool) -> Vec<String> {
    let mut wrong = history.failures.clone();
    wrong.extend(holdings.spoiled.iter().cloned());
    for (at, contents) in &holdings.all {
        ranges(history, at, contents, clean, &mut wrong);
        order(at, contents, &mut wrong);
        let committed = holdings.committed.get(at);
        isolation(at, contents, committed, &mut wrong);
    }
    acknowledged(history, holdings, &mut wrong);
    transactions(history, holdings, &mut wrong);
    copies(holdings, &mut wrong);
    offsets(history, holdings, &mut wrong);
    table(history, holdings, &mut wrong);
    wrong
}

/// How many transactions were committed.
#[must_use]
pub fn committed(history: &History) -> usize {
    let outcomes = history.transactions.values();
    outcomes
        .filter(|transaction| transaction.outcome == Outcome::Committed)
        .count()
}

/// How many offsets plain consumers have committed.
#[must_use]
pub fn commits(history: &History) -> usize {
    let steps = history.groups.values().flatten();
    steps
        .filter(|step| matches!(step, Step::Commits(_)))
        .count()
}

fn ranges(history: &History, at: &At, contents: &Contents, clean: bool, wrong: &mut Vec<String>) {
    let begin = contents.begin;
    let most = history.deletes.get(at).copied().unwrap_or(0);
    let least = history.deleted.get(at).copied().unwrap_or(0);
    if begin > most {
        wrong.push(format!(
            "{at:?} begins at {begin}, records were deleted before {most}"
        ));
    }
    if clean && begin < least {
        wrong.push(format!("{at:?} begins at {begin} again, it was {least}"));
    }
    let offsets = contents.records.iter().map(|(offset, _)| *offset);
    if offsets
        .clone()
        .any(|offset| offset < begin || offset >= contents.end)
    {
        wrong.push(format!(
            "{at:?} has records outside of {begin}..{}",
            contents.end
        ));
    }
    if !offsets.is_sorted_by(|a, b| a < b) {
        wrong.push(format!("{at:?}: offsets do not ascend"));
    }
    if at.0 != TABLE && !TRANSACTIONAL.contains(&at.0.as_str()) && at.0 != "copied" {
        let held = i64::try_from(contents.records.len()).unwrap_or(i64::MAX);
        if held != contents.end - begin {
            wrong.push(format!(
                "{at:?} has {held} records in {begin}..{}",
                contents.end
            ));
        }
    }
}

/// Each producer's records come in the order in which it sent them, and once.
fn order(at: &At, contents: &Contents, wrong: &mut Vec<String>) {
    if at.0 == "copied" {
        // An aborted copy is made again; what is committed is compared with what it was copied from.
        return;
    }
    let mut last: HashMap<i64, i64> = HashMap::new();
    let mut seen = HashSet::new();
    for &(offset, number) in &contents.records {
        let doubled = !seen.insert(number);
        if doubled && at.0 == MAY_DOUBLE {
            continue;
        }
        let before = last.insert(number / PRODUCER, number);
        if before.is_some_and(|before| before >= number) {
            let what = if doubled {
                "is doubled"
            } else {
                "is out of order"
            };
            wrong.push(format!(
                "{at:?}: {number} at {offset} {what}, after {before:?}"
            ));
        }
    }
}

/// read_committed sees a part of what read_uncommitted sees, and all of what is not in transactions.
fn isolation(at: &At, all: &Contents, committed: Option<&Contents>, wrong: &mut Vec<String>) {
    let none = Contents::default();
    let committed = committed.unwrap_or(&none);
    if committed.end != all.end {
        let (stable, end) = (committed.end, all.end);
        wrong.push(format!(
            "{at:?} is stable up to {stable} of {end} and nobody writes"
        ));
    }
    let transactional = TRANSACTIONAL.contains(&at.0.as_str()) || at.0 == "copied";
    if at.0 == TABLE {
        // It may be compacted between one reading and the other.
        return;
    }
    if !transactional && all.records != committed.records {
        wrong.push(format!(
            "{at:?}: the isolation levels see different records"
        ));
    }
    let known: HashSet<&(i64, i64)> = all.records.iter().collect();
    if let Some(odd) = committed
        .records
        .iter()
        .find(|record| !known.contains(record))
    {
        wrong.push(format!("{at:?}: only read_committed sees {odd:?}"));
    }
}

fn acknowledged(history: &History, holdings: &Holdings, wrong: &mut Vec<String>) {
    let mut held: HashMap<&At, HashMap<i64, i64>> = HashMap::new();
    for (at, contents) in &holdings.all {
        held.insert(at, contents.records.iter().copied().collect());
    }
    for Ack { at, offset, number } in &history.acks {
        let Some(records) = held.get(at) else {
            wrong.push(format!("{at:?} is lost"));
            return;
        };
        let begin = holdings.all.get(at).map_or(0, |contents| contents.begin);
        match records.get(offset) {
            Some(found) if found == number => {}
            Some(found) => {
                wrong.push(format!(
                    "{at:?}: {number} was put at {offset}, there is {found}"
                ));
            }
            None if at.0 == TABLE || (at.0 == SHORT && *offset < begin) => {}
            None => wrong.push(format!("{at:?}: {number} at {offset} is lost")),
        }
    }
}

fn transactions(history: &History, holdings: &Holdings, wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (at, contents) in &holdings.committed {
        if !TRANSACTIONAL.contains(&at.0.as_str()) {
            continue;
        }
        for (_, number) in &contents.records {
            let key = (number / PRODUCER, number % PRODUCER / TRANSACTION);
            *seen.entry(key).or_default() += 1;
        }
    }
    for (key, transaction) in &history.transactions {
        let found = seen.remove(key).unwrap_or(0);
        let whole = transaction.records.unwrap_or(0);
        let right = match transaction.outcome {
            Outcome::Committed => found == whole,
            Outcome::Aborted => found == 0,
            Outcome::Unknown => found == 0 || found == whole,
            Outcome::Open => false,
        };
        if !right {
            wrong.push(format!(
                "transaction {key:?} {transaction:?}: read_committed sees {found} records"
            ));
        }
    }
    for key in seen.keys() {
        wrong.push(format!("transaction {key:?} was never begun"));
    }
}

fn copies(holdings: &Holdings, wrong: &mut Vec<String>) {
    let numbers = |contents: &Contents| -> Vec<i64> {
        contents.records.iter().map(|(_, number)| *number).collect()
    };
    for ((topic, partition), copy) in &holdings.committed {
        if topic != "copied" {
            continue;
        }
        let from = ("txn".to_owned(), *partition);
        let source = holdings
            .committed
            .get(&from)
            .map(numbers)
            .unwrap_or_default();
        let copy = numbers(copy);
        if source != copy {
            let same = source.iter().zip(&copy).take_while(|(a, b)| a == b).count();
            wrong.push(format!(
                "partition {partition}: {} records, {} copies; the first {same} are equal, then {:?} and {:?}",
                source.len(),
                copy.len(),
                source.get(same),
                copy.get(same)
            ));
        }
    }
}

fn offsets(history: &History, holdings: &Holdings, wrong: &mut Vec<String>) {
    for (key, steps) in &history.groups {
        let (mut committed, mut tried) = (0, 0);
        for step in steps {
            match *step {
                Step::Tries(offset) => tried = offset.max(tried),
                Step::Commits(offset) => committed = offset.max(committed),
                Step::Starts(offset) if offset < committed || offset > tried => {
                    wrong.push(format!(
                        "{key:?}: starts at {offset}, {committed} was committed and {tried} tried"
                    ))
                }
                Step::Starts(_) => {}
            }
        }
        let stored = holdings.offsets.get(key).copied().unwrap_or(0);
        if stored < committed || stored > tried {
            wrong.push(format!(
                "{key:?}: stored is {stored}, {committed} was committed and {tried} tried"
            ));
        }
    }
}

/// The latest acknowledged value of a key is there, or a later one; where it is a deletion, nothing may be.
fn table(history: &History, holdings: &Holdings, wrong: &mut Vec<String>) {
    let key = |number: i64| number * 31 % 40;
    let mut latest: HashMap<i64, i64> = HashMap::new();
    for ack in history.acks.iter().filter(|ack| ack.at.0 == TABLE) {
        let known = latest.entry(key(ack.number)).or_insert(ack.number);
        *known = ack.number.max(*known);
    }
    let mut held: HashMap<i64, i64> = HashMap::new();
    let tables = holdings.all.iter().filter(|((topic, _), _)| topic == TABLE);
    for (_, number) in tables.flat_map(|(_, contents)| &contents.records) {
        let known = held.entry(key(*number)).or_insert(*number);
        *known = *number.max(known);
    }
    for (key, number) in latest {
        let deletion = number % 11 == 0;
        match held.get(&key) {
            Some(found) if *found >= number => {}
            None if deletion => {}
            found => wrong.push(format!(
                "key {key} of the table: {found:?}, {number} was acknowledged"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: &str = "ack plain 0 0 0\nack plain 0 1 1\nack idem 0 0 0\nack idem 0 1 1\nack idem 0 2 1000000000\n\
        begin 0 1\nack txn 0 0 100\ncommits 0 1 2\ncommitted 0 1\nbegin 0 2\nack txn 0 3 200\naborted 0 2\n\
        tries readers idem 0 2\ncommits-at readers idem 0 2\nstarts readers idem 0 2\ntries readers idem 0 3\n\
        ack table 0 5 40\nack table 0 6 80\n";
    const DUMP: &str = "range L plain 0 0 4\nrec L plain 0 0 0\nrec L plain 0 1 1\nrec L plain 0 2 0\nrec L plain 0 3 1\n\
        range L idem 0 0 3\nrec L idem 0 0 0\nrec L idem 0 1 1\nrec L idem 0 2 1000000000\n\
        range L txn 0 0 5\nrec L txn 0 0 100\nrange L side 0 0 2\nrec L side 0 0 101\n\
        range L copied 0 0 2\nrec L copied 0 0 100\nrange L table 0 0 7\nrec L table 0 6 80\n\
        offset readers idem 0 2\n";

    fn dump() -> String {
        let committed = DUMP.replace(" L ", " read_committed ");
        let all = DUMP.replace(" L ", " read_uncommitted ");
        format!("{all}rec read_uncommitted txn 0 3 200\n{committed}end\n")
    }

    fn complaints(history: &str, dump: &str) -> Vec<String> {
        let history = History::parse(history).unwrap();
        check(&history, &Holdings::parse(dump).unwrap(), true)
    }

    #[test]
    fn nothing_is_wrong_with_what_agrees() {
        assert_eq!(complaints(HISTORY, &dump()), Vec::<String>::new());
    }

    /// Each change of what is held, or of what was told, is noticed.
    #[test]
    fn each_kind_of_harm_is_noticed() {
        let both = |from: &str, to: &str| {
            let change = |text: String, level: &str| {
                let (from, to) = (from.replace(" L ", level), to.replace(" L ", level));
                text.replace(&from, &to)
            };
            let text = change(dump(), " read_committed ");
            let changed = change(text, " read_uncommitted ");
            assert_ne!(changed, dump(), "{from}");
            changed
        };
        let harms = [
            ("lost", both("rec L idem 0 1 1\n", "")),
            ("another", both("rec L idem 0 1 1\n", "rec L idem 0 1 2\n")),
            (
                "doubled",
                both("rec L idem 0 2 1000000000\n", "rec L idem 0 2 1\n"),
            ),
            (
                "lost front",
                both(
                    "range L idem 0 0 3\nrec L idem 0 0 0\n",
                    "range L idem 0 1 3\n",
                ),
            ),
            (
                "aborted seen",
                dump().replace("read_uncommitted txn 0 3", "read_committed txn 0 3"),
            ),
            ("half a transaction", both("rec L side 0 0 101\n", "")),
            ("not copied", both("rec L copied 0 0 100\n", "")),
            (
                "open",
                dump().replace(
                    "range read_committed txn 0 0 5",
                    "range read_committed txn 0 0 3",
                ),
            ),
            (
                "offset lost",
                dump().replace("offset readers idem 0 2\n", ""),
            ),
            (
                "offset behind",
                dump().replace("readers idem 0 2", "readers idem 0 1"),
            ),
            (
                "offset invented",
                dump().replace("readers idem 0 2", "readers idem 0 4"),
            ),
            (
                "old value",
                both("rec L table 0 6 80\n", "rec L table 0 5 40\n"),
            ),
            (
                "spoiled",
                both("rec L idem 0 1 1\n", "rec L idem 0 1 1-wrong-value\n"),
            ),
        ];
        for (harm, dump) in harms {
            assert_ne!(complaints(HISTORY, &dump), Vec::<String>::new(), "{harm}");
        }
        for told in [
            "died txn-0 X\n",
            "begin 0 3\n",
            "starts readers idem 0 1\n",
            "starts readers idem 0 9\n",
            "ack short 0 0 1\n",
        ] {
            let history = format!("{HISTORY}{told}");
            assert_ne!(
                complaints(&history, &dump()),
                Vec::<String>::new(),
                "{told}"
            );
        }
    }
}
