//! Pure: what the whole server counts (ServerStats.java, ServerMetrics.java). The names in
//! backquotes are ZooKeeper's.

use crate::metrics::percentiles::Percentiles;
use crate::metrics::summary::Summary;

/// Sizes of a series of packets in bytes (BufferStats.java).
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The last, -1 before the first.
    pub last: i64,
    /// The largest, -1 before the first.
    pub max: i64,
    min: i64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            last: -1,
            max: -1,
            min: i64::MAX,
        }
    }
}

impl Sizes {
    /// Adds one.
    pub fn observe(&mut self, bytes: u64) {
        self.last = bytes as i64;
        self.max = self.max.max(self.last);
        self.min = self.min.min(self.last);
    }

    /// The smallest, -1 before the first.
    pub fn min(&self) -> i64 {
        if self.last < 0 { -1 } else { self.min }
    }
}

/// Counters of the whole server.
#[derive(Clone, Debug, Default)]
pub struct ServerStats {
    /// `packets_received`: packets and four-letter words.
    pub packets_received: u64,
    /// `packets_sent`.
    pub packets_sent: u64,
    /// `bytes_received_count`.
    pub bytes_received: u64,
    /// `response_bytes`: replies without their lengths.
    pub response_bytes: u64,
    /// `watch_bytes`: events without their lengths.
    pub watch_bytes: u64,
    /// `last_client_response_size` and its like: replies and events.
    pub reply_sizes: Sizes,
    /// `readlatency` in milliseconds: requests that are not logged.
    pub read_latency: Percentiles,
    /// `updatelatency` in milliseconds: requests that are logged.
    pub update_latency: Percentiles,
    /// Times, sizes and counts of the pipeline.
    pub requests: RequestStats,
    /// Connections and sessions.
    pub connections: ConnectionsStats,
    /// The log and the snapshots.
    pub disk: DiskStats,
    /// `readlatency` before [`ServerStats::reset_packets`].
    pub earlier_reads: Percentiles,
    /// `updatelatency` before [`ServerStats::reset_packets`].
    pub earlier_updates: Percentiles,
}

/// What happens to requests.
#[derive(Clone, Debug, Default)]
pub struct RequestStats {
    /// `prep_processor_request_queued`: requests of clients and of the server itself.
    pub prepared: u64,
    /// `prep_process_time` in milliseconds of multis and of the ends of sessions, the only
    /// requests whose decision can take as long as that; all others count as 0.
    pub prepare_ms: Percentiles,
    /// `close_session_prep_time` in milliseconds.
    pub close_session_prepare_ms: Percentiles,
    /// `propagation_latency` in milliseconds: from the decision to its application.
    pub propagation_ms: Percentiles,
    /// `throttled_ops`: requests refused because they waited for too long.
    pub throttled_ops: u64,
    /// `request_throttle_queue_time_ms` of requests that had to wait; all others count as 0.
    pub throttle_queue_ms: Percentiles,
    /// `request_throttle_wait_count`.
    pub throttle_waits: u64,
    /// `stale_requests`.
    pub stale: u64,
    /// `stale_requests_dropped`.
    pub stale_dropped: u64,
    /// `stale_replies`.
    pub stale_replies: u64,
    /// `large_requests_rejected`.
    pub large_rejected: u64,
    /// `unrecoverable_error_count`.
    pub unrecoverable_errors: u64,
}

/// Connections and sessions.
#[derive(Clone, Debug, Default)]
pub struct ConnectionsStats {
    /// `connection_request_count`: requests for a session.
    pub requested: u64,
    /// `connection_revalidate_count`: of them those for an old one.
    pub revalidated: u64,
    /// `connection_token_deficit` of the connection throttle.
    pub token_deficit: Percentiles,
    /// `connection_rejected`: turned away for a limit.
    pub rejected: u64,
    /// `connection_drop_count`: ended by the client while its session lasted.
    pub dropped: u64,
    /// `sessionless_connections_expired`.
    pub sessionless_expired: u64,
    /// `stale_sessions_expired`: sessions whose time was over.
    pub sessions_expired: u64,
    /// `unsuccessful_handshake` of TLS.
    pub failed_handshakes: u64,
    /// `tls_handshake_exceeded`: turned away for too many handshakes at once.
    pub handshakes_exceeded: u64,
    /// `outstanding_tls_handshake`: under way now; not reset.
    pub handshakes_under_way: u64,
    /// `insecure_admin_count`: plain HTTP on an AdminServer that also takes TLS.
    pub insecure_admin: u64,
    /// `ensemble_auth_success`.
    pub ensemble_auth_success: u64,
    /// `ensemble_auth_fail`.
    pub ensemble_auth_fail: u64,
    /// `ensemble_auth_skip`.
    pub ensemble_auth_skip: u64,
    /// `auth_failed_count`; not reset.
    pub auth_failures: u64,
    /// `non_mtls_remote_conn_count`: sessions asked for from elsewhere without a certificate; not
    /// reset.
    pub non_mtls_remote: u64,
    /// `non_mtls_local_conn_count`: the same from this machine; not reset.
    pub non_mtls_local: u64,
}

/// The log and the snapshots.
#[derive(Clone, Debug, Default)]
pub struct DiskStats {
    /// `sync_processor_request_queued`: writes on their way to the log. Reads take another way
    /// here, so they are not among them.
    pub queued: u64,
    /// `fsynctime` in milliseconds.
    pub sync_ms: Percentiles,
    /// Syncs slower than `fsync.warningthresholdms`; not reset.
    pub slow_syncs: u64,
    /// `sync_processor_batch_size`: transactions written together.
    pub batch_sizes: Percentiles,
    /// `sync_processor_queue_flush_time_ms` of batches.
    pub flush_ms: Percentiles,
    /// `sync_processor_queue_time_ms`: from the decision to the begin of its batch.
    pub queue_ms: Percentiles,
    /// `sync_processor_queue_and_flush_time_ms`.
    pub queue_and_flush_ms: Percentiles,
    /// `sync_process_time`: writing and syncing a batch, in milliseconds.
    pub append_ms: Percentiles,
    /// `sync_processor_queue_size`: writes that wait while a batch is written.
    pub queue_sizes: Percentiles,
    /// `snapshottime` in milliseconds.
    pub snapshot_ms: Percentiles,
    /// `dbinittime` in milliseconds.
    pub load_ms: Percentiles,
    /// `startup_txns_loaded`.
    pub transactions_loaded: Percentiles,
    /// `startup_txns_load_time` in milliseconds.
    pub transactions_load_ms: Percentiles,
    /// `startup_snap_load_time` in milliseconds.
    pub snapshot_load_ms: Percentiles,
}

impl ServerStats {
    /// Latency of all requests in milliseconds.
    pub fn latency(&self) -> Summary {
        self.read_latency
            .summary()
            .merged(self.update_latency.summary())
    }

    /// Notes a packet that no request of a session asked for, such as the answer to `auth`.
    pub fn sent(&mut self, bytes: u64) {
        self.packets_sent += 1;
        self.reply_sizes.observe(bytes);
    }

    /// Notes a reply of so many bytes.
    pub fn replied(&mut self, bytes: u64) {
        self.packets_sent += 1;
        self.response_bytes += bytes;
        self.reply_sizes.observe(bytes);
    }

    /// Notes an event of so many bytes.
    pub fn notified(&mut self, bytes: u64) {
        self.packets_sent += 1;
        self.watch_bytes += bytes;
        self.reply_sizes.observe(bytes);
    }

    /// `srst` where counters must not go back: packets, sizes and latencies begin anew.
    pub fn reset_packets(&mut self) {
        self.earlier_reads.merge(&self.read_latency);
        self.earlier_updates.merge(&self.update_latency);
        self.read_latency = Percentiles::none();
        self.update_latency = Percentiles::none();
        self.packets_received = 0;
        self.packets_sent = 0;
        self.reply_sizes = Sizes::default();
    }

    /// `srst`: begins anew, but for gauges and what counts events of the server's life.
    pub fn reset(&mut self) {
        let old = std::mem::take(self);
        let kept = &old.connections;
        self.connections.auth_failures = kept.auth_failures;
        self.connections.non_mtls_remote = kept.non_mtls_remote;
        self.connections.non_mtls_local = kept.non_mtls_local;
        self.connections.handshakes_under_way = kept.handshakes_under_way;
        self.disk.slow_syncs = old.disk.slow_syncs;
    }
}
