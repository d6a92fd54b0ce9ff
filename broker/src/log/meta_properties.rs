//! Shell: `meta.properties`, which ties a log directory to a broker id and a cluster (`MetaProperties.java`).
//!
//! A broker on ZooKeeper uses version 0 (`broker.id`, `cluster.id`); version 1 belongs to KRaft and is refused.

use std::fs;
use std::path::{Path, PathBuf};

use kafka_wire::wire::Uuid;

use crate::log::checkpoint::write_atomically;
use crate::log::error::{IoContext, StorageError, StorageResult};

/// Name of the file.
pub const FILE_NAME: &str = "meta.properties";

/// Contents of the file; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// Id of the broker that owns the directory.
    pub broker_id: Option<i32>,
    /// Cluster that the directory's data belongs to.
    pub cluster_id: Option<String>,
    /// Id of the directory itself, kept as it is (a KRaft migration writes it).
    pub directory_id: Option<String>,
}

/// Why a log directory does not belong to this broker. The broker must not start.
#[derive(Debug, thiserror::Error)]
pub enum MetaPropertiesError {
    /// The file cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The directory belongs to a KRaft cluster.
    #[error(
        "Found unexpected version in {}. ZK-based brokers that are not migrating only support version 0 \
         (which is implicit when the `version` field is missing).", path.display()
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
    },
    /// The directory's data belongs to another cluster.
    #[error(
        "Invalid cluster.id in: {}. Expected {expected}, but read {found}. Point log.dirs at this cluster's data, \
         or zookeeper.connect at the other cluster.", path.display()
    )]
    WrongCluster {
        /// The file.
        path: PathBuf,
        /// Cluster id in ZooKeeper.
        expected: String,
        /// Cluster id in the file.
        found: String,
    },
    /// The directory's data belongs to another broker.
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {}. If you moved your data, make sure your \
         configured node id matches. If you intend to create a new node, you should remove all data in your data \
         directories.", path.display()
    )]
    WrongBroker {
        /// The file.
        path: PathBuf,
        /// Broker id by configuration or by another directory.
        expected: i32,
        /// Broker id in the file.
        found: i32,
    },
}

/// Reads the file of a log directory; `None` if there is none.
///
/// # Errors
/// [`MetaPropertiesError`] if it is malformed or of another version than 0.
pub fn read(log_dir: &Path) -> Result<Option<MetaProperties>, MetaPropertiesError> {
    let path = log_dir.join(FILE_NAME);
    let bytes = match fs::read(&path).context("read", &path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let entries = common::properties::parse(&bytes)
        .map_err(|error| StorageError::corrupt(&path, error.to_string()))?;
    let mut meta = MetaProperties::default();
    let (mut version, mut has_node_id) = (0, false);
    for entry in entries {
        let number = || {
            entry.value.parse::<i32>().map_err(|_| {
                let reason = format!("line {}: {} is not a number", entry.line, entry.key);
                StorageError::corrupt(&path, reason)
            })
        };
        match entry.key.as_str() {
            "version" => version = number()?,
            "broker.id" => meta.broker_id = Some(number()?),
            "cluster.id" => meta.cluster_id = Some(entry.value.clone()),
            "directory.id" => meta.directory_id = Some(entry.value.clone()),
            "node.id" => has_node_id = true,
            _ => {}
        }
    }
    let malformed = |reason: String| Err(StorageError::corrupt(&path, reason).into());
    if let Some(id) = meta.directory_id.as_deref()
        && Uuid::parse(id).is_none()
    {
        return malformed(format!("directory.id {id} is not an id"));
    }
    match version {
        0 => Ok(Some(meta)),
        1 if has_node_id && meta.cluster_id.is_some() => {
            Err(MetaPropertiesError::UnsupportedVersion { path })
        }
        1 => malformed("version 1 needs node.id and cluster.id".to_owned()),
        _ => malformed(format!("version {version} is not known")),
    }
}

/// Writes the file of a log directory, with the date in its second line as Java does.
///
/// # Errors
/// [`StorageError::Io`] if it cannot be replaced.
pub fn write(log_dir: &Path, meta: &MetaProperties, now_ms: i64) -> StorageResult<()> {
    let mut text = format!("#\n#{}\n", java_date(now_ms));
    if let Some(broker_id) = meta.broker_id {
        text.push_str(&format!("broker.id={broker_id}\n"));
    }
    text.push_str("version=0\n");
    if let Some(directory_id) = &meta.directory_id {
        text.push_str(&format!("directory.id={directory_id}\n"));
    }
    if let Some(cluster_id) = &meta.cluster_id {
        text.push_str(&format!("cluster.id={cluster_id}\n"));
    }
    write_atomically(&log_dir.join(FILE_NAME), text.as_bytes())
}

/// The directories whose file cannot be read or makes no sense: they count as failed from the start.
pub fn unreadable(log_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let fails = |dir: &&PathBuf| match read(dir) {
        Err(MetaPropertiesError::Storage(error)) => {
            tracing::error!(%error, "log directory is not used");
            true
        }
        _ => false,
    };
    log_dirs.iter().filter(fails).cloned().collect()
}

/// Checks the files of all log directories against the cluster and, if configured, the broker id.
/// Answers the broker id that the files agree on.
///
/// # Errors
/// [`MetaPropertiesError`] for the first directory that belongs elsewhere.
pub fn verify(
    log_dirs: &[PathBuf],
    cluster_id: &str,
    configured_broker_id: Option<i32>,
) -> Result<Option<i32>, MetaPropertiesError> {
    let mut broker_id = configured_broker_id;
    for dir in log_dirs {
        let Some(meta) = read(dir)? else {
            continue;
        };
        let path = dir.join(FILE_NAME);
        if let Some(found) = meta.cluster_id.filter(|found| found != cluster_id) {
            let expected = cluster_id.to_owned();
            return Err(MetaPropertiesError::WrongCluster {
                path,
                expected,
                found,
            });
        }
        match (broker_id, meta.broker_id) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(MetaPropertiesError::WrongBroker {
                    path,
                    expected,
                    found,
                });
            }
            (None, found) => broker_id = found,
            _ => {}
        }
    }
    Ok(broker_id)
}

/// Gives every directory a file with this broker and cluster; files that already say so stay as they are. Answers the
/// directories where that fails.
///
/// # Errors
/// [`MetaPropertiesError`] if a file makes no sense.
pub fn ensure(
    log_dirs: &[PathBuf],
    cluster_id: &str,
    broker_id: i32,
    now_ms: i64,
) -> Result<Vec<PathBuf>, MetaPropertiesError> {
    let mut failed = Vec::new();
    for dir in log_dirs {
        let found = read(dir)?;
        let wanted = MetaProperties {
            broker_id: Some(broker_id),
            cluster_id: Some(cluster_id.to_owned()),
            directory_id: found.as_ref().and_then(|meta| meta.directory_id.clone()),
        };
        if found.as_ref() != Some(&wanted) {
            let written = fs::create_dir_all(dir)
                .context("create", dir)
                .and_then(|()| write(dir, &wanted, now_ms));
            if let Err(error) = written {
                tracing::error!(%error, "log directory is not used");
                failed.push(dir.clone());
            }
        }
    }
    Ok(failed)
}

/// A date as `java.util.Date` prints it, in UTC.
fn java_date(now_ms: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ];
    let seconds = now_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from March, so that the leap day is a year's last.
    let since_era = days + 719_468;
    let (era, day_of_era) = (since_era.div_euclid(146_097), since_era.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        WEEKDAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_once_then_checked() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().join("a"), dir.path().join("b")];
        assert_eq!(verify(&dirs, "c1", None).unwrap(), None);
        ensure(&dirs, "c1", 4, 1_709_251_199_000).unwrap();
        let text = fs::read_to_string(dirs[1].join(FILE_NAME)).unwrap();
        assert_eq!(
            text,
            "#\n#Thu Feb 29 23:59:59 UTC 2024\nbroker.id=4\nversion=0\ncluster.id=c1\n"
        );
        assert_eq!(verify(&dirs, "c1", None).unwrap(), Some(4));
        let error = verify(&dirs, "c2", Some(4)).unwrap_err();
        assert!(matches!(error, MetaPropertiesError::WrongCluster { .. }));
        let error = verify(&dirs, "c1", Some(5)).unwrap_err();
        assert!(matches!(
            error,
            MetaPropertiesError::WrongBroker { found: 4, .. }
        ));
        fs::write(
            dirs[0].join(FILE_NAME),
            "version=1\nnode.id=4\ncluster.id=c1\n",
        )
        .unwrap();
        let error = verify(&dirs, "c1", Some(4)).unwrap_err();
        assert!(matches!(
            error,
            MetaPropertiesError::UnsupportedVersion { .. }
        ));
    }
}
