//! Shell: the process and the machine that it runs on (Environment.java).

use std::sync::LazyLock;
use std::time::Duration;

use crate::operator::java_text;

/// The version that clients and monitors are told: what it is compatible with, what it is, and
/// when it was built.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let built_at: i64 = env!("TANDEM_BUILT_AT").parse().unwrap_or_default();
    format!(
        "3.8.4-tandem-{}, built on {}",
        env!("CARGO_PKG_VERSION"),
        java_text::minute(built_at * 1000)
    )
});

/// What Java's properties say where there is nothing to say.
const NOT_AVAILABLE: &str = "<NA>";

/// The environment, in the order in which ZooKeeper tells it. What only a Java virtual machine
/// has is not available.
pub fn list() -> Vec<(&'static str, String)> {
    let none = || NOT_AVAILABLE.to_owned();
    let megabytes = |bytes: u64| format!("{}MB", bytes >> 20);
    let memory = Memory::now();
    vec![
        ("zookeeper.version", VERSION.clone()),
        ("host.name", host_name()),
        ("java.version", none()),
        ("java.vendor", none()),
        ("java.home", none()),
        ("java.class.path", none()),
        ("java.library.path", none()),
        ("java.io.tmpdir", temporary_directory()),
        ("java.compiler", none()),
        ("os.name", os_name()),
        ("os.arch", os_arch().to_owned()),
        ("os.version", os_version()),
        ("user.name", user_name()),
        ("user.home", user_home()),
        ("user.dir", working_directory()),
        ("os.memory.free", megabytes(memory.available)),
        ("os.memory.max", megabytes(memory.total)),
        ("os.memory.total", megabytes(Process::now().resident_bytes)),
    ]
}

/// The system properties that a native process has as well, in alphabetical order.
pub fn properties() -> Vec<(&'static str, String)> {
    vec![
        ("file.separator", std::path::MAIN_SEPARATOR.to_string()),
        ("java.io.tmpdir", temporary_directory()),
        ("line.separator", "\n".to_owned()),
        ("os.arch", os_arch().to_owned()),
        ("os.name", os_name()),
        ("os.version", os_version()),
        ("path.separator", ":".to_owned()),
        ("user.dir", working_directory()),
        ("user.home", user_home()),
        ("user.name", user_name()),
    ]
}

/// The name of the user that the server runs as.
pub fn user_name() -> String {
    account().map_or_else(
        || variable("USER"),
        |account| account.first().cloned().unwrap_or_default(),
    )
}

fn user_home() -> String {
    account()
        .and_then(|account| account.get(5).cloned())
        .unwrap_or_else(|| variable("HOME"))
}

/// The line of the process's user in the password file, in parts.
fn account() -> Option<Vec<String>> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let file = std::fs::read_to_string("/etc/passwd").ok()?;
    file.lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|parts| parts.get(2) == Some(&uid))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| NOT_AVAILABLE.to_owned())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| NOT_AVAILABLE.to_owned(), |name| name.trim().to_owned())
}

fn temporary_directory() -> String {
    std::env::temp_dir().display().to_string()
}

fn working_directory() -> String {
    std::env::current_dir().map_or_else(
        |_| NOT_AVAILABLE.to_owned(),
        |path| path.display().to_string(),
    )
}

/// Java writes the first letter large.
fn os_name() -> String {
    let name = std::env::consts::OS;
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Java's name of it.
fn os_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        arch => arch,
    }
}

fn os_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| NOT_AVAILABLE.to_owned(),
        |release| release.trim().to_owned(),
    )
}

/// The machine's memory in bytes.
struct Memory {
    total: u64,
    available: u64,
}

impl Memory {
    fn now() -> Self {
        let of = |name: &str| kilobytes("/proc/meminfo", name) << 10;
        Self {
            total: of("MemTotal:"),
            available: of("MemAvailable:"),
        }
    }
}

/// The number after a name in one of the files of the proc file system.
fn kilobytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Figures of this process, as Prometheus's clients tell them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// User and system time.
    pub cpu: Duration,
    /// When it began, in seconds since 1970.
    pub started_s: f64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Memory that is really there in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors, -1 if that cannot be told.
    pub open_files: i64,
    /// How many there may be.
    pub max_files: i64,
}

impl Process {
    /// As it is now.
    pub fn now() -> Self {
        const TICKS_EACH_SECOND: u64 = 100;
        let (open_files, max_files) = file_descriptors();
        let mut process = Self {
            open_files,
            max_files,
            ..Self::default()
        };
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program stands in parentheses and may hold anything.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> = after_name
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // proc(5) counts from 1 and the name is field 2.
        let field = |n: usize| fields.get(n - 3).copied().unwrap_or(0);
        let millis = (field(14) + field(15)) * 1000 / TICKS_EACH_SECOND;
        process.cpu = Duration::from_millis(millis);
        let system = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = system.lines().find_map(|line| line.strip_prefix("btime "));
        let boot_s: f64 = boot
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0.0);
        process.started_s = boot_s + field(22) as f64 / TICKS_EACH_SECOND as f64;
        process.virtual_bytes = field(23);
        process.resident_bytes = kilobytes("/proc/self/status", "VmRSS:") << 10;
        process
    }
}

/// Open file descriptors, and how many there may be.
pub fn file_descriptors() -> (i64, i64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (
        open,
        limit
            .and_then(|limit| i64::try_from(limit).ok())
            .unwrap_or(-1),
    )
}
