//! Shell: sends the markers of decided transactions to the leaders of their partitions, this broker
//! among them, by WriteTxnMarkers (`TransactionMarkerChannelManager.scala`).

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::client::connection::{Connection, ConnectionError, ConnectionOptions};
use kafka_wire::messages::write_txn_markers::WriteTxnMarkersResponse;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::coordinator::TransactionCoordinator;
use crate::coordinator::transaction::marker_queues::{Leader, MarkerQueues, answers, request};
use crate::coordinator::transaction::message::Markers;
use crate::metadata::cache::MetadataCache;

/// Pause before markers are sent again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// How often leaders are looked for that are not known, if nothing is heard of them.
const LEADER_PATIENCE: Duration = Duration::from_secs(1);
/// Version of WriteTxnMarkers at inter-broker protocol 3.7.
const VERSION: i16 = 1;

/// Whether a partition exists, as ZooKeeper has it; true when that cannot be said.
pub type Exists =
    Box<dyn Fn(TopicPartition) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// What the sender needs to know.
pub struct MarkerSettings {
    /// This broker's id.
    pub broker_id: i32,
    /// `inter.broker.listener.name`
    pub listener: String,
    /// `request.timeout.ms`
    pub timeout: Duration,
    /// The cluster.
    pub metadata: Arc<MetadataCache>,
    /// Asked before a partition that the controller has not told of is taken for deleted: after a
    /// start decisions are loaded before the controller has told of all partitions.
    pub exists: Exists,
}

impl std::fmt::Debug for MarkerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MarkerSettings")
            .field("broker_id", &self.broker_id)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Command {
    Send(Markers),
    SendAgain(Markers),
    Forget(i32),
}

/// Where markers are handed in.
#[derive(Clone, Debug)]
pub struct MarkerQueue(mpsc::UnboundedSender<Command>);

/// What is handed in, for [`run`].
#[derive(Debug)]
pub struct MarkerInbox(mpsc::UnboundedReceiver<Command>);

/// A queue, and its other end.
pub fn queue() -> (MarkerQueue, MarkerInbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (MarkerQueue(sender), MarkerInbox(receiver))
}

impl MarkerQueue {
    /// Sends markers, after a pause if they were sent before.
    pub(super) fn send(&self, markers: Markers, again: bool) {
        // Fails only when the broker is stopping; the next start sends them.
        let _ = self.0.send(match again {
            true => Command::SendAgain(markers),
            false => Command::Send(markers),
        });
    }

    /// Drops what waits for the coordinator of a partition, which is none any more.
    pub(super) fn forget(&self, shard: i32) {
        let _ = self.0.send(Command::Forget(shard));
    }
}

/// One request to a broker, with its outcome.
struct Answered {
    broker: i32,
    batch: Vec<Markers>,
    outcome: Result<(Connection, WriteTxnMarkersResponse), ConnectionError>,
}

struct Sender {
    settings: MarkerSettings,
    coordinator: Weak<TransactionCoordinator>,
    queues: MarkerQueues,
    connections: HashMap<i32, Connection>,
    /// Brokers that failed and have not answered since: said once.
    unreachable: HashSet<i32>,
    in_flight: JoinSet<Answered>,
    paused: JoinSet<Markers>,
}

/// Sends what is handed in until nobody hands in any more; answers go to the coordinator.
pub async fn run(
    settings: MarkerSettings,
    mut inbox: MarkerInbox,
    coordinator: Weak<TransactionCoordinator>,
) {
    let mut changed = settings.metadata.subscribe();
    let mut sender = Sender {
        settings,
        coordinator,
        queues: MarkerQueues::default(),
        connections: HashMap::new(),
        unreachable: HashSet::new(),
        in_flight: JoinSet::new(),
        paused: JoinSet::new(),
    };
    loop {
        tokio::select! {
            command = inbox.0.recv() => match command {
                Some(Command::Send(markers)) => sender.add(markers).await,
                Some(Command::SendAgain(markers)) => sender.pause(markers),
                Some(Command::Forget(shard)) => sender.queues.forget(shard),
                None => return,
            },
            Some(Ok(answered)) = sender.in_flight.join_next() => sender.answered(answered),
            Some(Ok(markers)) = sender.paused.join_next() => sender.add(markers).await,
            _ = moved(&mut changed), if sender.queues.has_leaderless() => {
                for markers in sender.queues.take_leaderless() {
                    sender.add(markers).await;
                }
            }
        }
        sender.send_waiting();
    }
}

/// Ends when the cluster has changed, or at any rate after a while.
async fn moved(changed: &mut tokio::sync::watch::Receiver<u64>) {
    let _ = tokio::time::timeout(LEADER_PATIENCE, changed.changed()).await;
}

impl Sender {
    async fn add(&mut self, markers: Markers) {
        let Some(coordinator) = self.coordinator.upgrade() else {
            return;
        };
        if !coordinator.awaits(&markers) {
            return;
        }
        let snapshot = self.settings.metadata.snapshot();
        let leader = |partition: &TopicPartition| match snapshot
            .partition(&partition.topic, partition.partition)
        {
            None => Leader::NoPartition,
            Some(known) if snapshot.brokers.contains_key(&known.leader) => {
                Leader::Broker(known.leader)
            }
            Some(_) => Leader::Unknown,
        };
        let Some(untold) = self.queues.add(markers, leader) else {
            return;
        };
        let (mut gone, mut waiting) = (Vec::new(), Vec::new());
        for partition in untold.partitions.clone() {
            match (self.settings.exists)(partition.clone()).await {
                true => waiting.push(partition),
                false => gone.push(partition),
            }
        }
        let some = |partitions| Markers {
            partitions,
            ..untold.clone()
        };
        if !waiting.is_empty() {
            self.queues.add(some(waiting), |_| Leader::Unknown);
        }
        if !gone.is_empty() {
            coordinator.partitions_gone(&some(gone));
        }
    }

    fn pause(&mut self, markers: Markers) {
        self.paused.spawn(async move {
            tokio::time::sleep(RETRY_BACKOFF).await;
            markers
        });
    }

    fn send_waiting(&mut self) {
        while let Some((broker, batch)) = self.queues.take_next() {
            let address = self.address(broker);
            let open = self.connections.remove(&broker);
            let open = open.filter(|connection| {
                connection.ended().is_none() && address.as_deref() == Some(connection.address())
            });
            let timeout = self.settings.timeout;
            let client_id = format!("broker-{}-txn-marker-sender", self.settings.broker_id);
            let listener = self.settings.listener.clone();
            self.in_flight.spawn(async move {
                let outcome = async {
                    let address = address.ok_or_else(|| ConnectionError::Connect {
                        address: format!("broker {broker}"),
                        reason: format!("it is not alive on listener {listener}"),
                    })?;
                    let connection = match open {
                        Some(connection) => connection,
                        None => {
                            let options = ConnectionOptions {
                                client_id: ByteString::from(client_id),
                                connect_timeout: timeout,
                                ..ConnectionOptions::default()
                            };
                            Connection::connect(&address, &options).await?
                        }
                    };
                    let response = connection.send(&request(&batch), VERSION, timeout).await?;
                    Ok((connection, response))
                };
                let outcome = outcome.await;
                Answered {
                    broker,
                    batch,
                    outcome,
                }
            });
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            broker,
            batch,
            outcome,
        } = answered;
        self.queues.answered(broker);
        match outcome {
            Ok((connection, response)) => {
                self.connections.insert(broker, connection);
                self.unreachable.remove(&broker);
                let Some(coordinator) = self.coordinator.upgrade() else {
                    return;
                };
                for (markers, told) in batch.iter().zip(answers(&batch, &response)) {
                    coordinator.markers_answered(markers, &told);
                }
            }
            Err(error) => {
                if self.unreachable.insert(broker) {
                    tracing::warn!(broker, %error, "markers were not answered, trying again");
                }
                for markers in batch {
                    self.pause(markers);
                }
            }
        }
    }

    fn address(&self, broker: i32) -> Option<String> {
        let broker = self.settings.metadata.broker(broker)?;
        let endpoint = broker.endpoint(&self.settings.listener)?;
        Some(match endpoint.host.contains(':') {
            true => format!("[{}]:{}", endpoint.host, endpoint.port),
            false => format!("{}:{}", endpoint.host, endpoint.port),
        })
    }
}
