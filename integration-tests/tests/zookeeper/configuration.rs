//! Shell: what our server makes of configuration files, against what Apache's classes make of them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::environment;
use integration_tests::workspace::Scratch;
use integration_tests::{apache, ours, process, workspace};

/// What a file comes to: its settings, or `None` where it is refused.
type Answer = Option<BTreeMap<String, String>>;

/// Files that are right, odd or wrong; `$DIR` is an empty directory.
const FILES: &[&str] = &[
    "",
    "dataDir=$DIR",
    "clientPort=2181",
    "dataDir=$DIR\nclientPort=2181",
    "  dataDir = $DIR  \n\tclientPort : 2181  \ntickTime 500",
    "dataDir=$DIR\r\nclientPort=2181\r\n# tickTime=1\r\n! tickTime=2\r\n",
    "dataDir=$DIR\nclientPort=21\\\n   81\ntickTime=\\u0033000",
    "dataDir=$DIR\nclientPort=2181\nclientPort=2182\n",
    "dataDir=$DIR\nclientPort=two",
    "dataDir=$DIR\nclientPort=",
    "dataDir=$DIR\nclientPort=70000",
    "dataDir=$DIR\nclientPort=-1",
    "dataDir=$DIR\nclientPort=0x885",
    "dataDir=$DIR\nclientPort=+2181",
    "dataDir=$DIR\nclientPort=2181\nclientPortAddress=127.0.0.1",
    "dataDir=$DIR\nclientPort=2181\nclientPortAddress=0.0.0.0",
    "dataDir=$DIR\nclientPort=2181\nclientPortAddress=::1",
    "dataDir=$DIR\nclientPort=2181\nclientPortAddress=",
    "dataDir=$DIR\nclientPort=2181\nclientPortAddress=no.such.host.invalid",
    "dataDir=$DIR\nclientPortAddress=127.0.0.1",
    "dataDir=$DIR\nclientPort=2181\ntickTime=0",
    "dataDir=$DIR\nclientPort=2181\ntickTime=-1",
    "dataDir=$DIR\nclientPort=2181\ntickTime=2000.5",
    "dataDir=$DIR\nclientPort=2181\ntickTime=2147483648",
    "dataDir=$DIR\nclientPort=2181\nminSessionTimeout=5000\nmaxSessionTimeout=4000",
    "dataDir=$DIR\nclientPort=2181\nminSessionTimeout=5000\nmaxSessionTimeout=5000",
    "dataDir=$DIR\nclientPort=2181\nminSessionTimeout=-5",
    "dataDir=$DIR\nclientPort=2181\nmaxSessionTimeout=-5",
    "dataDir=$DIR\nclientPort=2181\nmaxSessionTimeout=1",
    "dataDir=$DIR\nclientPort=2181\nmaxClientCnxns=-1",
    "dataDir=$DIR\nclientPort=2181\nclientPortListenBacklog=-7",
    "dataDir=$DIR\nclientPort=2181\nautopurge.snapRetainCount=1\nautopurge.purgeInterval=-4",
    "dataDir=$DIR\nclientPort=2181\nelectionAlg=0",
    "dataDir=$DIR\nclientPort=2181\npeerType=Observer",
    "dataDir=$DIR\nclientPort=2181\npeerType=witness",
    "dataDir=$DIR\nclientPort=2181\nstandaloneEnabled=yes",
    "dataDir=$DIR\nclientPort=2181\nstandaloneEnabled=FALSE",
    "dataDir=$DIR\nclientPort=2181\nreconfigEnabled=",
    "dataDir=$DIR\nclientPort=2181\nlocalSessionsEnabled=1",
    "dataDir=$DIR\nclientPort=2181\nmetricsProvider.className=no.such.Class",
    "dataDir=$DIR\nclientPort=2181\nmetricsProvider.className=org.apache.zookeeper.metrics.impl.NullMetricsProvider",
    "dataDir=$DIR\nclientPort=2181\nsyncEnabled=maybe",
    "dataDir=$DIR\nclientPort=2181\nsnapCount=many\nforceSync=maybe\nno.such.key=\u{e9}",
    "dataDir=$DIR\nclientPort=2181\nzookeeper.snapCount=10\njute.maxbuffer=1",
    "dataDir=$DIR\nclientPort=2181\nquorum.auth.serverRequireSasl=true",
    "dataDir=$DIR\nclientPort=2181\nquorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
    "dataDir=$DIR\nclientPort=2181\nquorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true\nquorum.auth.learnerRequireSasl=true",
    "dataDir=$DIR\nclientPort=2181\njvm.pause.monitor=true\njvm.pause.sleep.time.ms=x",
    "dataDir=$DIR\nclientPort=2181\nversion=xyz",
    "dataDir=$DIR\nclientPort=2181\nversion=1f",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888:participant;2181",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888:observer",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888:voter",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:2888",
    "dataDir=$DIR\nclientPort=2181\nserver.one=localhost:2888:3888",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888|localhost:2889:3889",
    "dataDir=$DIR\nclientPort=2181\nmultiAddress.enabled=true\nserver.1=localhost:2888:3888|localhost:2889:3889",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888\nserver.2=localhost:2889:3889:observer",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888\nserver.2=localhost:2889:3889",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888\ngroup.1=1\nweight.1=3",
    "dataDir=$DIR\nclientPort=2181\nserver.1=localhost:2888:3888\ngroup.1=2",
    "dataDir=$DIR\nclientPort=2181\nweights=1",
    "dataDir=$DIR\nclientPort=2181\nstandaloneEnabled=false\nserver.1=localhost:2888:3888",
    "dataDir=$DIR/id7\nclientPort=2181\nserver.7=localhost:2888:3888;127.0.0.1:2181",
    "dataDir=$DIR/id7\nclientPort=2181\nserver.7=localhost:2888:3888;127.0.0.1:2182",
    "dataDir=$DIR/id7\nserver.7=localhost:2888:3888;127.0.0.1:2182",
    "dataDir=$DIR/id7\nserver.7=localhost:2888:3888;[::1]:2182",
    "dataDir=$DIR/id7\nclientPort=2181\nclientPortAddress=127.0.0.1\nserver.7=localhost:2888:3888;127.0.0.2:2181",
    "dataDir=$DIR/id7\nclientPort=2181\nserver.6=localhost:2888:3888;127.0.0.1:2182",
    "dataDir=$DIR/idx\nclientPort=2181",
    "dataDir=$DIR/idempty\nclientPort=2181",
    "dataDir=$DIR/idblank\nclientPort=2181",
    "dataDir=$DIR\nclientPort=2181\ndynamicConfigFile=$DIR/none",
    "dataDir=$DIR\nclientPort=2181\ndynamicConfigFile=$DIR/one.dynamic",
    "dataDir=$DIR/id7\ndynamicConfigFile=$DIR/seven.dynamic.1f",
    "dataDir=$DIR\nclientPort=2181\ndynamicConfigFile=$DIR/odd.dynamic",
    "dataDir=$DIR\nclientPort=2181\ndynamicConfigFile=$DIR/version.dynamic",
    "dataDir=$DIR\nclientPort=2181\ndynamicConfigFile=$DIR/one.dynamic\nserver.1=localhost:2888:3888",
];

/// Files beside the configuration files.
const BESIDE: &[(&str, &str)] = &[
    ("id7/myid", "7\n"),
    ("idx/myid", "seven\n"),
    ("idempty/myid", ""),
    ("idblank/myid", "7 \n"),
    (
        "one.dynamic",
        "server.1=localhost:2888:3888:participant;2181\n",
    ),
    (
        "seven.dynamic.1f",
        "server.7=localhost:2888:3888;127.0.0.1:2182\n",
    ),
    ("odd.dynamic", "server.1=localhost:2888:3888\ntickTime=5\n"),
    (
        "version.dynamic",
        "server.1=localhost:2888:3888\nversion=1\n",
    ),
];

/// Whether ours may refuse what Apache's classes take, and why.
fn excuse(apache: &BTreeMap<String, String>) -> Option<&'static str> {
    let says = |key: &str, value: &str| apache.get(key).is_some_and(|set| set == value);
    if says("distributed", "true") {
        return Some("ours runs no ensembles yet");
    }
    if says("clientPortAddress", "none") {
        return Some("Apache's server would run and listen nowhere");
    }
    if apache
        .get("tickTime")
        .is_some_and(|tick| tick.starts_with('-'))
    {
        return Some("time does not run backwards");
    }
    None
}

struct Bench {
    scratch: Scratch,
}

impl Bench {
    fn new() -> Result<Self> {
        let scratch = Scratch::new("configuration")?;
        for (name, text) in BESIDE {
            let path = scratch.path().join(name);
            fs::create_dir_all(path.parent().context("a file has a directory")?)?;
            fs::write(path, text)?;
        }
        Ok(Self { scratch })
    }

    fn write(&self, texts: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let path = self.scratch.path().join(format!("{number}.cfg"));
            fs::write(&path, text)?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Compares what both make of each file.
    fn compare(&self, texts: &[Vec<u8>]) -> Result<()> {
        let paths = self.write(texts)?;
        let mut differences = Vec::new();
        let mut taken = 0;
        for ((path, text), apache) in paths.iter().zip(texts).zip(apache_answers(&paths)?) {
            let ours = our_answer(path)?;
            taken += usize::from(ours.is_some());
            let text = String::from_utf8_lossy(text);
            let same = match (&apache, &ours) {
                (Some(apache), None) => excuse(apache).is_some(),
                // Without myid nobody knows whose the server line is; ours takes it as its own.
                (Some(apache), Some(_)) if apache["clientPortAddress"] == "none" => true,
                (apache, ours) => apache.as_ref().map(in_our_words) == *ours,
            };
            if !same {
                differences.push(format!(
                    "{text}\nApache's: {apache:?}\nours:     {ours:?}\n"
                ));
            }
        }
        println!("{} files, ours takes {taken}", texts.len());
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    }
}

fn in_our_words(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut settings = settings.clone();
    settings.remove("distributed");
    plain_paths(&mut settings);
    for (key, value) in &mut settings {
        let negative = value.starts_with('-');
        if negative && (key == "maxClientCnxns" || key == "autopurge.purgeInterval") {
            // No limit, and no purge: ours has but one word for each.
            *value = "0".to_owned();
        }
        if let Ok(address) = value.parse::<IpAddr>() {
            // Java writes all parts of an IPv6 address.
            *value = address.to_string();
        }
    }
    settings
}

/// Paths without what makes no difference: slashes at their ends and double ones.
fn plain_paths(settings: &mut BTreeMap<String, String>) {
    for key in ["dataDir", "dataLogDir"] {
        if let Some(path) = settings.get_mut(key) {
            let parts: PathBuf = Path::new(path.as_str()).components().collect();
            *path = parts.display().to_string();
        }
    }
}

fn parsed<'a>(settings: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    settings
        .filter_map(|setting| setting.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn apache_answers(paths: &[PathBuf]) -> Result<Vec<Answer>> {
    let mut command = apache::java()?;
    command.arg(workspace::own_file("peers/java/ConfigProbe.java"));
    let input: String = paths
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    let probed = process::run_command(&mut command, &input, Duration::from_secs(180))?;
    let answers: Vec<Answer> = probed
        .stdout
        .lines()
        .map(|line| {
            line.strip_prefix("OK\u{1}")
                .map(|line| parsed(line.split('\u{1}')))
        })
        .collect();
    ensure!(
        answers.len() == paths.len(),
        "{}\n{}",
        probed.stdout,
        probed.stderr
    );
    Ok(answers)
}

/// The keys of `check-config` that Apache's probe says as well.
const COMPARED: &[&str] = &[
    "clientPort",
    "clientPortAddress",
    "dataDir",
    "dataLogDir",
    "tickTime",
    "maxClientCnxns",
    "minSessionTimeout",
    "maxSessionTimeout",
    "clientPortListenBacklog",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
];

fn our_answer(path: &Path) -> Result<Answer> {
    let output = check_config(path)?.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => {
            let mut settings = parsed(text.lines());
            settings.retain(|key, _| COMPARED.contains(&key.as_str()));
            plain_paths(&mut settings);
            Ok(Some(settings))
        }
        Some(2) if errors.lines().count() == 1 => Ok(None),
        code => anyhow::bail!(
            "exit code {code:?}: {errors}\n{}",
            fs::read_to_string(path)?
        ),
    }
}

fn check_config(path: &Path) -> Result<Command> {
    let mut command = ours::zk_server()?;
    command.arg("check-config").arg(path);
    for variable in ["SERVER_JVMFLAGS", "JVMFLAGS", "KAFKA_OPTS"] {
        command.env_remove(variable);
    }
    Ok(command)
}

#[test]
fn odd_files_come_to_the_same() -> Result<()> {
    let bench = Bench::new()?;
    let directory = bench.scratch.path().display().to_string();
    let texts: Vec<Vec<u8>> = FILES
        .iter()
        .map(|text| text.replace("$DIR", &directory))
        // A file of properties has one byte for each character.
        .map(|text| text.chars().map(|c| c as u32 as u8).collect())
        .collect();
    bench.compare(&texts)
}

/// Keys for random files with values that are right, odd or wrong for them.
const KEYS: &[(&str, &[&str])] = &[
    (
        "dataDir",
        &[
            "$DIR",
            "$DIR/id7",
            "$DIR/",
            "$DIR//id7/./",
            "./rel",
            "$DIR/idx",
        ],
    ),
    ("dataLogDir", &["$DIR/log", "log", "$DIR/log/"]),
    (
        "clientPort",
        &["2181", "2181", "2182", "-1", "65536", "02181", "2181a", ""],
    ),
    (
        "clientPortAddress",
        &[
            "127.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "localhost",
            "[::1]",
            "256.1.1.1",
            "",
        ],
    ),
    ("clientPortListenBacklog", &["-1", "0", "10", "x"]),
    (
        "tickTime",
        &["2000", "1", "0", "-5", "2147483647", "3 000", "+3"],
    ),
    ("maxClientCnxns", &["0", "10", "-1", "1e3"]),
    ("minSessionTimeout", &["-1", "0", "1", "4000", "-7", ""]),
    (
        "maxSessionTimeout",
        &["-1", "0", "1", "400000", "-7", "1_000"],
    ),
    ("initLimit", &["10", "0", "-1", "x"]),
    ("syncLimit", &["5", "0x5"]),
    ("autopurge.snapRetainCount", &["3", "2", "10", "-1", "2.5"]),
    ("autopurge.purgeInterval", &["1", "0", "-1", "x"]),
    ("electionAlg", &["3", "0", "03"]),
    ("peerType", &["participant", "OBSERVER", "other", ""]),
    ("standaloneEnabled", &["true", "True", "false", "no"]),
    ("reconfigEnabled", &["true", "false", "1"]),
    ("syncEnabled", &["true", "off"]),
    ("quorumListenOnAllIPs", &["true", "on"]),
    ("localSessionsEnabled", &["true", "no"]),
    ("localSessionsUpgradingEnabled", &["false", "0"]),
    (
        "metricsProvider.className",
        &[
            "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
            "x.Y",
            "",
        ],
    ),
    ("sslQuorum", &["false", "f"]),
    ("portUnification", &["TRUE", "t"]),
    ("sslQuorumReloadCertFiles", &["false", ""]),
    ("observerMasterPort", &["2191", "-2", "x"]),
    ("connectToLearnerMasterLimit", &["5", "five"]),
    ("quorum.auth.enableSasl", &["true", "false", "y"]),
    ("quorum.auth.serverRequireSasl", &["true", "false"]),
    ("quorum.auth.learnerRequireSasl", &["true", "false"]),
    ("quorum.cnxn.threads.size", &["20", "x"]),
    ("multiAddress.enabled", &["true", "si"]),
    ("multiAddress.reachabilityCheckTimeoutMs", &["1000", "1s"]),
    ("multiAddress.reachabilityCheckEnabled", &["true", "?"]),
    ("jvm.pause.monitor", &["true", "!"]),
    ("jvm.pause.info-threshold.ms", &["1000", "1000L"]),
    ("jvm.pause.warn-threshold.ms", &["9999999999", "-"]),
    ("version", &["0", "ff", "-1", "zz", "10000000000000000"]),
    (
        "server.1",
        &[
            "localhost:1:2",
            "h:1:2:observer",
            "h:1:2;2183",
            "h:1:2:participant;127.0.0.1:2183",
            "h:1",
            "[::1]:1:2",
            "::",
            "h:1:2:",
            "h:1:2;",
            ";2181",
            "h:1:2;;2181",
            "h: 1:2",
        ],
    ),
    (
        "server.7",
        &[
            "localhost:1:2;127.0.0.1:2181",
            "localhost:1:2:;2181",
            "localhost:1:2;2184",
            "localhost:1:-2",
        ],
    ),
    ("server.", &["localhost:1:2"]),
    ("server.+3", &["localhost:1:2"]),
    ("group.1", &["1", "1:7", "1:1", "", "a"]),
    ("weight.1", &["1", "-1", "x"]),
    ("weight", &["1"]),
    ("groups.x", &["1"]),
    ("snapCount", &["10", "x"]),
    ("preAllocSize", &["64", "x"]),
    ("globalOutstandingLimit", &["0", "-1"]),
    ("4lw.commands.whitelist", &["*", "stat, ruok", ""]),
    ("unheard.of", &["1"]),
    ("", &["1"]),
];

/// A generator of numbers that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A file of a few lines, written in any of the ways that Java reads.
fn random_file(random: &mut Random, directory: &str) -> Vec<u8> {
    let mut lines = vec![("dataDir", "$DIR"), ("clientPort", "2181")];
    lines.truncate(random.below(12).min(2));
    for _ in 0..random.below(5) {
        let (key, values) = KEYS[random.below(KEYS.len())];
        lines.push((key, random.pick(values)));
    }
    let mut file = Vec::new();
    for (key, value) in lines {
        let value = value.replace("$DIR", directory);
        let indent = random.pick(&["", "", "", " ", "\t", "\u{c}"]);
        let equals = random.pick(&["=", "=", "=", " = ", ":", " ", "\t:\t", "==", "=\\\n  "]);
        // ZooKeeper does not take blanks from the ends of these; ours does.
        let exact = ["server", "group", "weight", "version"]
            .iter()
            .any(|start| key.starts_with(start));
        let tail = random.pick(if exact {
            &[""]
        } else {
            &["", "", "", " ", "\t", "\u{a0}", "\\", "\u{0}"]
        });
        let end = random.pick(&["\n", "\n", "\n", "\r\n", "\r", "\n\n#x\\\n", "\n!y\n"]);
        let line = format!("{indent}{key}{equals}{value}{tail}{end}");
        file.extend(line.chars().map(|c| c as u32 as u8));
    }
    file
}

/// `TANDEM_SEED` and `TANDEM_CONFIG_FILES` repeat a run or make it longer.
#[test]
fn random_files_come_to_the_same() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 20_240_212)?;
    let files = environment::number("TANDEM_CONFIG_FILES", 400)?;
    println!("TANDEM_SEED={seed} TANDEM_CONFIG_FILES={files}");
    let bench = Bench::new()?;
    let directory = bench.scratch.path().display().to_string();
    let mut random = Random(seed);
    let texts: Vec<Vec<u8>> = (0..files)
        .map(|_| random_file(&mut random, &directory))
        .collect();
    bench.compare(&texts)
}
