//! Pure: keys of connections, sessions, requests and znodes.

use common::config::Rule;

use crate::config::keys::Form::{Decimal, Flag, IntOrDefault, LongOrDefault, Text};
use crate::config::keys::Key;

const ONE_THREAD: &str = "one thread serves all connections, without Java's buffers and pools";
const NO_CACHE: &str = "replies are made from the tree, which needs no cache of them";
const WATCHES: &str = "there is one kind of watch table, which is compact and needs no cleaner";
const GROUPS: &str = "requests that wait are written together as soon as the disk is free";
const NO_STALL: &str = "requests that wait go on as soon as there is room";
const CLOSED: &str = "requests of a connection that is gone are done or dropped as they come";
const NO_QUEUE: &str = "requests that wait are in their sockets and need no time to be dropped";
const TOP_PATHS: &str = "statistics of the most used paths are not collected";
const WATCH_MANAGERS: &[&str] = &[
    "org.apache.zookeeper.server.watch.WatchManager",
    "org.apache.zookeeper.server.watch.WatchManagerOptimized",
];

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("maxCnxns", IntOrDefault).default("0"),
    Key::both("clientTcpKeepAlive", Flag).default("false"),
    Key::both("nio.sessionlessCnxnTimeout", IntOrDefault)
        .default("10000")
        .rule(Rule::AtLeast(1)),
    Key::both("nio.numSelectorThreads", Text).idle(ONE_THREAD),
    Key::both("nio.numWorkerThreads", Text).idle(ONE_THREAD),
    Key::both("nio.directBufferBytes", Text).idle(ONE_THREAD),
    Key::both("nio.shutdownTimeout", Text).idle(ONE_THREAD),
    Key::both("intBufferStartingSizeBytes", Text).idle(ONE_THREAD),
    Key::both("netty.advancedFlowControl.enabled", Text)
        .idle("connections are always read only as fast as their requests are answered"),
    Key::both("globalOutstandingLimit", IntOrDefault).default("1000"),
    Key::both("connection_throttle_tokens", IntOrDefault).default("0"),
    Key::both("connection_throttle_fill_time", IntOrDefault).default("1"),
    Key::both("connection_throttle_fill_count", IntOrDefault).default("1"),
    Key::both("connection_throttle_freeze_time", IntOrDefault).default("-1"),
    Key::both("connection_throttle_drop_increase", Decimal).default("0.02"),
    Key::both("connection_throttle_drop_decrease", Decimal).default("0.002"),
    Key::both("connection_throttle_decrease_ratio", Decimal).default("0"),
    Key::both("connection_throttle_weight_enabled", Flag).default("false"),
    Key::both("connection_throttle_global_session_weight", IntOrDefault).default("3"),
    Key::both("connection_throttle_local_session_weight", IntOrDefault).default("1"),
    Key::both("connection_throttle_renew_session_weight", IntOrDefault).default("2"),
    Key::both("request_throttle_max_requests", IntOrDefault).default("0"),
    Key::both("request_throttle_stall_time", Text).idle(NO_STALL),
    Key::both("request_throttle_drop_stale", Flag).default("true"),
    Key::both("request_stale_latency_check", Flag).default("false"),
    Key::both("request_stale_connection_check", Text).idle(CLOSED),
    Key::both("request_throttler.shutdownTimeout", Text).idle(NO_QUEUE),
    Key::both("throttled_op_wait_time", IntOrDefault).default("0"),
    Key::both("largeRequestThreshold", IntOrDefault).default("-1"),
    Key::both("largeRequestMaxBytes", IntOrDefault).default("104857600"),
    Key::both("digest.enabled", Flag).default("true"),
    Key::both("closeSessionTxn.enabled", Flag).default("true"),
    Key::both("extendedTypesEnabled", Flag).default("false"),
    Key::both("emulate353TTLNodes", Flag).default("false"),
    Key::both("enforceQuota", Flag).default("false"),
    Key::both("maxResponseCacheSize", Text).idle(NO_CACHE),
    Key::both("maxGetChildrenResponseCacheSize", Text).idle(NO_CACHE),
    Key::both("watchManagerName", Text)
        .rule(Rule::OneOf(WATCH_MANAGERS))
        .idle(WATCHES),
    Key::both("watcherCleanThreadsNum", Text).idle(WATCHES),
    Key::both("watcherCleanThreshold", Text).idle(WATCHES),
    Key::both("watcherCleanIntervalInSeconds", Text).idle(WATCHES),
    Key::both("maxInProcessingDeadWatchers", Text).idle(WATCHES),
    Key::both("bitHashCacheSize", Text).idle(WATCHES),
    Key::both("maxBatchSize", Text).idle(GROUPS),
    Key::both("flushDelay", Text).idle(GROUPS),
    Key::both("maxWriteQueuePollTime", Text).idle(GROUPS),
    Key::both("pathStats.*", Text).none(TOP_PATHS),
    // A single server is never read-only; the word `isro` is allowed then.
    Key::property("readonlymode.enabled", Text),
    Key::property("jute.maxbuffer", IntOrDefault).default("1048575"),
    Key::both("jute.maxbuffer.extrasize", Text)
        .idle("what the server itself has written is read whatever its size"),
    Key::property("znode.container.checkIntervalMs", IntOrDefault)
        .default("60000")
        .rule(Rule::AtLeast(1)),
    Key::property("znode.container.maxPerMinute", IntOrDefault).default("10000"),
    Key::property("znode.container.maxNeverUsedIntervalMs", LongOrDefault).default("0"),
];
