//! Pure: whether a history of concurrent operations on one znode could have happened one after
//! the other (Wing and Gong's search, with Lowe's memory of what was tried).
//!
//! Every operation must seem to take place at one moment between its call and its return. One
//! whose outcome nobody knows, because the server died, may have taken place at any moment after
//! its call, or never. Znodes do not depend on each other, so each has a history of its own.

use std::collections::HashSet;

/// What was asked of the znode; values are unique in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Create it with this value.
    Create(u64),
    /// Delete it, if it has this version; -1 is any.
    Delete(i32),
    /// Set its value, if it has this version; -1 is any.
    Set(u64, i32),
    /// Read it.
    Get,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Created or deleted.
    Done,
    /// It was set, and has this version now.
    Version(i32),
    /// It has this value and version.
    Value(u64, i32),
    /// It is not there.
    NoNode,
    /// It is there already.
    NodeExists,
    /// It has another version.
    BadVersion,
}

/// One operation. The moments are numbers of one counter, all different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// When it was called.
    pub called: u64,
    /// When it returned and what; none if nobody knows.
    pub returned: Option<(u64, Output)>,
    /// What it was.
    pub input: Input,
}

/// Value and version of a znode; none if it is not there.
type State = Option<(u64, i32)>;

/// What an operation makes of a state, and what it answers.
fn step(state: State, input: Input) -> (State, Output) {
    match (input, state) {
        (Input::Create(_), Some(_)) => (state, Output::NodeExists),
        (Input::Create(value), None) => (Some((value, 0)), Output::Done),
        (Input::Get, Some((value, version))) => (state, Output::Value(value, version)),
        (_, None) => (state, Output::NoNode),
        (Input::Delete(wanted) | Input::Set(_, wanted), Some((_, version)))
            if wanted != -1 && wanted != version =>
        {
            (state, Output::BadVersion)
        }
        (Input::Delete(_), Some(_)) => (None, Output::Done),
        (Input::Set(value, _), Some((_, version))) => {
            let version = version.wrapping_add(1);
            (Some((value, version)), Output::Version(version))
        }
    }
}

/// Where the search stands: which operations have taken place, and what they left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    done: Vec<u64>,
    state: State,
}

impl Place {
    fn is_done(&self, number: usize) -> bool {
        self.done[number / 64] & (1 << (number % 64)) != 0
    }

    fn with(&self, number: usize, state: State) -> Self {
        let mut done = self.done.clone();
        done[number / 64] |= 1 << (number % 64);
        Self { done, state }
    }
}

/// Finds an order in which a znode that was not there at first would have given these answers.
///
/// # Errors
/// When there is none: the operations of the longest order found, and the ones that fit nowhere
/// behind it.
pub fn check(operations: &[Operation]) -> Result<(), String> {
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| operation.called);
    let first = Place {
        done: vec![0; operations.len().div_ceil(64)],
        state: None,
    };
    let mut seen = HashSet::from([first.clone()]);
    let mut stack = vec![(first, 0_usize)];
    let mut best = (0, String::new());
    while let Some((place, taken)) = stack.pop() {
        let possible = possible(&operations, &place);
        if possible.is_empty() {
            return Ok(());
        }
        if taken >= best.0 {
            let told: Vec<_> = possible.iter().map(|number| operations[*number]).collect();
            best = (taken, format!("{:?}, then none of {told:?}", place.state));
        }
        // The last one pushed is tried first: what was called first is the likeliest.
        for number in possible.into_iter().rev() {
            let operation = operations[number];
            let (state, output) = step(place.state, operation.input);
            if operation.returned.is_some_and(|(_, told)| told != output) {
                continue;
            }
            let next = place.with(number, state);
            if seen.insert(next.clone()) {
                stack.push((next, taken + 1));
            }
        }
    }
    Err(format!(
        "of {} operations {} fit one after the other and leave {}",
        operations.len(),
        best.0,
        best.1
    ))
}

/// The operations that may be next: nothing that is not done returned before they were called.
/// None if all that returned are done.
fn possible(operations: &[Operation], place: &Place) -> Vec<usize> {
    let mut first_return = u64::MAX;
    let mut possible = Vec::new();
    let mut any_returned = false;
    for (number, operation) in operations.iter().enumerate() {
        if operation.called > first_return {
            break;
        }
        if place.is_done(number) {
            continue;
        }
        possible.push(number);
        if let Some((returned, _)) = operation.returned {
            any_returned = true;
            first_return = first_return.min(returned);
        }
    }
    if any_returned { possible } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, returned: u64, input: Input, output: Output) -> Operation {
        Operation {
            called,
            returned: Some((returned, output)),
            input,
        }
    }

    #[test]
    fn overlapping_writes_may_take_place_either_way() {
        let history = |last| {
            [
                operation(1, 2, Input::Create(1), Output::Done),
                operation(3, 6, Input::Set(2, -1), Output::Version(1)),
                operation(4, 5, Input::Set(3, -1), Output::Version(2)),
                operation(7, 8, Input::Get, last),
            ]
        };
        assert_eq!(check(&history(Output::Value(3, 2))), Ok(()));
        assert!(check(&history(Output::Value(2, 2))).is_err());
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            operation(1, 2, Input::Create(1), Output::Done),
            operation(3, 4, Input::Set(2, 0), Output::Version(1)),
            operation(5, 6, Input::Get, Output::Value(1, 0)),
        ];
        assert!(check(&history).is_err());
        assert_eq!(check(&history[..2]), Ok(()));
    }

    #[test]
    fn a_lost_write_is_found_and_an_unknown_one_may_be_either() {
        let unknown = Operation {
            called: 3,
            returned: None,
            input: Input::Set(2, -1),
        };
        let history = |read| {
            [
                operation(1, 2, Input::Create(1), Output::Done),
                unknown,
                operation(9, 10, Input::Get, read),
            ]
        };
        assert_eq!(check(&history(Output::Value(1, 0))), Ok(()));
        assert_eq!(check(&history(Output::Value(2, 1))), Ok(()));
        assert!(check(&history(Output::NoNode)).is_err());
        assert!(check(&history(Output::Value(2, 2))).is_err());
    }

    #[test]
    fn two_winners_of_one_version_are_found() {
        let history = [
            operation(1, 2, Input::Create(1), Output::Done),
            operation(3, 6, Input::Set(2, 0), Output::Version(1)),
            operation(4, 5, Input::Set(3, 0), Output::Version(1)),
        ];
        assert!(check(&history).is_err());
    }
}
