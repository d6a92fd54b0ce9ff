//! Shell: where a partition's files are; shared by its segments, so that a rename of the directory reaches them all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::log::names::segment_file;

/// The directory of one partition, which may be renamed while it is in use.
#[derive(Debug)]
pub struct PartitionDir {
    path: ArcSwap<PathBuf>,
}

impl PartitionDir {
    /// A directory at `path`.
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(PartitionDir {
            path: ArcSwap::from_pointee(path),
        })
    }

    /// Where the directory is now.
    pub fn path(&self) -> Arc<PathBuf> {
        self.path.load_full()
    }

    /// Records that the directory has moved.
    pub fn set_path(&self, path: PathBuf) {
        self.path.store(Arc::new(path));
    }

    /// The log directory in which it lies.
    pub fn parent(&self) -> PathBuf {
        self.path
            .load()
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default()
    }

    /// Path of one of a segment's files.
    pub fn file(&self, offset: i64, suffix: &str) -> PathBuf {
        segment_file(&self.path.load(), offset, suffix)
    }
}
