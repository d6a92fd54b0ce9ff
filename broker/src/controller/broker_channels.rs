//! Shell: one ordered queue of requests to each broker, this one among them
//! (`ControllerChannelManager` and `RequestSendThread` in `controller/ControllerChannelManager.scala`).
//!
//! One request is on its way to a broker at a time. It is sent again, every 100 ms, until the broker
//! answers or its channel is closed because its znode went.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::client::connection::{Connection, ConnectionError, ConnectionOptions};
use kafka_wire::message::Request;
use kafka_wire::messages::stop_replica::StopReplicaRequest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::controller::effects::{ControlRequest, Event};
use crate::zk::znodes::{BrokerRegistration, TopicPartition};

/// Pause before a request is sent again.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);
/// Version of `LeaderAndIsr` at inter-broker protocol 3.7.
const LEADER_AND_ISR_VERSION: i16 = 7;
/// Version of `UpdateMetadata` at inter-broker protocol 3.7.
const UPDATE_METADATA_VERSION: i16 = 8;
/// Version of `StopReplica` at inter-broker protocol 3.7.
const STOP_REPLICA_VERSION: i16 = 4;

/// How to reach brokers.
#[derive(Debug, Clone)]
pub struct ChannelSettings {
    /// This broker's id, which is the client id of its requests.
    pub controller_id: i32,
    /// The listener that the controller reaches brokers on.
    pub listener: String,
    /// `controller.socket.timeout.ms`.
    pub timeout: Duration,
}

/// The channels to all brokers; those left are closed when this is dropped.
#[derive(Debug)]
pub struct BrokerChannels {
    settings: ChannelSettings,
    channels: HashMap<i32, Channel>,
    events: mpsc::UnboundedSender<Event>,
}

#[derive(Debug)]
struct Channel {
    queue: mpsc::UnboundedSender<ControlRequest>,
    task: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BrokerChannels {
    /// No channels so far; answers become events.
    #[must_use]
    pub fn new(settings: ChannelSettings, events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            settings,
            channels: HashMap::new(),
            events,
        }
    }

    /// Opens the channel to a broker, replacing one that is open.
    pub fn open(&mut self, broker: &BrokerRegistration) {
        let (queue, requests) = mpsc::unbounded_channel();
        let Some(endpoint) = broker.endpoint(&self.settings.listener) else {
            let listener = &self.settings.listener;
            tracing::error!(
                broker = broker.id,
                listener,
                "broker does not have the listener"
            );
            return;
        };
        let link = Link {
            broker: broker.id,
            address: format!("{}:{}", bracketed(&endpoint.host), endpoint.port),
            settings: self.settings.clone(),
            connection: None,
        };
        let task = tokio::spawn(run(link, requests, self.events.clone()));
        self.channels.insert(broker.id, Channel { queue, task });
    }

    /// Closes the channel to a broker; what waits in it is forgotten.
    pub fn close(&mut self, broker: i32) {
        self.channels.remove(&broker);
    }

    /// Queues a request.
    pub fn send(&self, broker: i32, request: ControlRequest) {
        match self.channels.get(&broker) {
            Some(channel) => {
                // The task ends only with its channel.
                let _ = channel.queue.send(request);
            }
            None => tracing::warn!(broker, "not sending to a broker that has no channel"),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_string()
    }
}

async fn run(
    mut link: Link,
    mut requests: mpsc::UnboundedReceiver<ControlRequest>,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Some(request) = requests.recv().await {
        let event = link.deliver(request).await;
        if events.send(event).is_err() {
            return;
        }
    }
}

struct Link {
    broker: i32,
    address: String,
    settings: ChannelSettings,
    connection: Option<Connection>,
}

impl Link {
    /// Sends a request until it is answered.
    async fn deliver(&mut self, request: ControlRequest) -> Event {
        let broker = self.broker;
        match request {
            ControlRequest::LeaderAndIsr(request) => {
                let response = self.until_answered(&request, LEADER_AND_ISR_VERSION).await;
                Event::LeaderAndIsrAnswered {
                    broker,
                    epoch: request.broker_epoch,
                    response,
                }
            }
            ControlRequest::UpdateMetadata(request) => {
                let response = self.until_answered(&request, UPDATE_METADATA_VERSION).await;
                Event::UpdateMetadataAnswered {
                    broker,
                    error_code: response.error_code,
                }
            }
            ControlRequest::StopReplica(request) => {
                let response = self.until_answered(&request, STOP_REPLICA_VERSION).await;
                let deleted = deleted_partitions(&request);
                let epoch = request.broker_epoch;
                Event::StopReplicaAnswered {
                    broker,
                    epoch,
                    deleted,
                    response,
                }
            }
        }
    }

    async fn until_answered<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let mut failures = 0_u32;
        loop {
            match self.ask(request, version).await {
                Ok(response) => return response,
                Err(error) => {
                    // A broker that is down is tried until its znode goes: say so once.
                    if failures == 0 {
                        tracing::warn!(broker = self.broker, %error, request = R::NAME,
                            "cannot reach broker, trying again");
                    }
                    failures = failures.saturating_add(1);
                    self.connection = None;
                    tokio::time::sleep(RETRY_BACKOFF).await;
                }
            }
        }
    }

    async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ConnectionError> {
        let open = self
            .connection
            .take()
            .filter(|connection| connection.ended().is_none());
        let connection = match open {
            Some(connection) => connection,
            None => {
                let options = ConnectionOptions {
                    client_id: ByteString::from(self.settings.controller_id.to_string()),
                    connect_timeout: self.settings.timeout,
                    ..ConnectionOptions::default()
                };
                Connection::connect(&self.address, &options).await?
            }
        };
        let response = connection
            .send(request, version, self.settings.timeout)
            .await?;
        self.connection = Some(connection);
        Ok(response)
    }
}

fn deleted_partitions(request: &StopReplicaRequest) -> BTreeSet<TopicPartition> {
    let mut deleted = BTreeSet::new();
    for topic in &request.topic_states {
        for partition in topic.partition_states.iter().filter(|p| p.delete_partition) {
            deleted.insert(TopicPartition::new(
                &topic.topic_name,
                partition.partition_index,
            ));
        }
    }
    deleted
}
