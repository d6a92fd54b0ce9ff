//! Shell: where things are: the checkout, its binaries, the Apache jars, the Python clients, scratch directories.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Cargo's target directory, or what `CARGO_TARGET_DIR` says.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// One of our binaries, from `TANDEM_BIN_DIR` or the release profile.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory =
        env::var_os("TANDEM_BIN_DIR").map_or_else(|| target().join("release"), PathBuf::from);
    let path = directory.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make build` first", path.display());
    }
    Ok(path)
}

/// The directory of the Apache jars: `TANDEM_PEERS`, or where `make peers` puts them.
///
/// # Errors
/// When they have not been fetched. A missing peer fails a test, it never skips it.
pub fn peers() -> Result<PathBuf> {
    let path = env::var_os("TANDEM_PEERS").map_or_else(|| target().join("peers"), PathBuf::from);
    if !path.join("zookeeper-3.8.4.jar").is_file() {
        bail!(
            "no Apache jars in {}: run `make peers` first",
            path.display()
        );
    }
    Ok(path)
}

/// The directory with the jars of one version of ZooKeeper other than the one in [`peers`].
///
/// # Errors
/// When they have not been fetched.
pub fn zookeeper_jars(version: &str) -> Result<PathBuf> {
    let path = target().join("peers-zookeeper").join(version);
    if !path.join(format!("zookeeper-{version}.jar")).is_file() {
        bail!("no jars in {}: run `make peers` first", path.display());
    }
    Ok(path)
}

/// The directory with a directory for each version of the Java clients other than the one in [`peers`].
///
/// # Errors
/// When they have not been fetched.
pub fn client_versions() -> Result<PathBuf> {
    let path = target().join("peers-kafka");
    if !path.join(".stamp").is_file() {
        bail!("no clients in {}: run `make peers` first", path.display());
    }
    Ok(path)
}

/// The Python interpreter that has kazoo and confluent-kafka.
///
/// # Errors
/// When `make peers` has not been run.
pub fn python() -> Result<PathBuf> {
    let path = target().join("venv/bin/python");
    if !path.exists() {
        bail!("{} is missing: run `make peers` first", path.display());
    }
    Ok(path)
}

/// A file below `integration-tests/`.
pub fn own_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A directory of its own for one server or test, removed when dropped (kept with `TANDEM_KEEP=1` or on a panic).
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory whose name tells what it is for.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(purpose: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{}-{number}", std::process::id());
        let path = target().join("integration").join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() && env::var_os("TANDEM_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
