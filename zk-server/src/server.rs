//! Shell: puts the parts together, runs them, and stops them in order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::shutdown::Shutdown;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet};

use crate::config::server_config::{ContainerConfig, ServerConfig};
use crate::error::ServerError;
use crate::metrics::server::DiskStats;
use crate::net::connection::Server;
use crate::net::ports::Ports;
use crate::operator::admin::{self, Questions};
use crate::operator::environment;
use crate::operator::facts::{Facts, TraceMask};
use crate::pipeline::audit::{Audit, AuditLog, AuditResult};
use crate::pipeline::clock::Clock;
use crate::pipeline::commit::Commit;
use crate::pipeline::containers::Check;
use crate::pipeline::run::{Pipeline, PipelineOptions};
use crate::pipeline::snapshots::{SnapshotEvent, Snapshots};
use crate::pipeline::standalone::Standalone;
use crate::state::sessions;
use crate::state::tree::Tree;
use crate::storage::files::Directories;
use crate::storage::log_writer::{LogWriter, Written};
use crate::storage::purge;
use crate::storage::recovery::{self, Recovered, RecoveryOptions};

/// The id in a standalone server's session ids.
const SERVER_ID: u8 = 1;

/// How long a stopping server waits for its last batch.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What other threads tell the loop.
enum FromThreads {
    Log(Written),
    Snapshot(SnapshotEvent),
}

/// Runs a standalone server until a signal stops it.
pub fn run(config: ServerConfig) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::Runtime)?;
    let options = &config.operator;
    let audit = options
        .audit
        .then(|| AuditLog::open(options.audit_file.as_deref(), environment::user_name()))
        .transpose()?;
    let ended = LocalSet::new().block_on(&runtime, start(config, audit.clone()));
    if let Some(audit) = audit {
        match &ended {
            // It ran until then.
            Ok(()) | Err(ServerError::Log(_)) => audit.server("serverStop", AuditResult::Invoked),
            Err(_) => audit.server("serverStart", AuditResult::Failure),
        }
        audit.close();
    }
    ended
}

async fn start(config: ServerConfig, audit: Option<AuditLog>) -> Result<(), ServerError> {
    let mut shutdown = Shutdown::install().map_err(ServerError::Runtime)?;
    let clock = Clock::default();
    // The ports come first: two servers must not work in one data directory.
    let ports = Ports::open(&config.ports)?;
    let (tell, mut told) = unbounded_channel();
    let directories = Directories::open(
        &config.data_dir,
        &config.data_log_dir,
        config.data_dir_autocreate,
    )?;
    let _locks = directories.lock()?;
    let questions = start_operating(&config, &directories)?;
    let (mut pipeline, mut snapshots) = open(&config, &directories, clock, &tell)?;
    pipeline.audit = audit.clone().map(Audit::new);
    let work = pipeline.work.clone();
    let server = Rc::new(Server {
        pipeline: RefCell::new(pipeline),
        operator: facts(&config, &directories, &ports),
        max_frame_bytes: config.max_frame_bytes,
        throttles: config.throttles.limit_requests(),
        sessionless_timeout: config.sessionless_timeout,
        tcp_keep_alive: config.tcp_keep_alive,
    });
    if config.purge_interval_hours > 0 {
        start_purging(&config, directories);
    }
    tracing::info!(
        "zk-server {} listening on {}",
        env!("CARGO_PKG_VERSION"),
        ports.names()
    );
    if let Some(audit) = &audit {
        audit.server("serverStart", AuditResult::Success);
    }
    let accepting = ports.accept(&server);
    tokio::task::spawn_local(expire(server.clone(), i64::from(config.tick_ms)));
    tokio::task::spawn_local(clean_containers(server.clone(), config.containers));
    tokio::task::spawn_local(answer_operators(server.clone(), questions));

    let result = loop {
        tokio::select! {
            biased;
            signal = shutdown.requested() => {
                tracing::info!("{signal} received, shutting down");
                break Ok(());
            }
            Some(event) = told.recv() => {
                if let Err(error) = on_event(&server, &mut snapshots, event) {
                    break Err(error);
                }
            }
            () = work.notified() => {}
        }
        turn(&server, &mut snapshots);
    };
    accepting.iter().for_each(JoinHandle::abort);
    if result.is_ok() {
        let _ = tokio::time::timeout(STOP_WITHIN, drain(&server, &mut snapshots, &mut told)).await;
        tracing::info!("Exiting normally");
    }
    leave_tree(&server);
    result
}

/// The system takes the memory of a process back at once; to free millions of znodes one by one
/// would only hold up the end.
fn leave_tree(server: &Server<Standalone>) {
    let tree = &mut server.pipeline.borrow_mut().db.tree;
    let empty = Tree::empty(tree.options());
    std::mem::forget(std::mem::replace(tree, empty));
}

type Opened = (Pipeline<Standalone>, Snapshots);

/// Recovers what is on disk and starts the log.
fn open(
    config: &ServerConfig,
    directories: &Directories,
    clock: Clock,
    tell: &UnboundedSender<FromThreads>,
) -> Result<Opened, ServerError> {
    let recovery = RecoveryOptions {
        database: config.database,
        trust_empty: config.trust_empty,
        may_begin: directories.take_initialize()? || config.may_begin,
        tick_ms: i64::from(config.tick_ms),
        first_session_id: sessions::first_id(SERVER_ID, clock.wall_ms()),
        now_ms: clock.mono_ms(),
        compression: config.snapshots.compression,
        read_only: false,
    };
    let recovered = recovery::recover(directories, &recovery)?;
    let loaded = counted_load(&recovered);
    let Recovered {
        mut database,
        replayed,
        torn,
        ..
    } = recovered;
    let log_tell = tell.clone();
    let writer = LogWriter::start(directories.clone(), config.log.clone(), move |written| {
        // The loop may have ended already.
        let _ = log_tell.send(FromThreads::Log(written));
    })?;
    let seed = clock.wall_ms().unsigned_abs();
    let snapshot_tell = tell.clone();
    let mut snapshots = Snapshots::new(directories.clone(), config.snapshots, seed, move || {
        let tell = snapshot_tell.clone();
        Box::new(move |event| {
            let _ = tell.send(FromThreads::Snapshot(event));
        })
    });
    if replayed > 0 || torn {
        // As the real server does it: the next start need not read these logs again.
        snapshots.start(&mut database)?;
    }
    let options = PipelineOptions {
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        max_client_connections: config.max_client_connections,
        max_connections: config.max_connections,
        outstanding_limit: config.outstanding_limit,
        throttles: config.throttles,
        auth: config.auth.clone(),
    };
    let mut pipeline = Pipeline::new(database, Standalone::new(writer), options, clock);
    pipeline.stats.disk = loaded;
    Ok((pipeline, snapshots))
}

fn counted_load(recovered: &Recovered) -> DiskStats {
    let mut stats = DiskStats::default();
    let snapshot_ms = millis(recovered.snapshot_took.unwrap_or_default());
    let logs_ms = millis(recovered.logs_took);
    if recovered.snapshot_took.is_some() {
        stats.snapshot_load_ms.observe(snapshot_ms);
        stats.transactions_loaded.observe(recovered.replayed);
        stats.transactions_load_ms.observe(logs_ms);
    }
    stats.load_ms.observe(snapshot_ms + logs_ms);
    stats
}

/// Starts what answers operators over HTTP. Until the data is there it only says so.
fn start_operating(
    config: &ServerConfig,
    directories: &Directories,
) -> Result<Questions, ServerError> {
    let (asker, questions) = admin::channel();
    if let Some(endpoint) = &config.operator.endpoint {
        admin::start_metrics(endpoint, asker.clone()).map_err(|source| ServerError::Metrics {
            address: endpoint.address.clone(),
            port: endpoint.port,
            source,
        })?;
    }
    if let Some(options) = &config.operator.admin {
        admin::start(options, asker, directories.clone());
    }
    Ok(questions)
}

/// Answers what operators ask over HTTP.
async fn answer_operators(server: Rc<Server<Standalone>>, mut questions: Questions) {
    questions.begin();
    while let Some(question) = questions.inbox.recv().await {
        admin::answer(
            &server.operator,
            &mut server.pipeline.borrow_mut(),
            question,
        );
        // However much operators ask, clients have their turn after each answer.
        tokio::task::yield_now().await;
    }
}

fn facts(config: &ServerConfig, directories: &Directories, ports: &Ports) -> Facts {
    Facts {
        whitelist: config.four_letter_words.clone(),
        directories: directories.clone(),
        client_port: ports.number("clientPort"),
        secure_client_port: ports.number("secureClientPort"),
        tick_ms: config.tick_ms,
        max_client_connections: config.max_client_connections,
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        backlog: config.configured_backlog,
        sessionless_timeout_ms: i64::try_from(config.sessionless_timeout.as_millis())
            .unwrap_or(i64::MAX),
        initial_configuration: config.operator.initial_configuration.clone(),
        properties: config.operator.properties.clone(),
        metrics: config.operator.metrics,
        trace_mask: TraceMask::default(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn on_event(
    server: &Server<Standalone>,
    snapshots: &mut Snapshots,
    event: FromThreads,
) -> Result<(), ServerError> {
    let mut pipeline = server.pipeline.borrow_mut();
    let pipeline = &mut *pipeline;
    match event {
        FromThreads::Log(written) => {
            pipeline.count_batch(&written);
            pipeline.commit.written(written).map_err(ServerError::Log)
        }
        FromThreads::Snapshot(event) => {
            if let Some(took) = snapshots.on_event(event, &mut pipeline.db) {
                pipeline.stats.disk.snapshot_ms.observe(millis(took));
            }
            Ok(())
        }
    }
}

/// One turn of the loop: commit, apply, reply, and a part of a snapshot.
fn turn(server: &Server<Standalone>, snapshots: &mut Snapshots) {
    let mut pipeline = server.pipeline.borrow_mut();
    let pipeline = &mut *pipeline;
    let before = pipeline.db.applied_count;
    pipeline.turn();
    let applied = pipeline.db.applied_count - before;
    if snapshots.count(applied, pipeline.commit.take_logged_bytes()) {
        pipeline.commit.roll();
        if let Err(error) = snapshots.start(&mut pipeline.db) {
            tracing::warn!("the snapshot could not be begun: {error}");
        }
    }
    snapshots.make_part(&mut pipeline.db);
}

/// Lets what is under way come to its end.
async fn drain(
    server: &Server<Standalone>,
    snapshots: &mut Snapshots,
    told: &mut UnboundedReceiver<FromThreads>,
) {
    turn(server, snapshots);
    while server.pipeline.borrow().commit.outstanding() > 0
        && let Some(event) = told.recv().await
    {
        if on_event(server, snapshots, event).is_err() {
            return;
        }
        turn(server, snapshots);
    }
}

/// Ends sessions at the ends of ticks. If the process did not run for a while, clients get their
/// turn first: what they have sent meanwhile is still in the sockets.
async fn expire(server: Rc<Server<Standalone>>, tick_ms: i64) {
    const GRACE: Duration = Duration::from_millis(100);
    loop {
        let clock = server.pipeline.borrow().clock;
        let deadline_ms = (clock.mono_ms() / tick_ms + 1) * tick_ms;
        tokio::time::sleep_until(clock.instant(deadline_ms).into()).await;
        if clock.mono_ms() > deadline_ms + tick_ms / 2 {
            tokio::time::sleep(GRACE).await;
        }
        server.pipeline.borrow_mut().expire_sessions();
    }
}

/// Deletes containers and TTL znodes that have had their time, one by one, so that those who watch
/// them are not all told at once.
async fn clean_containers(server: Rc<Server<Standalone>>, containers: ContainerConfig) {
    let Some(pause) = containers.pause else {
        return;
    };
    let mut ticks = tokio::time::interval(containers.check_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let max_never_used_ms = containers.max_never_used_ms;
    loop {
        ticks.tick().await;
        let mut check = Check::default();
        let mut next = || {
            let pipeline = server.pipeline.borrow();
            pipeline.check_containers(&mut check, max_never_used_ms)
        };
        while let Some(paths) = next() {
            for path in paths {
                delete_container(&server, path, max_never_used_ms);
                tokio::time::sleep(pause).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn delete_container(server: &Server<Standalone>, path: String, max_never_used_ms: i64) {
    let mut pipeline = server.pipeline.borrow_mut();
    pipeline.delete_container(path, max_never_used_ms);
}

/// Purges at once and then at intervals, on a thread of its own.
fn start_purging(config: &ServerConfig, directories: Directories) {
    let retain = config.snapshots_retained;
    let interval = Duration::from_secs(config.purge_interval_hours.saturating_mul(3600));
    let purging = move || {
        loop {
            tracing::info!("Purge task started.");
            match purge::purge(&directories, retain) {
                Ok(_) => tracing::info!("Purge task completed."),
                Err(error) => tracing::warn!("the purge failed: {error}"),
            }
            std::thread::sleep(interval);
        }
    };
    let thread = std::thread::Builder::new()
        .name("purge".to_owned())
        .stack_size(256 << 10);
    if let Err(error) = thread.spawn(purging) {
        tracing::warn!("autopurge could not be started: {error}");
    }
}
