//! Shell: the controller of a broker: takes part in elections, and while it holds the office feeds
//! its [`Machine`] with what `ZooKeeper` and the brokers say and does what the machine wants
//! (`controller/KafkaController.scala`).
//!
//! # Use
//! A broker connects its [`ZkStore`], registers itself ([`ZkStore::register_broker`]), binds its
//! listeners, then calls [`start`] with the store, [`ControllerSettings::from_config`], what it
//! registered and the epoch it got, in a cell that it shares: after an expired session the
//! controller's task registers the broker again and sets the new epoch. The [`ControllerHandle`] is
//! what handlers use. Even its own broker hears the controller over its listener, so requests must be
//! answered soon after [`start`]. At the end of a controlled shutdown call
//! [`ControllerHandle::stop`], then [`ZkStore::close`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use common::zk::response::EventType;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::alter_partition::AlterPartitionResponse;
use kafka_wire::wire::Uuid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::broker::BrokerConfig;
use crate::controller::answers::answer;
use crate::controller::broker_channels::{BrokerChannels, ChannelSettings};
use crate::controller::context::LiveBroker;
use crate::controller::effects::{Effect, Event, Found, Reply, Token};
use crate::controller::handle::{Command, ControllerHandle, Elections, NO_CONTROLLER, Shared};
use crate::controller::machine::{Machine, Settings};
use crate::zk::cluster::Office;
use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{StoreEvent, ZkStore};
use crate::zk::znodes::{BrokerRegistration, TopicPartition};

/// How long after its election a controller first looks for preferred leaders.
const FIRST_REBALANCE: Duration = Duration::from_secs(5);
/// Pause before a broker that could not register after an expired session tries again.
const REGISTRATION_BACKOFF: Duration = Duration::from_secs(1);

/// What the controller must know of its broker.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// This broker's id.
    pub broker_id: i32,
    /// The listener that the controller reaches brokers on: `control.plane.listener.name`, else the
    /// inter-broker listener.
    pub channel_listener: String,
    /// The listener that brokers reach each other on.
    pub inter_broker_listener: String,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `leader.imbalance.check.interval.seconds`, none without `auto.leader.rebalance.enable`.
    pub rebalance_interval: Option<Duration>,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_percentage: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `controller.socket.timeout.ms`.
    pub socket_timeout: Duration,
}

impl ControllerSettings {
    /// The settings of a broker; its id may have been generated.
    #[must_use]
    pub fn from_config(config: &BrokerConfig, broker_id: i32) -> Self {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let inter_broker_listener = config.inter_broker_listener_name.clone();
        let control_plane = config.control_plane_listener_name.clone();
        Self {
            broker_id,
            channel_listener: control_plane.unwrap_or_else(|| inter_broker_listener.clone()),
            inter_broker_listener,
            delete_topic_enable: config.delete_topic_enable,
            rebalance_interval: config
                .auto_leader_rebalance_enable
                .then(|| ms(config.leader_imbalance_check_interval_seconds * 1000)),
            leader_imbalance_percentage: config.leader_imbalance_per_broker_percentage,
            unclean_leader_election: config.unclean_leader_election_enable,
            socket_timeout: ms(i64::from(config.controller_socket_timeout_ms)),
        }
    }
}

/// Joins the elections. `broker_epoch` holds what registering `registration` returned; it is set again
/// after an expired session.
#[must_use]
pub fn start(
    store: Arc<ZkStore>,
    settings: ControllerSettings,
    registration: BrokerRegistration,
    broker_epoch: Arc<AtomicI64>,
) -> ControllerHandle {
    let shared = Arc::new(Shared {
        broker_id: settings.broker_id,
        controller_id: AtomicI32::new(NO_CONTROLLER),
        broker_epoch,
        unclean: settings.unclean_leader_election,
    });
    let (commands, command_queue) = mpsc::unbounded_channel();
    let (answers, answer_queue) = mpsc::unbounded_channel();
    let events = store.subscribe();
    let runner = Runner {
        store,
        settings,
        registration,
        shared: shared.clone(),
        answers,
        term: None,
        waiting: HashMap::new(),
        next_token: 0,
        next_rebalance: None,
    };
    tokio::spawn(runner.run(events, command_queue, answer_queue));
    ControllerHandle { commands, shared }
}

/// The office while this broker holds it.
struct Term {
    office: Office,
    machine: Machine,
    channels: BrokerChannels,
}

enum Waiter {
    Shutdown(oneshot::Sender<Result<Vec<TopicPartition>, ErrorCode>>),
    Alter(oneshot::Sender<AlterPartitionResponse>),
    Elections(oneshot::Sender<Result<Elections, ErrorCode>>),
}

struct Runner {
    store: Arc<ZkStore>,
    settings: ControllerSettings,
    registration: BrokerRegistration,
    shared: Arc<Shared>,
    answers: mpsc::UnboundedSender<Event>,
    term: Option<Term>,
    waiting: HashMap<Token, Waiter>,
    next_token: Token,
    next_rebalance: Option<Instant>,
}

impl Runner {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<StoreEvent>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut answers: mpsc::UnboundedReceiver<Event>,
    ) {
        let joined = self.reelect().await;
        self.settle("joining the election", joined).await;
        loop {
            let rebalance = self.next_rebalance;
            let result = tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => self.store_event(event).await,
                    None => return,
                },
                answer = answers.recv() => match answer {
                    Some(answer) => self.drive(answer).await,
                    None => return,
                },
                command = commands.recv() => match command {
                    Some(Command::Stop(done)) => {
                        self.lay_down().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.command(command).await,
                    None => {
                        self.lay_down().await;
                        return;
                    }
                },
                () = sleep_until(rebalance) => {
                    self.next_rebalance =
                        self.settings.rebalance_interval.map(|pause| Instant::now() + pause);
                    self.drive(Event::Rebalance).await
                }
            };
            self.settle("an event", result).await;
        }
    }

    /// Draws the consequences of an error.
    async fn settle(&mut self, what: &str, result: Result<(), StoreError>) {
        match result {
            Ok(()) => {}
            Err(StoreError::ControllerMoved) => {
                tracing::info!(what, "the controller has moved to another broker");
                self.resign();
                if let Err(error) = self.look_for_controller().await {
                    tracing::error!(%error, "cannot see who is controller");
                }
            }
            Err(error) if error.is_session_over() => self.resign(),
            Err(error) => tracing::error!(%error, what, "controller failed"),
        }
    }

    async fn store_event(&mut self, event: StoreEvent) -> Result<(), StoreError> {
        match event {
            StoreEvent::Expired(_guard) => {
                // The guard goes after the office.
                self.resign();
                Ok(())
            }
            StoreEvent::Renewed => self.register_again().await,
            StoreEvent::Node { kind, path } => self.node_event(kind, &path).await,
        }
    }

    /// After an expired session: a new registration, a new epoch, a new election.
    async fn register_again(&mut self) -> Result<(), StoreError> {
        loop {
            match self.store.register_broker(&self.registration).await {
                Ok(epoch) => {
                    self.shared.broker_epoch.store(epoch, Ordering::Release);
                    return self.reelect().await;
                }
                Err(error) if error.is_session_over() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "cannot register broker, trying again");
                    tokio::time::sleep(REGISTRATION_BACKOFF).await;
                }
            }
        }
    }

    async fn node_event(&mut self, kind: EventType, path: &str) -> Result<(), StoreError> {
        if path == paths::CONTROLLER {
            return match kind {
                EventType::NodeDeleted => self.reelect().await,
                _ => self.look_for_controller().await,
            };
        }
        let Some(term) = &self.term else {
            return Ok(());
        };
        let epoch_version = term.office.epoch_version;
        let event = match path {
            paths::BROKER_IDS => Event::Brokers(self.live_brokers().await?),
            paths::TOPICS => return self.topics_changed().await,
            paths::DELETE_TOPICS => Event::Deletions(self.store.deletions(true).await?),
            paths::LOG_DIR_EVENTS => {
                let brokers = self.store.take_log_dir_events(epoch_version, true).await?;
                Event::LogDirFailures(brokers)
            }
            paths::ISR_CHANGES => {
                let partitions = self.store.take_isr_changes(epoch_version, true).await?;
                Event::StatesChanged(self.store.states(&partitions).await?)
            }
            paths::PREFERRED_REPLICA_ELECTION => match self.store.preferred_election().await? {
                Some(partitions) => Event::PreferredElectionRequested(partitions),
                None => return Ok(()),
            },
            _ if kind != EventType::NodeDataChanged => return Ok(()),
            _ => match self.data_changed(path).await? {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        self.drive(event).await
    }

    /// A broker's registration or a topic's assignment changed.
    async fn data_changed(&self, path: &str) -> Result<Option<Event>, StoreError> {
        let below = |parent: &str| path.strip_prefix(parent)?.strip_prefix('/');
        if let Some(id) = below(paths::BROKER_IDS).and_then(|id| id.parse().ok()) {
            let found = self.store.broker(id, true).await?;
            let live = |(registration, epoch)| LiveBroker {
                registration,
                epoch,
            };
            return Ok(found.map(|found| Event::BrokerModified(live(found))));
        }
        if let Some(topic) = below(paths::TOPICS) {
            let topics = [topic.to_string()];
            let assignment = self.store.assignments(&topics, true).await?.remove(topic);
            let topic = topic.to_string();
            return Ok(assignment.map(|assignment| Event::AssignmentModified { topic, assignment }));
        }
        Ok(None)
    }

    async fn live_brokers(&self) -> Result<Vec<LiveBroker>, StoreError> {
        let found = self.store.brokers(true).await?;
        let live = |(registration, epoch)| LiveBroker {
            registration,
            epoch,
        };
        Ok(found.into_iter().map(live).collect())
    }

    async fn topics_changed(&mut self) -> Result<(), StoreError> {
        let Some(term) = &self.term else {
            return Ok(());
        };
        let all: BTreeSet<String> = self.store.topics(true).await?.into_iter().collect();
        let known = &term.machine.context().topics;
        let new: Vec<_> = all
            .iter()
            .filter(|topic| !known.contains_key(*topic))
            .cloned()
            .collect();
        let mut added = self.store.assignments(&new, true).await?;
        self.store
            .ensure_topic_ids(term.office.epoch_version, &mut added)
            .await?;
        self.drive(Event::Topics { all, added }).await
    }

    /// Notices who is controller, and resigns if somebody else is.
    async fn look_for_controller(&mut self) -> Result<(), StoreError> {
        let found = self.store.controller(true).await?;
        let id = found.map_or(NO_CONTROLLER, |(id, _)| id);
        if self.term.is_some() && id != self.settings.broker_id {
            self.resign();
        }
        // An office of this broker that it knows nothing of is not one that it can fill.
        if id != self.settings.broker_id || self.term.is_some() {
            self.shared.controller_id.store(id, Ordering::Release);
        }
        Ok(())
    }

    /// Becomes controller unless somebody is.
    async fn reelect(&mut self) -> Result<(), StoreError> {
        self.look_for_controller().await?;
        let found = self.store.controller(false).await?;
        if let Some((id, _)) = found {
            tracing::debug!(controller = id, "a controller has been elected already");
            return Ok(());
        }
        let office = self.store.elect_controller(self.settings.broker_id).await?;
        tracing::info!(epoch = office.epoch, "elected as controller");
        if let Err(error) = self.take_office(office).await {
            if matches!(error, StoreError::ControllerMoved) || error.is_session_over() {
                return Err(error);
            }
            tracing::error!(%error, "cannot take office as controller, giving it up");
            self.lay_down_office(office).await;
        }
        Ok(())
    }

    /// What a new controller does, in Kafka's order: watches first, then the picture of the cluster.
    async fn take_office(&mut self, office: Office) -> Result<(), StoreError> {
        let store = self.store.clone();
        store.set_up_features().await?;
        let brokers = self.live_brokers().await?;
        let topics = store.topics(true).await?;
        let deletions = store.deletions(true).await?;
        store
            .take_log_dir_events(office.epoch_version, true)
            .await?;
        store.take_isr_changes(office.epoch_version, true).await?;
        let preferred_election = store.preferred_election().await?;
        let mut topics = store.assignments(&topics, true).await?;
        store
            .ensure_topic_ids(office.epoch_version, &mut topics)
            .await?;
        let partitions: Vec<_> = topics
            .iter()
            .flat_map(|(name, topic)| {
                topic
                    .partitions
                    .keys()
                    .map(|partition| TopicPartition::new(name, *partition))
            })
            .collect();
        let states = store.states(&partitions).await?;
        let settings = Settings {
            broker_id: self.settings.broker_id,
            inter_broker_listener: self.settings.inter_broker_listener.clone(),
            delete_topic_enable: self.settings.delete_topic_enable,
            leader_imbalance_percentage: self.settings.leader_imbalance_percentage,
        };
        let channels = ChannelSettings {
            controller_id: self.settings.broker_id,
            listener: self.settings.channel_listener.clone(),
            timeout: self.settings.socket_timeout,
        };
        self.term = Some(Term {
            office,
            machine: Machine::new(settings, office.epoch, office.epoch_version),
            channels: BrokerChannels::new(channels, self.answers.clone()),
        });
        self.shared
            .controller_id
            .store(self.settings.broker_id, Ordering::Release);
        let found = Found {
            brokers,
            topics,
            states,
            deletions,
            preferred_election,
        };
        self.drive(Event::Elected(Box::new(found))).await?;
        self.next_rebalance = self
            .settings
            .rebalance_interval
            .map(|_| Instant::now() + FIRST_REBALANCE);
        Ok(())
    }

    /// Hands an event to the machine and does what it wants until it is content.
    async fn drive(&mut self, event: Event) -> Result<(), StoreError> {
        let Some(term) = &mut self.term else {
            return Ok(());
        };
        let mut effects = term.machine.handle(event);
        loop {
            let mut question = None;
            for effect in effects {
                match effect {
                    Effect::OpenChannel(broker) => term.channels.open(&broker.registration),
                    Effect::CloseChannel(broker) => term.channels.close(broker),
                    Effect::Send { broker, request } => term.channels.send(broker, request),
                    Effect::Reply { token, reply } => deliver(self.waiting.remove(&token), reply),
                    Effect::Ask(asked) => question = Some(asked),
                }
            }
            let Some(question) = question else {
                return Ok(());
            };
            let unclean = self.shared.unclean;
            let answer = answer(&self.store, term.office, unclean, question).await?;
            effects = term.machine.answer(answer);
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), StoreError> {
        // Without an office the reply is dropped, which tells the caller to look elsewhere.
        let Some(term) = &self.term else {
            return Ok(());
        };
        let context = term.machine.context();
        match command {
            Command::ControlledShutdown(broker, epoch, reply) => {
                let token = self.wait(Waiter::Shutdown(reply));
                self.drive(Event::ControlledShutdown {
                    broker,
                    epoch,
                    token,
                })
                .await
            }
            Command::AlterPartition(request, version, reply) => {
                let token = self.wait(Waiter::Alter(reply));
                self.drive(Event::AlterPartition {
                    request,
                    version,
                    token,
                })
                .await
            }
            Command::ElectLeaders(partitions, kind, reply) => {
                let token = self.wait(Waiter::Elections(reply));
                self.drive(Event::ElectLeaders {
                    partitions,
                    kind,
                    token,
                })
                .await
            }
            Command::AllocateProducerIds(broker, epoch, reply) => {
                let block = match context.brokers.get(&broker) {
                    None => Err(ErrorCode::BrokerIdNotRegistered),
                    Some(known) if known.epoch != epoch => Err(ErrorCode::StaleBrokerEpoch),
                    Some(_) => {
                        let block = self.store.next_producer_id_block(broker).await;
                        block.map_err(|error| {
                            tracing::error!(%error, broker, "cannot allocate producer ids");
                            ErrorCode::UnknownServerError
                        })
                    }
                };
                let _ = reply.send(block);
                Ok(())
            }
            Command::ListReassignments(partitions, reply) => {
                let is_wanted = |tp: &TopicPartition| {
                    partitions.as_ref().is_none_or(|wanted| wanted.contains(tp))
                };
                let moving = context.reassigning().filter(|(tp, _)| is_wanted(tp));
                let _ = reply.send(Ok(moving.map(|(tp, a)| (tp, a.clone())).collect()));
                Ok(())
            }
            Command::TopicNames(ids, reply) => {
                let named = |id: Uuid| Some((id, context.topic_name(id)?.to_string()));
                let _ = reply.send(ids.into_iter().filter_map(named).collect());
                Ok(())
            }
            Command::QueuedForDeletion(reply) => {
                let _ = reply.send(context.to_delete.clone());
                Ok(())
            }
            Command::UncleanAllowed(topic) => self.drive(Event::UncleanAllowed(Some(topic))).await,
            Command::Stop(_) => Ok(()),
        }
    }

    fn wait(&mut self, waiter: Waiter) -> Token {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiter);
        self.next_token
    }

    /// Stops being controller; the node is gone or somebody else's already.
    fn resign(&mut self) {
        self.shared
            .controller_id
            .store(NO_CONTROLLER, Ordering::Release);
        self.next_rebalance = None;
        // Dropped senders tell callers that there is no controller here.
        self.waiting.clear();
        if self.term.take().is_some() {
            tracing::info!("resigned as controller");
        }
    }

    /// Stops being controller and lets others take the office.
    async fn lay_down(&mut self) {
        if let Some(office) = self.term.as_ref().map(|term| term.office) {
            self.lay_down_office(office).await;
        }
    }

    async fn lay_down_office(&mut self, office: Office) {
        self.resign();
        if let Err(error) = self.store.resign_controller(office).await {
            tracing::warn!(%error, "cannot remove the controller's node");
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn deliver(waiter: Option<Waiter>, reply: Reply) {
    // Whoever gave up waiting has dropped the receiver.
    match (waiter, reply) {
        (Some(Waiter::Shutdown(waiter)), Reply::ControlledShutdown(result)) => {
            let _ = waiter.send(result.map_err(ErrorCode::from_code));
        }
        (Some(Waiter::Alter(waiter)), Reply::AlterPartition(response)) => {
            let _ = waiter.send(response);
        }
        (Some(Waiter::Elections(waiter)), Reply::Elections(results)) => {
            let _ = waiter.send(Ok(results));
        }
        _ => {}
    }
}
