//! Pure: what the server counts, under ZooKeeper's names (ServerStats.java, ServerCnxn.java).

/// Smallest, largest and mean latency in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    count: u64,
    total_ms: u64,
    min_ms: Option<u64>,
    max_ms: u64,
}

impl Latency {
    /// Adds one request.
    pub fn observe(&mut self, ms: u64) {
        self.count += 1;
        self.total_ms += ms;
        self.min_ms = Some(self.min_ms.map_or(ms, |min| min.min(ms)));
        self.max_ms = self.max_ms.max(ms);
    }

    /// The smallest, 0 before the first request.
    pub fn min(&self) -> u64 {
        self.min_ms.unwrap_or(0)
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max_ms
    }

    /// The mean to four decimals, as AvgMinMaxCounter rounds it.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.total_ms as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }

    /// The mean without its fraction, as connections tell it.
    pub fn whole_mean(&self) -> u64 {
        self.total_ms.checked_div(self.count).unwrap_or(0)
    }
}

/// Counters of the whole server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerStats {
    /// Packets and four-letter words received.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Of all requests.
    pub latency: Latency,
    /// Connections turned away for a limit.
    pub connections_rejected: u64,
    /// Connections that ended.
    pub connections_dropped: u64,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Failed authentications.
    pub auth_failures: u64,
    /// Syncs slower than `fsync.warningthresholdms`.
    pub slow_syncs: u64,
    /// Batches written to the log.
    pub batches: u64,
    /// Transactions written to the log.
    pub transactions: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Sizes of replies in bytes: last, smallest, largest.
    pub reply_bytes: Option<(u64, u64, u64)>,
}

impl ServerStats {
    /// Notes the size of a reply.
    pub fn replied(&mut self, bytes: u64) {
        self.packets_sent += 1;
        self.reply_bytes = Some(match self.reply_bytes {
            None => (bytes, bytes, bytes),
            Some((_, min, max)) => (bytes, min.min(bytes), max.max(bytes)),
        });
    }

    /// `srst`: begins anew, but for what counts events of the server's life.
    pub fn reset(&mut self) {
        self.packets_received = 0;
        self.packets_sent = 0;
        self.latency = Latency::default();
        self.reply_bytes = None;
    }
}

/// Counters of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionStats {
    /// Wall clock when it was accepted, in milliseconds.
    pub established_ms: i64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Four-letter name of the last operation.
    pub last_operation: &'static str,
    /// The client's number of the last request.
    pub last_cxid: i64,
    /// Zxid of the last reply.
    pub last_zxid: i64,
    /// Monotonic time of the last reply in milliseconds.
    pub last_response_ms: i64,
    /// Latency of the last request in milliseconds.
    pub last_latency_ms: u64,
    /// Of its requests.
    pub latency: Latency,
}

impl ConnectionStats {
    /// A connection that was accepted at this wall clock.
    pub fn new(established_ms: i64) -> Self {
        Self {
            established_ms,
            received: 0,
            sent: 0,
            last_operation: "NA",
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
            latency: Latency::default(),
        }
    }

    /// Notes a reply; special cxids do not hide the last real one.
    pub fn replied(&mut self, cxid: i32, zxid: i64, operation: &'static str, now_ms: i64, ms: u64) {
        if cxid >= 0 {
            self.last_cxid = i64::from(cxid);
        }
        self.last_zxid = zxid;
        self.last_operation = operation;
        self.last_response_ms = now_ms;
        self.last_latency_ms = ms;
        self.latency.observe(ms);
    }

    /// `crst`: begins anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.established_ms);
    }
}
