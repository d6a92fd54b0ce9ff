//! Shell: puts a broker together, starts it and stops it, in Kafka's order (`KafkaServer.scala`).
//!
//! Start: ZooKeeper, cluster id, meta.properties, broker id, logs, bound but silent listeners, replica manager,
//! registration, controller, coordinators, configuration changes, and only then the first request is read.
//! Stop: controlled shutdown, listeners, timers, coordinators, logs with their marker of a clean stop, controller,
//! ZooKeeper.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::topics::TopicAdmin;
use crate::api::context::Services;
use crate::config::broker::BrokerConfig;
use crate::controller::controller::{self, ControllerSettings};
use crate::coordinator::java;
use crate::error::{RunError, StartError};
use crate::farewell;
use crate::housekeeping;
use crate::log::cleaner::cleaner::Cleaner;
use crate::log::manager::{LogManager, ManagerOptions, OpenError};
use crate::log::meta_properties;
use crate::metadata::cache::MetadataCache;
use crate::metadata::controller_channel::ControllerChannel;
use crate::net::listener::{self, BoundListener, ConnectionLimits};
use crate::net::threads::NetworkThreads;
use crate::replica::clock::now_ms;
use crate::replica::isr_sender::{IsrSender, Wanted, watch_for_lag};
use crate::replica::manager::ReplicaManager;
use crate::replica::topic_configs::TopicConfigs;
use crate::wiring;
use crate::zk::changes::ConfigChanges;
use crate::zk::store::{StoreSettings, ZkStore};
use crate::zk::znodes::{BrokerRegistration, Endpoint};

/// How long a stopping broker waits for ZooKeeper to take note.
const ZOOKEEPER_PATIENCE: Duration = Duration::from_secs(6);

/// A broker that runs.
pub struct Server {
    services: Arc<Services>,
    closing: watch::Sender<bool>,
    listeners: JoinSet<()>,
    /// Kept to the end: what handlers have started there goes on.
    _network_threads: Arc<NetworkThreads>,
    housekeeping: JoinSet<()>,
    cleaner: Option<Cleaner>,
    config_changes: ConfigChanges,
}

/// What a broker has before anybody hears of it.
struct Loaded {
    cluster_id: String,
    broker_id: i32,
    topic_configs: Arc<TopicConfigs>,
    logs: LogManager,
}

impl Server {
    /// Starts a broker; it answers requests when this returns. `asked_to_stop` ends with the name of a signal if there is one.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running but perhaps the recovery of logs, and nothing registered.
    pub async fn start(
        config: BrokerConfig,
        asked_to_stop: impl Future<Output = &'static str>,
    ) -> Result<Self, StartError> {
        tracing::info!("starting");
        tracing::info!("Connecting to zookeeper on {}", config.zookeeper_connect);
        let mut asked_to_stop = pin!(asked_to_stop);
        let connecting = ZkStore::connect(StoreSettings {
            connect: config.zookeeper_connect.clone(),
            session_timeout: millis(i64::from(config.zookeeper_session_timeout_ms)),
            connection_timeout: millis(i64::from(config.zookeeper_connection_timeout_ms)),
            secure: config.zookeeper_set_acl,
        });
        let store = tokio::select! {
            store = connecting => store?,
            signal = &mut asked_to_stop => return Err(StartError::Interrupted(signal)),
        };
        let opened = OnceLock::new();
        let started = tokio::select! {
            started = Self::start_with(store.clone(), config, &opened) => started,
            signal = asked_to_stop => Err(StartError::Interrupted(signal)),
        };
        if started.is_err() {
            // So that the next start need not recover them.
            if let Some(logs) = opened.get() {
                tokio::task::block_in_place(|| LogManager::shutdown(logs, now_ms(), -1));
            }
            // Takes the registration away at once instead of after the session timeout.
            let _ = tokio::time::timeout(ZOOKEEPER_PATIENCE, store.close()).await;
        }
        started
    }

    /// Starts a broker with a ZooKeeper session; `opened` gets its logs as soon as they are open.
    async fn start_with(
        zk: Arc<ZkStore>,
        config: BrokerConfig,
        opened: &OnceLock<Arc<LogManager>>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let Loaded {
            cluster_id,
            broker_id,
            topic_configs,
            logs,
        } = Self::load(&zk, &config).await?;
        let logs = opened.get_or_init(|| Arc::new(logs)).clone();
        let metadata = Arc::new(MetadataCache::new());
        let bound = bind_all(&config)?;
        let (replicas, isr_changes) = ReplicaManager::new(
            broker_id,
            config.clone(),
            logs.clone(),
            metadata.clone(),
            java::partition_for,
        );

        let registration = registration(&config, broker_id, &bound);
        zk.check_endpoints(&registration).await?;
        let epoch = zk.register_broker(&registration).await?;
        let broker_epoch = Arc::new(AtomicI64::new(epoch));
        let settings = ControllerSettings::from_config(&config, broker_id);
        let controller =
            controller::start(zk.clone(), settings, registration, broker_epoch.clone());
        let to_controller = Arc::new(ControllerChannel::new(
            metadata.clone(),
            &config.inter_broker_listener_name,
            broker_id,
        ));
        let groups = wiring::group_coordinator(&config, &replicas, &zk).await?;
        groups.start();
        let producer_ids = wiring::producer_ids(broker_id, &config, &controller, &to_controller);
        let (transactions, markers) =
            wiring::transaction_coordinator(&config, &replicas, &zk, producer_ids).await?;
        let settings = wiring::marker_settings(broker_id, &config, &metadata, &zk);
        transactions.start(settings, markers);
        let topics = Arc::new(TopicAdmin::new(
            config.clone(),
            zk.clone(),
            metadata.clone(),
        ));
        let services = Arc::new(Services {
            config,
            broker_id,
            cluster_id: ByteString::from(cluster_id),
            anonymous: "User:ANONYMOUS".into(),
            broker_epoch,
            logs,
            topic_configs,
            replicas,
            metadata,
            zk,
            controller,
            to_controller,
            topics,
            groups,
            transactions,
            features_epoch: Arc::new(AtomicI64::new(-1)),
        });
        let tasks = start_tasks(&services, isr_changes);
        let mut broker = Self::serve(services, bound, tasks).await?;
        broker.cleaner =
            housekeeping::start_cleaner(&broker.services.config, &broker.services.logs);
        Ok(broker)
    }

    /// Finds out who this broker is, and opens its logs.
    async fn load(zk: &ZkStore, config: &Arc<BrokerConfig>) -> Result<Loaded, StartError> {
        zk.create_top_level_paths().await?;
        let cluster_id = zk.cluster_id().await?;
        tracing::info!("Cluster ID = {cluster_id}");
        let (broker_id, failed_dirs) = identity(zk, config, &cluster_id).await?;
        let topic_configs = Arc::new(TopicConfigs::new(config.clone())?);
        let overridden = zk.configured_entities("topics").await?;
        let overrides = zk.entity_configs("topics", &overridden).await?;
        for (topic, overrides) in overridden.iter().zip(overrides) {
            topic_configs.set(topic, overrides);
        }
        let logs = open_logs(config, failed_dirs, topic_configs.clone()).await?;
        Ok(Loaded {
            cluster_id,
            broker_id,
            topic_configs,
            logs,
        })
    }

    async fn serve(
        services: Arc<Services>,
        bound: Vec<BoundListener>,
        mut housekeeping: JoinSet<()>,
    ) -> Result<Self, StartError> {
        let config_changes = wiring::follow_configs(&services).await?;
        housekeeping.spawn(wiring::follow_features(
            services.zk.clone(),
            services.features_epoch.clone(),
        ));
        let (closing, is_closing) = watch::channel(false);
        let limits = ConnectionLimits::new(&services.config);
        let threads = usize::try_from(services.config.num_network_threads).unwrap_or(1);
        let threads = NetworkThreads::start(threads).map_err(StartError::Threads)?;
        let threads = Arc::new(threads);
        let mut listeners = JoinSet::new();
        for listener in bound {
            tracing::info!("Awaiting socket connections on {}.", listener.address);
            let services = services.clone();
            listeners.spawn(listener::serve(
                listener,
                services,
                limits.clone(),
                threads.clone(),
                is_closing.clone(),
            ));
        }
        tracing::info!("[KafkaServer id={}] started", services.broker_id);
        Ok(Self {
            services,
            closing,
            listeners,
            _network_threads: threads,
            housekeeping,
            cleaner: None,
            config_changes,
        })
    }

    /// The parts of the broker.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Ends when the broker cannot go on.
    pub async fn failed(&self) -> RunError {
        self.services.replicas.disks_gone().await;
        let dirs = self.services.config.log_dirs.iter();
        let dirs: Vec<String> = dirs.map(|dir| dir.display().to_string()).collect();
        RunError::NoLogDirs(dirs.join(", "))
    }

    /// Stops the broker: leaders are moved away if there is where to, what was appended is on disk, the next start
    /// needs no recovery.
    pub async fn stop(mut self) {
        let services = self.services;
        tracing::info!("[KafkaServer id={}] shutting down", services.broker_id);
        farewell::controlled_shutdown(&services).await;
        drop(self.config_changes);
        // Fails only if no listener is left, which is as good.
        let _ = self.closing.send(true);
        while self.listeners.join_next().await.is_some() {}
        self.housekeeping.shutdown().await;
        services.transactions.shutdown();
        services.groups.shutdown();
        if let Some(cleaner) = self.cleaner.take() {
            tokio::task::block_in_place(|| cleaner.stop());
        }
        // With ZooKeeper the marker of a clean end tells no broker epoch.
        tokio::task::block_in_place(|| services.logs.shutdown(now_ms(), -1));
        // Without ZooKeeper neither would end; the session then expires by itself.
        let farewell = async {
            services.controller.stop().await;
            services.zk.close().await;
        };
        if tokio::time::timeout(ZOOKEEPER_PATIENCE, farewell)
            .await
            .is_err()
        {
            tracing::warn!("zookeeper does not answer, leaving without closing the session");
        }
        tracing::info!(
            "[KafkaServer id={}] shut down completed",
            services.broker_id
        );
    }
}

/// Starts what goes on beside the requests.
fn start_tasks(services: &Services, isr_changes: mpsc::UnboundedReceiver<Wanted>) -> JoinSet<()> {
    let isr_sender = IsrSender {
        replicas: services.replicas.clone(),
        channel: services.to_controller.clone(),
        broker_epoch: services.broker_epoch.clone(),
    };
    let mut tasks = housekeeping::start(&services.config, &services.logs);
    tasks.spawn(isr_sender.run(isr_changes));
    tasks.spawn(watch_for_lag(services.replicas.clone()));
    let (replicas, zk) = (services.replicas.clone(), services.zk.clone());
    tasks.spawn(wiring::follow_disks(replicas, zk));
    tasks
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

/// The broker's id: configured, remembered or new; makes sure that all log directories are this broker's. With it the directories
/// that cannot be used.
async fn identity(
    zk: &ZkStore,
    config: &BrokerConfig,
    cluster_id: &str,
) -> Result<(i32, Vec<PathBuf>), StartError> {
    let configured = Some(config.broker_id).filter(|id| *id >= 0);
    let mut failed = meta_properties::unreadable(&config.log_dirs);
    let readable: Vec<PathBuf> = config
        .log_dirs
        .iter()
        .filter(|dir| !failed.contains(dir))
        .cloned()
        .collect();
    let known = meta_properties::verify(&readable, cluster_id, configured)?;
    let id = match known {
        Some(id) => id,
        None if config.broker_id_generation_enable => {
            zk.generate_broker_id(config.reserved_broker_max_id).await?
        }
        None => return Err(StartError::NoBrokerId),
    };
    failed.extend(meta_properties::ensure(
        &readable,
        cluster_id,
        id,
        now_ms(),
    )?);
    Ok((id, failed))
}

/// Opens the logs on a thread of its own, which can take long: the caller may be asked to stop meanwhile.
async fn open_logs(
    config: &BrokerConfig,
    failed_dirs: Vec<PathBuf>,
    topic_configs: Arc<TopicConfigs>,
) -> Result<LogManager, StartError> {
    let threads = usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1);
    let options = ManagerOptions {
        log_dirs: config.log_dirs.clone(),
        failed_dirs,
        recovery_threads: threads,
        producer_expiration_ms: i64::from(config.producer_id_expiration_ms),
        topic_configs: Arc::new(move |topic: &str| topic_configs.get(topic)),
        now_ms: now_ms(),
    };
    let opened = tokio::task::spawn_blocking(move || -> Result<LogManager, OpenError> {
        let logs = LogManager::open(&options)?;
        for log in logs.logs() {
            // So that a checkpoint before the controller's first word forgets nothing.
            log.set_high_watermark(logs.checkpointed_high_watermark(&log));
        }
        Ok(logs)
    });
    Ok(opened.await.unwrap_or(Err(OpenError::Panicked))?)
}

fn bind_all(config: &BrokerConfig) -> Result<Vec<BoundListener>, StartError> {
    let mut bound = Vec::new();
    for endpoint in &config.listeners {
        bound.push(listener::bind(endpoint, config)?);
    }
    Ok(bound)
}

/// What the broker says of itself in ZooKeeper: advertised addresses with the ports that are really bound.
fn registration(
    config: &BrokerConfig,
    broker_id: i32,
    bound: &[BoundListener],
) -> BrokerRegistration {
    let endpoints = config.advertised_listeners.iter().map(|advertised| {
        let listener = bound
            .iter()
            .find(|listener| *listener.name == *advertised.listener);
        let port = match (advertised.port, listener) {
            (0, Some(listener)) => listener.address.port(),
            (port, _) => port,
        };
        Endpoint {
            listener: advertised.listener.clone(),
            security_protocol: advertised.protocol.name().to_string(),
            host: if advertised.host.is_empty() {
                host_name()
            } else {
                advertised.host.clone()
            },
            port: i32::from(port),
        }
    });
    BrokerRegistration {
        id: broker_id,
        endpoints: endpoints.collect(),
        rack: config.broker_rack.clone(),
        features: serde_json::Map::new(),
    }
}

/// This machine's name if it can be resolved, else `localhost`.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_known = !name.is_empty() && (name, 0).to_socket_addrs().is_ok();
    if is_known {
        name.to_string()
    } else {
        "localhost".to_string()
    }
}
