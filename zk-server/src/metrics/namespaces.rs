//! Pure: summaries and counters by namespace, which is the first part of a path (`/app/a/b` is in
//! `app`; DataTree.java, PathUtils.java).

use std::collections::HashMap;

use crate::metrics::percentiles::Percentiles;

/// Namespaces that are told apart. Whoever makes more, say by ever new znodes below the root,
/// is not counted by namespace any more: the numbers must not eat the memory.
const MOST: usize = 1024;

/// One summary for each namespace.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    entries: Vec<(Box<str>, Percentiles)>,
    by_name: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
    last: usize,
}

/// The namespace of a path; the root has none.
pub fn namespace(path: &str) -> Option<&str> {
    let below = path.strip_prefix('/')?;
    let first = below.split('/').next().unwrap_or(below);
    (!first.is_empty()).then_some(first)
}

impl Namespaces {
    /// Adds one value for the namespace of a path.
    pub fn observe(&mut self, path: &str, value: u64) {
        // Most often it is the one of the path before.
        if let Some((last, all)) = self.entries.get_mut(self.last)
            && let Some(below) = path.as_bytes().get(1..)
            && let Some(rest) = below.strip_prefix(last.as_bytes())
            && matches!(rest.first(), None | Some(b'/'))
        {
            all.observe(value);
        } else if let Some(name) = namespace(path) {
            self.observe_other(name, value);
        }
    }

    fn observe_other(&mut self, name: &str, value: u64) {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if self.entries.len() >= MOST => return,
            None => {
                self.entries.push((name.into(), Percentiles::none()));
                self.by_name.insert(name.into(), self.entries.len() - 1);
                self.entries.len() - 1
            }
        };
        self.last = index;
        if let Some((_, summary)) = self.entries.get_mut(index) {
            summary.observe(value);
        }
    }

    /// The namespaces in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Percentiles)> {
        self.entries
            .iter()
            .map(|(name, summary)| (&**name, summary))
    }

    /// `srst`: the namespaces stay, their numbers begin anew.
    pub fn reset(&mut self) {
        for (_, summary) in &mut self.entries {
            *summary = Percentiles::none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fall_into_namespaces() {
        let mut all = Namespaces::default();
        for (path, value) in [
            ("/a/b/c", 3),
            ("/a", 5),
            ("/bb/c", 1),
            ("/", 9),
            ("/a/x", 1),
        ] {
            all.observe(path, value);
        }
        let got: Vec<_> = all
            .iter()
            .map(|(n, s)| (n, s.summary().count(), s.summary().sum()))
            .collect();
        assert_eq!(got, [("a", 3, 9), ("bb", 1, 1)]);
        all.reset();
        let got: Vec<_> = all.iter().map(|(n, s)| (n, s.summary().count())).collect();
        assert_eq!(got, [("a", 0), ("bb", 0)]);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut all = Namespaces::default();
        for n in 0..2 * MOST {
            all.observe(&format!("/{n}"), 1);
        }
        assert_eq!(all.iter().count(), MOST);
    }
}
