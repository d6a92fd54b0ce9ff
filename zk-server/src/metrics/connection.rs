//! Pure: what one connection counts (ServerCnxn.java).

use crate::metrics::summary::Summary;

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
    /// Of its requests, in milliseconds.
    pub latency: Summary,
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
            latency: Summary::default(),
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
