//! Shell: a big tree: what it costs in memory, how a snapshot of it disturbs, and how long a restart takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Settings;
use crate::load::{Limit, Load, Pass};
use crate::report::{Report, Sample, Targets};
use crate::server::Server;
use crate::steady::sample;
use crate::wire;
use crate::workload::put_number;

/// The heap of ZooKeeper's own start script; as Kafka's scripts do, all of it from the start.
const HEAP: &str = "1000M";
/// Children of one node of the big tree.
const FAMILY: u64 = 1000;
/// Bytes of data of each.
const BYTES: usize = 100;
/// Restarts of each server.
const RESTARTS: usize = 3;
/// Sessions and requests of each on their way, while a snapshot is written.
const SESSIONS: usize = 8;
const DEPTH: u64 = 4;
/// How often it is asked whether the snapshot is still being written.
const SLICE: Duration = Duration::from_millis(20);
/// Watches in the passes that look at their memory.
const WATCHES: u64 = 100_000;

/// Builds the tree on each server in turn and measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for maker in settings.makers() {
        // No snapshot comes while the tree is made; the restart below brings one that is measured.
        let snapshots_after = settings.nodes * 10;
        let mut server = Server::start(maker, HEAP, &format!("snapCount={snapshots_after}"))?;
        let mut figure = |name: &str, unit, target, value| {
            report.figure(name, unit, target, maker, value);
        };
        let nodes = settings.nodes;
        let before = server.cpu_seconds()?;
        create_all(&server, nodes)?;
        figure(
            &format!("creating {nodes} nodes, CPU"),
            "s",
            Some(5.0),
            server.cpu_seconds()? - before,
        );
        figure(
            &format!("RSS with {nodes} nodes of {BYTES} B, as created"),
            "MiB",
            Some(3.0),
            server.resident_mib()?,
        );
        // The first start replays the log and writes a snapshot; those after it read the snapshot.
        let replay = server.restart()?;
        figure(
            "start that replays the log of these",
            "s",
            None,
            replay.as_secs_f64(),
        );
        let written = wait_for_snapshot(&server.files())?;
        figure(
            "then writing the snapshot, from the start on",
            "s",
            None,
            written.as_secs_f64(),
        );
        for _ in 0..RESTARTS {
            let took = server.restart()?;
            figure(
                "start from the snapshot",
                "s",
                Some(5.0),
                took.as_secs_f64(),
            );
        }
        figure(
            "RSS after a start from the snapshot",
            "MiB",
            Some(3.0),
            server.resident_mib()?,
        );
        watches(&server, nodes, &mut figure)?;
        drop(server);
        snapshot_under_load(settings, maker, report)?;
    }
    Ok(())
}

fn node(number: u64, path: &mut Vec<u8>) {
    path.clear();
    path.extend_from_slice(b"/big/p-0000");
    put_number(number / FAMILY, path);
    path.extend_from_slice(b"/n-0000000000");
    put_number(number, path);
}

fn create_all(server: &Server, nodes: u64) -> Result<()> {
    let mut load = Load::connect(server.address(), 1)?;
    load.each_once(&mut |xid, out| wire::put_create(xid, b"/big", b"", 0, out))?;
    let mut parent = 0;
    load.run(
        64,
        Limit::Operations(nodes.div_ceil(FAMILY)),
        &mut |xid, out| {
            let mut path = b"/big/p-0000".to_vec();
            put_number(parent, &mut path);
            parent += 1;
            wire::put_create(xid, &path, b"", 0, out);
        },
    )?;
    load.close()?;
    let mut load = Load::connect(server.address(), 16)?;
    let (mut number, mut path) = (0, Vec::new());
    load.run(64, Limit::Operations(nodes), &mut |xid, out| {
        node(number, &mut path);
        number += 1;
        wire::put_create(xid, &path, &[b'x'; BYTES], 0, out);
    })?;
    load.close()
}

/// Names and sizes of the snapshots, finished or not.
fn snapshots(files: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(files)? {
        let entry = entry?;
        // A file that is renamed meanwhile is found the next time.
        if entry.file_name().to_string_lossy().contains("snapshot")
            && let Ok(metadata) = entry.metadata()
        {
            found.push((entry.path(), metadata.len()));
        }
    }
    found.sort();
    Ok(found)
}

/// Waits until no snapshot grows any more.
fn wait_for_snapshot(files: &Path) -> Result<Duration> {
    let begun = Instant::now();
    let mut last = (snapshots(files)?, Duration::ZERO);
    while begun.elapsed() - last.1 < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(20));
        let now = snapshots(files)?;
        if now != last.0 {
            last = (now, begun.elapsed());
        }
    }
    Ok(last.1)
}

/// Memory of watches: many on one node, and one on each of many.
fn watches(
    server: &Server,
    nodes: u64,
    figure: &mut impl FnMut(&str, &'static str, Option<f64>, f64),
) -> Result<()> {
    let sessions = 100;
    let each = WATCHES.min(nodes) / sessions;
    let before = server.resident_mib()?;
    let mut load = Load::connect(server.address(), usize::try_from(sessions)?)?;
    let (mut number, mut path) = (0, Vec::new());
    load.run(each, Limit::Operations(each * sessions), &mut |xid, out| {
        node(number, &mut path);
        number += 1;
        wire::put_get(xid, &path, true, out);
    })?;
    let name = format!("RSS that {} nodes with a watch each add", each * sessions);
    figure(&name, "MiB", None, server.resident_mib()? - before);
    load.close()
}

/// Tells whether a snapshot is being written, by looking at the files.
struct Watcher {
    busy: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(files: PathBuf) -> Self {
        let (busy, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let flags = (Arc::clone(&busy), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut last = snapshots(&files).unwrap_or_default();
            let mut quiet = 100;
            while !flags.1.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
                let now = snapshots(&files).unwrap_or_default();
                quiet = if now == last { quiet + 1 } else { 0 };
                last = now;
                flags.0.store(quiet < 15, Ordering::Relaxed);
            }
        });
        Self {
            busy,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads and writes on the big tree, first without a snapshot, then while one is written.
fn snapshot_under_load(
    settings: &Settings,
    maker: integration_tests::stack::Maker,
    report: &mut Report,
) -> Result<()> {
    // One comes somewhere in the second half of these transactions after the tree is there.
    let after = settings.nodes * 2;
    let server = Server::start(maker, HEAP, &format!("snapCount={after}"))?;
    create_all(&server, settings.nodes)?;
    wait_for_snapshot(&server.files())?;
    let mut load = Load::connect(server.address(), SESSIONS)?;
    let quiet = mixed(&server, &mut load, settings, || true, settings.load)?;
    // Sets alone bring the next snapshot near.
    let watcher = Watcher::start(server.files());
    server.forget_peak()?;
    let before = server.resident_mib()?;
    let deadline = Instant::now() + settings.load * 15;
    let (mut number, mut path) = (0_u64, Vec::new());
    while !watcher.busy.load(Ordering::Relaxed) {
        ensure!(Instant::now() < deadline, "no snapshot came");
        load.run(16, Limit::Operations(256), &mut |xid, out| {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            node((number >> 33) % settings.nodes, &mut path);
            wire::put_set(xid, &path, &[b'z'; BYTES], out);
        })?;
    }
    let busy = mixed(
        &server,
        &mut load,
        settings,
        || watcher.busy.load(Ordering::Relaxed),
        settings.load * 2,
    )?;
    let targets = Targets::default();
    report.add("big tree, mix, no snapshot", targets, maker, quiet);
    report.add("the same during a snapshot", targets, maker, busy);
    let ratio = (busy.quantiles_us[1] / quiet.quantiles_us[1] - 1.0) * 100.0;
    report.figure("p99 that a snapshot adds", "%", None, maker, ratio);
    report.figure(
        "RSS that a snapshot under load adds at its peak",
        "MiB",
        None,
        maker,
        server.peak_mib()? - before,
    );
    load.close()
}

/// Ninety reads to ten writes for as long as `go_on` says, but not longer than `most`.
fn mixed(
    server: &Server,
    load: &mut Load,
    settings: &Settings,
    go_on: impl Fn() -> bool,
    most: Duration,
) -> Result<Sample> {
    let (mut number, mut path) = (1_u64, Vec::new());
    let begun = Instant::now();
    let before = server.cpu_seconds()?;
    let mut all: Option<Pass> = None;
    while begun.elapsed() < most && go_on() {
        let pass = load.run(DEPTH, Limit::Time(SLICE), &mut |xid, out| {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            node((number >> 33) % settings.nodes, &mut path);
            if (number >> 20) % 10 == 0 {
                wire::put_set(xid, &path, &[b'z'; BYTES], out);
            } else {
                wire::put_get(xid, &path, false, out);
            }
        })?;
        all = Some(match all {
            None => pass,
            Some(all) => all.and(pass),
        });
    }
    let cpu = server.cpu_seconds()? - before;
    all.map(|pass| sample(&pass, cpu))
        .ok_or_else(|| anyhow::anyhow!("the snapshot was over at once"))
}
