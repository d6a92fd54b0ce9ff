//! Shell: what operators see: after the same requests, four-letter words, AdminServer and audit log
//! of Apache's server and ours say the same; and what no client of the AdminServer can do to ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::environment;
use integration_tests::ports::Port;
use integration_tests::python;
use integration_tests::raw::{Body, Got, Hello, Raw};
use integration_tests::requests::Random;
use integration_tests::stack::{Maker, ZooKeeper, ask};
use integration_tests::workspace::Scratch;
use integration_tests::zk;
use regex_lite::Regex;

/// All words that do not begin something anew.
const WORDS: [&str; 14] = [
    "ruok", "srvr", "stat", "conf", "cons", "dirs", "dump", "gtmk", "hash", "isro", "wchc", "wchp",
    "wchs", "envi",
];

/// All commands, some by their short names, and some wrong ones.
const COMMANDS: [&str; 31] = [
    "configuration",
    "config",
    "connections",
    "dirs",
    "dump",
    "environment",
    "get_trace_mask",
    "hash",
    "icfg",
    "is_read_only",
    "lsnp",
    "lead",
    "monitor",
    "orst",
    "observers",
    "ruok",
    "server_stats",
    "set_trace_mask",
    "set_trace_mask?traceMask=5",
    "stmk?traceMask=306x",
    "stmk?traceMask=306",
    "stats",
    "voting_view",
    "watch_summary",
    "watches",
    "wchp",
    "zabstate",
    "nothing",
    "ruok/",
    "a%22b%0ac",
    "Ruok",
];

/// Metrics that depend on nothing but the requests.
const COUNTED: [&str; 40] = [
    "zk_ephemerals_count",
    "zk_znode_count",
    "zk_watch_count",
    "zk_global_sessions",
    "zk_approximate_data_size",
    "zk_last_client_response_size",
    "zk_min_client_response_size",
    "zk_max_client_response_size",
    "zk_watch_bytes",
    "zk_response_bytes",
    "zk_bytes_received_count",
    "zk_connection_request_count",
    "zk_connection_revalidate_count",
    "zk_connection_drop_count",
    "zk_auth_failed_count",
    "zk_outstanding_changes_queued",
    "zk_outstanding_changes_removed",
    "zk_prep_processor_request_queued",
    "zk_cnt_readlatency",
    "zk_cnt_updatelatency",
    "zk_cnt_propagation_latency",
    "zk_cnt_connection_token_deficit",
    "zk_cnt_close_session_prep_time",
    "zk_cnt_node_created_watch_count",
    "zk_cnt_node_deleted_watch_count",
    "zk_cnt_node_changed_watch_count",
    "zk_sum_node_children_watch_count",
    "zk_cnt_app_read_per_namespace",
    "zk_sum_app_read_per_namespace",
    "zk_min_app_read_per_namespace",
    "zk_max_app_read_per_namespace",
    "zk_sum_app_write_per_namespace",
    "zk_cnt_zookeeper_write_per_namespace",
    "zk_app_quota_bytes_limit_per_namespace",
    "zk_app_quota_count_limit_per_namespace",
    "zk_app_quota_bytes_usage_per_namespace",
    "zk_app_quota_count_usage_per_namespace",
    "zk_digest_mismatches_count",
    "zk_sessionless_connections_expired",
    "zk_stale_sessions_expired",
];

struct Operated {
    server: ZooKeeper,
    http: Port,
    scratch: Scratch,
}

impl Operated {
    fn start(maker: Maker, more: &str) -> Result<Self> {
        let http = Port::take()?;
        let scratch = Scratch::new("operator")?;
        let audit = scratch.path().join("audit.log").display().to_string();
        let port = http.number();
        let settings = format!(
            "admin.enableServer=true\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n\
             audit.enable=true\n{more}\n"
        );
        let server = match maker {
            Maker::Ours => {
                let settings = format!("{settings}audit.file={audit}\n");
                ZooKeeper::start_with(maker, &settings)?
            }
            Maker::Apache => {
                let logging = scratch.path().join("log4j.properties");
                let text = format!(
                    "log4j.rootLogger=WARN, A\nlog4j.appender.A=org.apache.log4j.ConsoleAppender\n\
                     log4j.appender.A.layout=org.apache.log4j.SimpleLayout\n\
                     log4j.logger.org.apache.zookeeper.audit.Slf4jAuditLogger=INFO, F\n\
                     log4j.appender.F=org.apache.log4j.FileAppender\nlog4j.appender.F.File={audit}\n\
                     log4j.appender.F.layout=org.apache.log4j.PatternLayout\n\
                     log4j.appender.F.layout.ConversionPattern=%d{{ISO8601}} %p %c{{2}}: %m%n\n"
                );
                fs::write(&logging, text)?;
                let option = format!("-Dlog4j.configuration=file:{}", logging.display());
                ZooKeeper::start_with_properties(maker, &settings, &[&option])?
            }
        };
        // How often the start was asked for differs.
        ask(server.address(), "srst")?;
        Ok(Self {
            server,
            http,
            scratch,
        })
    }

    fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http.number()))
    }

    fn command(&self, command: &str) -> Result<String> {
        let request =
            format!("GET /commands/{command} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = talk(self.http(), request.as_bytes())?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .with_context(|| format!("{command}: {answer}"))?;
        ensure!(
            head.starts_with("HTTP/1.1 200 OK\r\n")
                && head.contains("Content-Type: application/json"),
            "{command}: {head}"
        );
        Ok(body.to_owned())
    }

    fn audit(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.scratch.path().join("audit.log"))?;
        let varying = Regex::new("^[-0-9]{10} [:,0-9]{12} |0x[0-9a-f]+")?;
        let lines = text.lines().map(|line| varying.replace_all(line, "<n>"));
        Ok(lines.map(|line| line.into_owned()).collect())
    }
}

/// Everything that comes before the server closes or is silent.
fn talk(address: SocketAddr, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    // A server that refuses a request may cut the rest of it off.
    let _ = stream.read_to_end(&mut answer);
    Ok(answer.into_iter().map(char::from).collect())
}

/// One client of the raw protocol.
struct Client {
    raw: Raw,
    xid: i32,
}

impl Client {
    fn new(address: SocketAddr) -> Result<Self> {
        let (raw, _) = Raw::with_session(address, &Hello::default())?;
        Ok(Self { raw, xid: 0 })
    }

    /// Sends a request and waits for its reply; events before it are passed over.
    fn call(&mut self, op: i32, fill: impl FnOnce(Body) -> Body) -> Result<()> {
        self.xid += 1;
        let xid = match op {
            11 => -2,
            100 => -4,
            _ => self.xid,
        };
        self.raw.send(&fill(Body::request(xid, op)).framed());
        loop {
            match self.raw.receive()? {
                Got::Frame(reply) if reply.starts_with(&(-1_i32).to_be_bytes()) => {}
                Got::Frame(_) => return Ok(()),
                other => bail!("operation {op}: {other:?}"),
            }
        }
    }

    fn create(&mut self, path: &str, data: &str, flags: i32) -> Result<()> {
        self.call(1, |b| b.string(path).string(data).open_acl().int(flags))
    }

    fn read(&mut self, op: i32, path: &str, watch: bool) -> Result<()> {
        self.call(op, |b| b.string(path).byte(u8::from(watch)))
    }

    fn set(&mut self, path: &str, data: &str) -> Result<()> {
        self.call(5, |b| b.string(path).string(data).int(-1))
    }

    fn delete(&mut self, path: &str) -> Result<()> {
        self.call(2, |b| b.string(path).int(-1))
    }
}

const LIMITS: &str = "count=10,bytes=1000=;byteHardLimit=-1;countHardLimit=-1";

/// The same requests for each server; the clients that stay are returned.
fn traffic(address: SocketAddr) -> Result<(Client, Client)> {
    let (mut a, mut b) = (Client::new(address)?, Client::new(address)?);
    a.call(100, |body| body.int(0).string("digest").string("bob:pw"))?;
    for (path, data, flags) in [
        ("/app", "hello", 0),
        ("/app/x", "1", 0),
        ("/app/e", "", 1),
        ("/other", "zz", 0),
        ("/app", "", 0),
    ] {
        a.create(path, data, flags)?;
    }
    for op in [4, 3, 12, 8].repeat(10) {
        b.read(op, "/app", false)?;
        a.read(op, "/", false)?;
    }
    for (op, path) in [
        (4, "/app"),
        (3, "/new"),
        (12, "/app"),
        (4, "/app/x"),
        (4, "/none"),
    ] {
        b.read(op, path, true)?;
    }
    a.set("/app", "hello2")?;
    a.create("/new", "", 0)?;
    a.create("/app/y", "", 2)?;
    a.delete("/app/x")?;
    a.set("/app/x", "gone")?;
    a.call(11, |body| body)?;
    a.call(9, |body| body.string("/"))?;
    for (path, data) in [
        ("/zookeeper/quota/app", ""),
        ("/zookeeper/quota/app/zookeeper_limits", LIMITS),
        ("/zookeeper/quota/app/zookeeper_stats", "count=1,bytes=1"),
        ("/app/z", "abc"),
    ] {
        a.create(path, data, 0)?;
    }
    a.call(7, |body| body.string("/other").open_acl().int(-1))?;
    a.call(14, |body| {
        let created = |body: Body, path: &str, flags| {
            let body = body.multi_header(1).string(path).string("d");
            body.open_acl().int(flags)
        };
        let body = created(created(body, "/m", 0), "/ms", 2);
        let body = body.multi_header(5).string("/m").string("x").int(-1);
        body.multi_header(2).string("/m").int(-1).multi_header(-1)
    })?;
    a.call(14, |body| {
        let body = body.multi_header(2).string("/app/z").int(-1);
        body.multi_header(13)
            .string("/none")
            .int(3)
            .multi_header(-1)
    })?;
    let mut ended = Client::new(address)?;
    ended.create("/gone", "", 1)?;
    ended.read(4, "/app", true)?;
    ended.call(-11, |body| body)?;
    // A client that just goes, and one that asks for a session that never was.
    drop(Client::new(address)?);
    let stranger = Hello {
        session: 77,
        ..Hello::default()
    };
    let _ = Raw::with_session(address, &stranger);
    // Enough of them for the history of digests.
    for _ in 0..130 {
        a.set("/other", "again")?;
    }
    a.read(4, "/app", true)?;
    a.read(4, "/other", true)?;
    b.read(4, "/app", true)?;
    b.read(12, "/app", true)?;
    Ok((a, b))
}

/// An answer without what differs between any two runs; lines whose order is that of a hash table are
/// sorted.
fn shape(name: &str, answer: &str) -> Result<String> {
    let mut text = answer.to_owned();
    for (pattern, to) in [
        (r"0x[0-9a-f]{13,16}", "<session>"),
        (
            r"3\.8\.4-[-.0-9A-Za-z]+, built on [-: 0-9]+ UTC",
            "<version>",
        ),
        (
            r"[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9 ]{2} [0-9:]{8} [A-Z]+ [0-9]{4}",
            "<date>",
        ),
        (r"/[^ \n]*zookeeper-(Apache|Ours)[^/\n]*/", "<directory>/"),
        (r#""(data|data_log)_dir" : "[^"]*""#, "$1"),
        (r"[0-9]+\.[0-9]+(E-?[0-9]+)?", "<double>"),
        (r"[0-9]+", "<n>"),
    ] {
        text = Regex::new(pattern)?.replace_all(&text, to).into_owned();
    }
    let sorted = [
        "cons",
        "connections",
        "dump",
        "wchc",
        "wchp",
        "watches",
        "stat",
        "stats",
    ];
    if sorted.contains(&name) {
        text = text
            .replace("[ ", "[\n")
            .replace(" ]", "\n]")
            .replace(", ", "\n");
        let mut lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_end_matches(','))
            .collect();
        lines.sort_unstable();
        if name == "dump" {
            // How many expire in the same tick is a matter of time.
            lines.dedup();
        }
        text = lines.join("\n");
    }
    if name.starts_with("env") {
        let lines = text
            .lines()
            .filter_map(|line| line.split([':', '=']).next());
        text = lines.collect::<Vec<_>>().join("\n");
    }
    if name == "icfg" {
        // The servers of this test are configured a little differently.
        text = text
            .lines()
            .filter(|line| !line.contains("dataDir"))
            .collect();
    }
    Ok(text)
}

fn numbers(monitor: &str) -> BTreeMap<&str, &str> {
    monitor
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect()
}

#[test]
fn operators_are_told_the_same() -> Result<()> {
    let apache = Operated::start(Maker::Apache, "enforceQuota=true")?;
    let ours = Operated::start(Maker::Ours, "enforceQuota=true")?;
    let _clients = (
        traffic(apache.server.address())?,
        traffic(ours.server.address())?,
    );
    let mut wrong = String::new();
    let mut compare = |name: &str, theirs: &str, mine: &str| -> Result<()> {
        let short = name.split('?').next().unwrap_or(name);
        let (theirs, mine) = (shape(short, theirs)?, shape(short, mine)?);
        if theirs != mine {
            let _ = writeln!(wrong, "{name}:\n--- Apache's\n{theirs}\n--- ours\n{mine}\n");
        }
        Ok(())
    };
    let word = |word| -> Result<(String, String)> {
        Ok((
            ask(apache.server.address(), word)?,
            ask(ours.server.address(), word)?,
        ))
    };
    let (theirs, mine) = word("mntr")?;
    compare_monitors(&theirs, &mine)?;
    for name in WORDS {
        let (theirs, mine) = word(name)?;
        compare(name, &theirs, &mine)?;
    }
    for name in COMMANDS {
        let (theirs, mine) = (apache.command(name)?, ours.command(name)?);
        if name == "monitor" {
            compare(
                name,
                &without_namespaces(&theirs),
                &without_namespaces(&mine),
            )?;
        } else {
            compare(name, &theirs, &mine)?;
        }
    }
    for name in [
        "crst",
        "srst",
        "cons",
        "srvr",
        "stmk\0\0\0\0\0\0\0\x07",
        "gtmk",
    ] {
        let (theirs, mine) = word(name)?;
        compare(name, &theirs, &mine)?;
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let (theirs, mine) = (apache.audit()?, ours.audit()?);
    ensure!(theirs.len() > 15, "only {theirs:?}");
    ensure!(theirs == mine, "audit\n{theirs:#?}\n{mine:#?}");
    odd_requests_get_the_same_statuses(&apache, &ours)
}

/// Two clients in turn send random requests.
fn random_traffic(address: SocketAddr, seed: u64, count: usize) -> Result<Vec<zk::Client>> {
    let mut random = Random::new(seed);
    let mut clients = vec![zk::Client::connect(address)?, zk::Client::connect(address)?];
    let mut zxid = 0;
    for n in 0..count {
        let request = random.request(zxid);
        let client = &mut clients[n % 2];
        match client.call(&request) {
            Ok((told, _)) => zxid = told.max(zxid),
            // It was one that ends the connection.
            Err(_) => *client = zk::Client::connect(address)?,
        }
    }
    Ok(clients)
}

/// Whatever is asked, what counts requests and not time comes to the same.
#[test]
fn random_requests_are_counted_the_same() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 11)?;
    let more = "extendedTypesEnabled=true\nminSessionTimeout=600000\nmaxSessionTimeout=6000000";
    let apache = Operated::start(Maker::Apache, more)?;
    let ours = Operated::start(Maker::Ours, more)?;
    let _clients = (
        random_traffic(apache.server.address(), seed, 1500)?,
        random_traffic(ours.server.address(), seed, 1500)?,
    );
    let theirs = ask(apache.server.address(), "mntr")?;
    let mine = ask(ours.server.address(), "mntr")?;
    let (theirs, mine) = (numbers(&theirs), numbers(&mine));
    let mut wrong = String::new();
    let counted = |name: &&&str| {
        // Apache's server counts the root's data twice when it starts, and once when it is set.
        let exact = COUNTED.contains(*name) && **name != "zk_approximate_data_size";
        exact || name.contains("_per_namespace")
    };
    for name in theirs.keys().chain(mine.keys()).filter(counted) {
        if theirs.get(name) != mine.get(name) {
            let (one, other) = (theirs.get(name), mine.get(name));
            let _ = writeln!(wrong, "{name} is {one:?} at Apache's and {other:?} at ours");
        }
    }
    ensure!(wrong.is_empty(), "seed {seed}\n{wrong}");
    let (theirs, mine) = (apache.audit()?, ours.audit()?);
    for (one, other) in theirs.iter().zip(&mine) {
        ensure!(one == other, "seed {seed}: audit\n{one}\n{other}");
    }
    ensure!(
        theirs.len() == mine.len(),
        "{} and {}",
        theirs.len(),
        mine.len()
    );
    Ok(())
}

/// Namespaces come in the order of a hash table.
fn without_namespaces(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("_per_namespace"));
    lines.collect::<Vec<_>>().join("\n")
}

fn compare_monitors(theirs: &str, mine: &str) -> Result<()> {
    let names = |text: &str| -> Vec<String> {
        let text = without_namespaces(text);
        numbers(&text).into_keys().map(str::to_owned).collect()
    };
    let (one, other) = (names(theirs), names(mine));
    ensure!(one.len() > 370, "only {} figures", one.len());
    ensure!(one == other, "{one:?}\n{other:?}");
    let (theirs, mine) = (numbers(theirs), numbers(mine));
    let keys = |map: &BTreeMap<&str, &str>| map.keys().map(|key| (*key).to_owned()).collect();
    let (one, other): (BTreeSet<String>, BTreeSet<String>) = (keys(&theirs), keys(&mine));
    ensure!(one == other, "{:?}", one.symmetric_difference(&other));
    for name in COUNTED {
        ensure!(
            theirs.contains_key(name) && theirs.get(name) == mine.get(name),
            "{name} is {:?} at Apache's and {:?} at ours",
            theirs.get(name),
            mine.get(name)
        );
    }
    Ok(())
}

fn odd_requests_get_the_same_statuses(apache: &Operated, ours: &Operated) -> Result<()> {
    let long = "a".repeat(20_000);
    for (first, rest) in [
        ("GET / HTTP/1.1", "Host: x\r\n"),
        ("GET /commands HTTP/1.1", "Host: x\r\n"),
        ("GET /commands/ HTTP/1.1", "Host: x\r\n"),
        ("GET /commandsx HTTP/1.1", "Host: x\r\n"),
        ("GET /commands/../commands/ruok HTTP/1.1", "Host: x\r\n"),
        ("HEAD /commands/ruok HTTP/1.1", "Host: x\r\n"),
        (
            "POST /commands/ruok HTTP/1.1",
            "Host: x\r\nContent-Length: 2\r\n",
        ),
        (
            "PUT /commands/ruok HTTP/1.1",
            "Host: x\r\nContent-Length: 2\r\n",
        ),
        ("DELETE /commands/ruok HTTP/1.1", "Host: x\r\n"),
        ("OPTIONS /commands/ruok HTTP/1.1", "Host: x\r\n"),
        ("TRACE /commands/ruok HTTP/1.1", "Host: x\r\n"),
        ("NONSENSE /commands/ruok HTTP/1.1", "Host: x\r\n"),
        ("GET /commands/ruok HTTP/1.0", ""),
        ("GET /commands/ruok HTTP/1.1", ""),
        ("GET /commands/ruok HTTP/2.0", "Host: x\r\n"),
        ("GET /commands/ruok", ""),
        ("GARBAGE", ""),
        ("\x16\x03\x01\x02", ""),
        (
            "GET /commands/ruok HTTP/1.1",
            &format!("Host: x\r\nX: {long}\r\n"),
        ),
        (&format!("GET /{long} HTTP/1.1"), "Host: x\r\n"),
    ] {
        let close = if rest.is_empty() {
            ""
        } else {
            "Connection: close\r\n"
        };
        let body = if rest.contains("Content-Length") {
            "ab"
        } else {
            ""
        };
        let request = format!("{first}\r\n{rest}{close}\r\n{body}");
        let code = |server: &Operated| -> Result<String> {
            let answer = talk(server.http(), request.as_bytes())?;
            Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
        };
        let (theirs, mine) = (code(apache)?, code(ours)?);
        let shown = first.get(..60).unwrap_or(first);
        ensure!(theirs == mine, "{shown:?}: {theirs:?} is not {mine:?}");
    }
    Ok(())
}

/// Clients that send nothing, a byte now and then, or far too much, keep neither the server nor
/// other operators from their work, and are sent away.
#[test]
fn bad_clients_of_the_admin_server_hurt_nobody() -> Result<()> {
    let ours = Operated::start(Maker::Ours, "admin.idleTimeout=700")?;
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..150 {
        let mut stream = TcpStream::connect(ours.http())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Half of them begin a request that never ends.
        if n % 2 == 0 {
            stream.write_all(b"GET /commands/ruok HTTP/1.1\r\nHo")?;
        }
        idle.push(stream);
    }
    let mut client = Client::new(ours.server.address())?;
    client.create("/while", "they wait", 0)?;
    ensure!(ask(ours.server.address(), "ruok")? == "imok");
    for stream in &mut idle {
        let mut byte = [0];
        let end = stream.read(&mut byte);
        ensure!(
            !matches!(end, Ok(count) if count > 0),
            "an answer to nothing"
        );
    }
    ensure!(ours.command("ruok")?.contains("\"error\" : null"));
    let flood = [
        b"GET /commands/ruok HTTP/1.1\r\nHost: x\r\n",
        &[b'x'; 1 << 20][..],
    ]
    .concat();
    let answer = talk(ours.http(), &flood)?;
    ensure!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    let piped = "GET /commands/ruok HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let last = "GET /commands/isro HTTP/1.0\r\n\r\n";
    let answer = talk(ours.http(), format!("{piped}{last}").as_bytes())?;
    ensure!(answer.matches("\"command\" : \"ruok\"").count() == 200);
    ensure!(answer.contains("\"is_read_only\""));
    Ok(())
}

/// A key and its certificate, made by the JDK's tool: `keys.p12`, `trust.p12` and `certificate.pem`.
fn make_keys(scratch: &Scratch) -> Result<()> {
    let steps = [
        "-genkeypair -alias k -keyalg EC -dname CN=localhost -keystore keys.p12",
        "-exportcert -alias k -rfc -file certificate.pem -keystore keys.p12",
        "-importcert -noprompt -alias k -file certificate.pem -keystore trust.p12",
    ];
    for step in steps {
        let made = std::process::Command::new("keytool")
            .args(step.split(' '))
            .args(["-storetype", "PKCS12", "-storepass", "changeit"])
            .current_dir(scratch.path())
            .output()
            .context("keytool of the JDK")?;
        let told = String::from_utf8_lossy(&made.stdout).into_owned();
        ensure!(made.status.success(), "keytool {step}: {told}");
    }
    Ok(())
}

#[test]
fn the_admin_server_speaks_tls_as_apaches() -> Result<()> {
    let keys = Scratch::new("admin-keys")?;
    make_keys(&keys)?;
    let stores = ["keyStore", "keys.p12", "trustStore", "trust.p12"];
    let mut settings = String::new();
    for pair in stores.chunks(2) {
        let (store, file) = (pair[0], keys.path().join(pair[1]).display().to_string());
        let prefix = format!("ssl.quorum.{store}");
        let _ = write!(
            settings,
            "{prefix}.location={file}\n{prefix}.password=changeit\n{prefix}.type=PKCS12\n"
        );
    }
    let told = |maker, more: &str| -> Result<Vec<String>> {
        let server = Operated::start(maker, &format!("{settings}{more}"))?;
        let urls = ["http", "https"].map(|scheme| {
            let port = server.http.number();
            format!("{scheme}://127.0.0.1:{port}/commands/ruok")
        });
        let certificate = keys.path().join("certificate.pem").display().to_string();
        let said = python::run("https_get.py", &[&certificate, &urls[0], &urls[1]])?;
        let mut lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
        let monitor = ask(server.server.address(), "mntr")?;
        let insecure = monitor.lines().find(|line| line.contains("insecure_admin"));
        lines.extend(insecure.map(str::to_owned));
        Ok(lines)
    };
    for more in ["admin.portUnification=true", "admin.forceHttps=true"] {
        let (theirs, mine) = (told(Maker::Apache, more)?, told(Maker::Ours, more)?);
        ensure!(theirs.len() > 4 && theirs == mine, "{theirs:?}\n{mine:?}");
    }
    Ok(())
}

#[test]
fn a_taken_admin_port_is_no_reason_to_stop_but_a_taken_metrics_port_is() -> Result<()> {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    let settings = format!(
        "admin.enableServer=true\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n"
    );
    let server = ZooKeeper::start_with(Maker::Ours, &settings)?;
    ensure!(ask(server.address(), "ruok")? == "imok");
    let settings = format!("{PROMETHEUS}\nmetricsProvider.httpPort={port}\n");
    ensure!(ZooKeeper::start_with(Maker::Ours, &settings).is_err());
    Ok(())
}

const PROMETHEUS: &str = "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
     metricsProvider.httpHost=127.0.0.1";

/// Names and types are those that Apache's provider served, built from its source, with 3.8.4.
#[test]
fn prometheus_gets_apaches_metrics() -> Result<()> {
    let port = Port::take()?;
    let more = format!("{PROMETHEUS}\nmetricsProvider.httpPort={}", port.number());
    let ours = Operated::start(Maker::Ours, &more)?;
    let _clients = traffic(ours.server.address())?;
    let get = |path: &str| -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = talk(port.address(), request.as_bytes())?;
        ensure!(
            answer.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{answer}"
        );
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        Ok(body.to_owned())
    };
    let text = get("/metrics")?;
    let mut families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    families.sort_unstable();
    let golden = include_str!("golden/prometheus_families.txt");
    ensure!(
        families == golden.lines().collect::<Vec<_>>(),
        "{families:#?}"
    );
    for line in [
        "znode_count ",
        "quota_count_limit_per_namespace{key=\"app\",} 10.0",
        "fsynctime{quantile=\"0.5\",} ",
        "readlatency{quantile=\"0.99\",} ",
        "read_per_namespace{key=\"app\",quantile=\"0.5\",} ",
        "election_time{quantile=\"0.5\",} NaN",
    ] {
        ensure!(
            text.lines().any(|told| told.starts_with(line)),
            "no {line}: {text}"
        );
    }
    let one = get("/metrics?name%5B%5D=watch_bytes")?;
    ensure!(
        one.lines().count() == 3 && one.contains("# TYPE watch_bytes counter\n"),
        "{one}"
    );
    // Counters never go back for Prometheus.
    let sent = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("readlatency_count "));
        line.and_then(|count| count.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let before = sent(&text);
    ask(ours.server.address(), "srst")?;
    ensure!(before > 80.0 && sent(&get("/metrics")?) >= before);
    let monitor = ask(ours.server.address(), "mntr")?;
    ensure!(
        monitor.contains("zk_readlatency{quantile=\"0.5\"}\t"),
        "{monitor}"
    );
    let began = Instant::now();
    get("/metrics")?;
    ensure!(began.elapsed() < Duration::from_secs(5));
    Ok(())
}
