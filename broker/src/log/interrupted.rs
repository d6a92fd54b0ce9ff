//! Shell: what an earlier run left half done in a partition directory: files to be deleted, and the output of compaction, which is
//! put in place if it was complete and dropped if it was not (`LogLoader.scala`).

use std::fs;
use std::path::Path;

use crate::log::error::{IoContext, StorageResult};
use crate::log::names::{CLEANED_SUFFIX, DELETED_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, parse_file};
use crate::log::scan::Scanner;

/// Removes what deletions left, and finishes or undoes what compaction left. Answers the names of all files that are there then.
///
/// # Errors
/// [`crate::log::error::StorageError`] if a file cannot be read, deleted or renamed.
pub(super) fn finish_interrupted_work(dir: &Path) -> StorageResult<Vec<String>> {
    let names = names(dir)?;
    let mut deleted = 0;
    let mut cleaned = Vec::new();
    let mut swapped = Vec::new();
    for name in &names {
        let Some((offset, suffix)) = parse_file(name) else {
            continue;
        };
        if suffix.ends_with(DELETED_SUFFIX) {
            remove(dir, name)?;
            deleted += 1;
        } else if suffix.ends_with(CLEANED_SUFFIX) {
            cleaned.push((offset, name.to_owned()));
        } else if suffix.ends_with(SWAP_SUFFIX) {
            swapped.push((offset, name.to_owned()));
        }
    }
    if deleted + cleaned.len() + swapped.len() == 0 {
        return Ok(names);
    }
    // A swap file at or above an unfinished one belongs to the same unfinished work.
    let unfinished = cleaned
        .iter()
        .map(|(offset, _)| *offset)
        .min()
        .unwrap_or(i64::MAX);
    for (_, name) in &cleaned {
        remove(dir, name)?;
    }
    let (drop, keep): (Vec<_>, Vec<_>) = swapped
        .into_iter()
        .partition(|(offset, _)| *offset >= unfinished);
    for (_, name) in &drop {
        remove(dir, name)?;
    }
    swap_in(dir, &keep)?;
    self::names(dir)
}

/// The names in a directory; what is not UTF-8 is none of ours.
fn names(dir: &Path) -> StorageResult<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).context("list", dir)? {
        let name = entry.context("list", dir)?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// Puts finished output of compaction in the place of the segments that it replaces.
fn swap_in(dir: &Path, files: &[(i64, String)]) -> StorageResult<()> {
    let log_swap = format!("{LOG_SUFFIX}{SWAP_SUFFIX}");
    let mut replaced: Option<(i64, i64)> = None;
    for (offset, name) in files.iter().filter(|(_, name)| name.ends_with(&log_swap)) {
        let path = dir.join(name);
        let file = fs::File::open(&path).context("open", &path)?;
        let size = file.metadata().context("inspect", &path)?.len();
        let mut scanner = Scanner::new(&file, 0, size);
        // Even one without records replaces the segment of its own name.
        let mut end = offset.saturating_add(1);
        while let Ok(Some(entry)) = scanner.next_entry() {
            end = entry.header.last_offset().saturating_add(1);
        }
        let (low, high) = replaced.unwrap_or((*offset, end));
        replaced = Some((low.min(*offset), high.max(end)));
    }
    if let Some((low, high)) = replaced {
        for name in names(dir)? {
            let in_range = parse_file(&name).is_some_and(|(offset, suffix)| {
                (low..high).contains(&offset) && !suffix.ends_with(SWAP_SUFFIX)
            });
            if in_range {
                remove(dir, &name)?;
            }
        }
    }
    for (_, name) in files {
        let to = name.trim_end_matches(SWAP_SUFFIX);
        fs::rename(dir.join(name), dir.join(to)).context("rename", &dir.join(name))?;
    }
    Ok(())
}

fn remove(dir: &Path, name: &str) -> StorageResult<()> {
    let path = dir.join(name);
    tracing::debug!(path = %path.display(), "removing leftover file");
    fs::remove_file(&path).context("delete", &path)
}
