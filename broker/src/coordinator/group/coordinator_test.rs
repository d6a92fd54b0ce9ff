//! The coordinator on a log in memory: what it stores it finds again, here or on another broker.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire::records::batch::{Batches, patch_base_offset};
use parking_lot::{Condvar, Mutex};

use super::*;
use crate::coordinator::group::message::Protocol;
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::internal_log::{Appended, Chunk};

/// Partitions of batches; replication can be held back, or made to fail.
#[derive(Default)]
struct MemoryLog {
    partitions: Mutex<BTreeMap<i32, Vec<u8>>>,
    next_offset: Mutex<BTreeMap<i32, i64>>,
    held: Arc<(Mutex<bool>, tokio::sync::Notify)>,
    error: Mutex<Option<ErrorCode>>,
    may_read: Mutex<bool>,
    read_again: Condvar,
}

impl MemoryLog {
    fn new() -> Arc<MemoryLog> {
        let log = MemoryLog::default();
        *log.may_read.lock() = true;
        Arc::new(log)
    }

    fn hold_replication(&self, held: bool) {
        *self.held.0.lock() = held;
        self.held.1.notify_waiters();
    }

    fn hold_reads(&self, held: bool) {
        *self.may_read.lock() = !held;
        self.read_again.notify_all();
    }
}

impl InternalLog for MemoryLog {
    fn append(&self, partition: i32, batch: Bytes, _acks: i16) -> Result<Appended, ErrorCode> {
        if let Some(error) = *self.error.lock() {
            return Err(error);
        }
        let mut batch = batch.to_vec();
        let mut next = self.next_offset.lock();
        let next = next.entry(partition).or_insert(0);
        let base_offset = *next;
        patch_base_offset(&mut batch, base_offset);
        for batch in Batches::new(&batch) {
            *next = batch.unwrap().header.next_offset();
        }
        self.partitions
            .lock()
            .entry(partition)
            .or_default()
            .extend(batch);
        let held = Arc::clone(&self.held);
        let replicating = async move {
            loop {
                let moved = held.1.notified();
                if !*held.0.lock() {
                    return Ok(());
                }
                moved.await;
            }
        };
        Ok(Appended {
            base_offset,
            replicating: Box::pin(replicating),
        })
    }

    fn max_batch_bytes(&self, _partition: i32) -> Option<usize> {
        Some(1_048_588)
    }

    fn start_offset(&self, _partition: i32) -> Option<i64> {
        Some(0)
    }

    fn read(&self, partition: i32, from: i64, _max: usize) -> Result<Option<Chunk>, String> {
        let mut may_read = self.may_read.lock();
        while !*may_read {
            self.read_again.wait(&mut may_read);
        }
        let partitions = self.partitions.lock();
        let bytes = partitions
            .get(&partition)
            .map(Vec::as_slice)
            .unwrap_or_default();
        // One batch at a time, so that loading takes several reads.
        let batch = Batches::new(bytes)
            .map(|batch| batch.unwrap())
            .find(|batch| batch.header.next_offset() > from);
        Ok(batch.map(|batch| Chunk {
            batches: Bytes::copy_from_slice(batch.bytes()),
        }))
    }
}

fn start(log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    let settings = GroupSettings {
        min_session_timeout_ms: 10,
        max_session_timeout_ms: 60_000,
        max_size: 10,
        initial_rebalance_delay_ms: 1,
        max_offset_metadata_size: 10,
        offsets_retention_ms: 3_600_000,
    };
    let config = CoordinatorConfig {
        settings,
        partitions: 1,
        load_buffer_bytes: 1000,
        retention_check_interval_ms: 5,
        required_acks: -1,
        codec: Codec::Zstd,
    };
    let coordinator = GroupCoordinator::new(config, Arc::clone(log) as Arc<dyn InternalLog>);
    coordinator.start();
    coordinator
}

async fn started(log: &Arc<MemoryLog>, epoch: i32) -> Arc<GroupCoordinator> {
    let coordinator = start(log);
    coordinator.on_elected(0, epoch);
    settled(&coordinator).await;
    coordinator
}

async fn settled(coordinator: &GroupCoordinator) {
    while coordinator.list(&[]).0 == ErrorCode::CoordinatorLoadInProgress {
        tokio::task::yield_now().await;
    }
}

static NEXT_UUID: AtomicU64 = AtomicU64::new(0);

fn join(member_id: &str, session_timeout_ms: i32) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"m"),
        }],
        require_known_member_id: false,
        can_skip_assignment: true,
        reason: None,
        fresh_uuid: NEXT_UUID.fetch_add(1, Ordering::Relaxed).to_string().into(),
    }
}

fn sync(member_id: &ByteString, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: member_id.clone(),
        group_instance_id: None,
        generation,
        protocol_type: None,
        protocol_name: None,
        assignments: [(member_id.clone(), Bytes::from_static(b"all"))].into(),
    }
}

fn commit(member_id: &str, generation: i32, offset: i64, expire_at: Option<i64>) -> CommitRequest {
    let value = OffsetAndMetadata {
        offset,
        leader_epoch: None,
        metadata: "note".into(),
        commit_timestamp_ms: crate::coordinator::clock::wall_ms(),
        expire_timestamp_ms: expire_at,
    };
    CommitRequest {
        member_id: member_id.into(),
        group_instance_id: None,
        generation,
        producer: None,
        offsets: vec![(
            TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            value,
        )],
    }
}

fn committed(coordinator: &GroupCoordinator, group: &str) -> Option<i64> {
    let offsets = coordinator
        .fetch_offsets(&group.into(), None, false)
        .unwrap();
    offsets.first().map(|(_, fetched)| fetched.offset)
}

#[tokio::test]
async fn another_broker_finds_the_group_as_it_was_left() {
    let log = MemoryLog::new();
    let first = started(&log, 0).await;
    let group = ByteString::from("g");
    let joined = first.join(&group, join("", 10_000)).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    let synced = first.sync(&group, sync(&joined.member_id, 1)).await;
    assert_eq!(synced.assignment, "all");
    let results = first
        .commit(&group, commit(&joined.member_id, 1, 42, None))
        .await;
    assert_eq!(results[0].1, ErrorCode::None);
    let left_as = first.describe(&group).unwrap();

    first.on_resigned(0, Some(1));
    assert_eq!(first.describe(&group), Err(ErrorCode::NotCoordinator));
    let second = started(&log, 1).await;
    assert_eq!(second.describe(&group).unwrap(), left_as);
    assert_eq!(committed(&second, "g"), Some(42));
    let beat = second.heartbeat(&group, &joined.member_id, None, 1);
    assert_eq!(beat, ErrorCode::None);
    // Old news does not take the group away.
    second.on_resigned(0, Some(0));
    assert_eq!(
        second.heartbeat(&group, &joined.member_id, None, 1),
        ErrorCode::None
    );
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_replicated() {
    let log = MemoryLog::new();
    let coordinator = started(&log, 0).await;
    let group = ByteString::from("g");
    log.hold_replication(true);
    let asked = {
        let (coordinator, group) = (Arc::clone(&coordinator), group.clone());
        tokio::spawn(async move { coordinator.commit(&group, commit("", -1, 7, None)).await })
    };
    while log.partitions.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished());
    assert_eq!(committed(&coordinator, "g"), None);
    log.hold_replication(false);
    assert_eq!(asked.await.unwrap()[0].1, ErrorCode::None);
    assert_eq!(committed(&coordinator, "g"), Some(7));
    *log.error.lock() = Some(ErrorCode::NotLeaderOrFollower);
    let failed = coordinator.commit(&group, commit("", -1, 8, None)).await;
    assert_eq!(failed[0].1, ErrorCode::NotCoordinator);
    assert_eq!(committed(&coordinator, "g"), Some(7));
}

#[tokio::test]
async fn clients_are_told_to_wait_while_groups_are_loaded() {
    let log = MemoryLog::new();
    log.hold_reads(true);
    let coordinator = start(&log);
    let group = ByteString::from("g");
    assert_eq!(coordinator.describe(&group), Err(ErrorCode::NotCoordinator));
    coordinator.on_elected(0, 0);
    assert_eq!(
        coordinator.describe(&group),
        Err(ErrorCode::CoordinatorLoadInProgress)
    );
    assert_eq!(coordinator.heartbeat(&group, "m", None, 1), ErrorCode::None);
    let synced = coordinator.sync(&group, sync(&"m".into(), 1)).await;
    assert_eq!(synced.error, ErrorCode::RebalanceInProgress);
    let joined = coordinator.join(&group, join("", 10_000)).await;
    assert_eq!(joined.error, ErrorCode::CoordinatorLoadInProgress);
    // Resigned and elected again while it was reading: the first reading counts for nothing.
    coordinator.on_resigned(0, Some(1));
    coordinator.on_elected(0, 2);
    log.hold_reads(false);
    settled(&coordinator).await;
    assert_eq!(coordinator.describe(&group).unwrap().state, "Dead");
}

#[tokio::test]
async fn whoever_waits_is_sent_away_when_the_partition_moves() {
    let log = MemoryLog::new();
    let coordinator = started(&log, 0).await;
    let group = ByteString::from("g");
    let first = coordinator.join(&group, join("", 10_000)).await;
    coordinator.sync(&group, sync(&first.member_id, 1)).await;
    // The second one waits for the first to come back.
    let waits = {
        let (coordinator, group) = (Arc::clone(&coordinator), group.clone());
        tokio::spawn(async move { coordinator.join(&group, join("", 10_000)).await })
    };
    while coordinator.describe(&group).unwrap().state != "PreparingRebalance" {
        tokio::task::yield_now().await;
    }
    coordinator.on_resigned(0, None);
    assert_eq!(waits.await.unwrap().error, ErrorCode::NotCoordinator);
}

#[tokio::test]
async fn members_and_offsets_that_time_out_are_forgotten_for_good() {
    let log = MemoryLog::new();
    let coordinator = started(&log, 0).await;
    let group = ByteString::from("g");
    let joined = coordinator.join(&group, join("", 20)).await;
    coordinator.sync(&group, sync(&joined.member_id, 1)).await;
    let expired = Some(crate::coordinator::clock::wall_ms());
    coordinator
        .commit(&group, commit(&joined.member_id, 1, 42, expired))
        .await;
    while coordinator.describe(&group).unwrap().state != "Dead" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(coordinator.list(&[]).1, []);
    coordinator.shutdown();
    assert_eq!(
        coordinator.describe(&group),
        Err(ErrorCode::CoordinatorNotAvailable)
    );
    let next = started(&log, 1).await;
    assert_eq!(next.list(&[]).1, []);
}
