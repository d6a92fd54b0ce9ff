//! Pure: the loads that brokers are compared under, with what ours must reach.

use kafka_wire::records::compression::Codec;

use crate::frames::Batch;
use crate::report::Targets;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send batches, with these acks.
    Produce(i16),
    /// Read batches that are there.
    Fetch,
}

/// One load.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// As it is printed.
    pub name: &'static str,
    /// Whether it writes or reads.
    pub action: Action,
    /// What is written or read.
    pub batch: Batch,
    /// How many clients do it at once, each with a partition of its own.
    pub clients: i32,
    /// How many requests of a client wait for their answers at most.
    pub in_flight: usize,
    /// What ours must reach.
    pub targets: Targets,
}

const fn plain(records: usize) -> Batch {
    Batch {
        records,
        value_bytes: 1000,
        codec: Codec::None,
    }
}

const fn case(name: &'static str, action: Action, batch: Batch, cpu: f64) -> Case {
    Case {
        name,
        action,
        batch,
        clients: 2,
        // As many as the stock producer.
        in_flight: 5,
        targets: Targets {
            throughput: 1.0,
            cpu: Some(cpu),
        },
    }
}

/// All loads.
pub const CASES: &[Case] = &[
    case("produce 1 KiB", Action::Produce(1), plain(1), 5.0),
    case("produce 16 KiB", Action::Produce(1), plain(16), 5.0),
    case(
        "produce 512 KiB acks=all",
        Action::Produce(-1),
        plain(510),
        2.0,
    ),
    case(
        "produce 128 KiB lz4",
        Action::Produce(1),
        Batch {
            codec: Codec::Lz4,
            ..plain(128)
        },
        2.0,
    ),
    case("fetch 16 KiB", Action::Fetch, plain(16), 3.0),
    case("fetch 512 KiB", Action::Fetch, plain(510), 2.0),
];
