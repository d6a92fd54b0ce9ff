//! Shell: DescribeLogDirs, 0 to 4: what each log directory holds (`ReplicaManager.describeLogDirs`, KIP-113, KIP-827).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::api::context::{RequestContext, Services};

/// Answers with one result per configured directory.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    // Also those that failed before they could be opened.
    let configured = services.config.log_dirs.iter();
    DescribeLogDirsResponse {
        results: configured
            .map(|path| describe(services, path, &request))
            .collect(),
        ..DescribeLogDirsResponse::default()
    }
}

fn describe(
    services: &Services,
    path: &Path,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResult {
    let mut online = services.logs.online_dirs();
    let dir = online.find(|dir| dir.path() == path);
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut result = DescribeLogDirsResult {
        log_dir: ByteString::from(path.to_string_lossy().into_owned()),
        ..DescribeLogDirsResult::default()
    };
    let (Some(dir), Some((total_bytes, usable_bytes))) = (dir, space(&path)) else {
        result.error_code = ErrorCode::KafkaStorageError.code();
        return result;
    };
    result.total_bytes = total_bytes;
    result.usable_bytes = usable_bytes;
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in services.logs.logs_in(dir) {
        let partition = log.partition();
        if !is_wanted(request, &partition.topic, partition.partition) {
            continue;
        }
        let behind = log.high_watermark() - log.log_end_offset();
        topics
            .entry(partition.topic.to_string())
            .or_default()
            .push(DescribeLogDirsPartition {
                partition_index: partition.partition,
                partition_size: log.size_bytes() as i64,
                offset_lag: behind.max(0),
                is_future_key: false,
            });
    }
    for (name, mut partitions) in topics {
        partitions.sort_by_key(|partition| partition.partition_index);
        result.topics.push(DescribeLogDirsTopic {
            name: ByteString::from(name),
            partitions,
        });
    }
    result
}

/// No list means every partition.
fn is_wanted(request: &DescribeLogDirsRequest, topic: &str, partition: i32) -> bool {
    let Some(topics) = &request.topics else {
        return true;
    };
    topics
        .iter()
        .any(|wanted| wanted.topic == topic && wanted.partitions.contains(&partition))
}

/// Total and usable bytes of the file system that holds a directory.
fn space(path: &Path) -> Option<(i64, i64)> {
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let bytes = |blocks: u64| {
                i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX)
            };
            Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
        }
        Err(error) => {
            tracing::warn!(
                "unable to describe log directory {}: {error}",
                path.display()
            );
            None
        }
    }
}
