//! Shell: `-D` options, variables, TOML, and the exit codes of configurations that cannot be.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::ports::Port;
use integration_tests::process::Process;
use integration_tests::workspace::Scratch;
use integration_tests::{apache, ours};

const LIMIT: Duration = Duration::from_secs(60);

const VARIABLES: [&str; 3] = ["SERVER_JVMFLAGS", "JVMFLAGS", "KAFKA_OPTS"];

fn zk_server() -> Result<Command> {
    let mut command = ours::zk_server()?;
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    Ok(command)
}

/// What `check-config` prints of a file with this name and text.
fn check(name: &str, text: &str, change: impl Fn(&mut Command)) -> Result<Vec<String>> {
    let scratch = Scratch::new("options")?;
    let path = scratch.path().join(name);
    fs::write(&path, text)?;
    let mut command = zk_server()?;
    change(&mut command);
    let output = command.arg("check-config").arg(&path).output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed = printed.replace(&path.display().to_string(), "FILE");
    Ok(printed.lines().map(str::to_owned).collect())
}

fn has(lines: &[String], expected: &str) -> Result<()> {
    let found = lines.iter().any(|line| line.contains(expected));
    ensure!(found, "no line with {expected:?} in\n{}", lines.join("\n"));
    Ok(())
}

const PLAIN: &str = "dataDir=/tmp/none\nclientPort=2181\n";

#[test]
fn options_count_in_the_order_of_the_scripts() -> Result<()> {
    let words = |lines: &[String], expected: &str| {
        has(lines, &format!("4lw.commands.whitelist={expected}"))
    };
    let option = |value: &str| format!("-Xmx1g -Dzookeeper.4lw.commands.whitelist={value}");
    let mut set = vec![("SERVER_JVMFLAGS", "ruok")];
    words(
        &check("zoo.cfg", PLAIN, |c| with(c, &set, &option))?,
        "ruok",
    )?;
    set.push(("JVMFLAGS", "stat"));
    words(
        &check("zoo.cfg", PLAIN, |c| with(c, &set, &option))?,
        "stat",
    )?;
    set.push(("KAFKA_OPTS", "conf"));
    let lines = check("zoo.cfg", PLAIN, |c| with(c, &set, &option))?;
    words(&lines, "conf")?;
    has(&lines, "INFO JVMFLAGS: -Xmx1g is ignored")?;
    let lines = check("zoo.cfg", PLAIN, |c| {
        with(c, &set, &option);
        c.arg("-Dzookeeper.4lw.commands.whitelist=envi");
    })?;
    words(&lines, "envi")?;
    let file = format!("{PLAIN}4lw.commands.whitelist=dump\n");
    let lines = check("zoo.cfg", &file, |c| with(c, &set, &option))?;
    words(&lines, "dump")?;
    has(
        &lines,
        "WARN KAFKA_OPTS: -Dzookeeper.4lw.commands.whitelist has no effect",
    )?;
    Ok(())
}

fn with(command: &mut Command, set: &[(&str, &str)], option: &impl Fn(&str) -> String) {
    for (name, value) in set {
        command.env(name, option(value));
    }
}

#[test]
fn what_has_no_effect_is_named_with_its_place() -> Result<()> {
    let file = format!(
        "{PLAIN}initLimit=10\nzookeeper.snapCount=5\njute.maxbuffer=4000000\nsnapcount=5\nsnapCount=many\n\
         enforceQuota=yes\n"
    );
    let lines = check("zoo.cfg", &file, |command| {
        command.args([
            "-DsnapCount=7",
            "-Dzookeeper.tickTime=5",
            "-Dfoo=bar",
            "-Djava.awt.headless=true",
        ]);
    })?;
    for expected in [
        "INFO FILE:3: initLimit is not used: only servers of an ensemble use it",
        "WARN FILE:4: zookeeper.snapCount has no effect, as in ZooKeeper; write snapCount instead",
        "WARN FILE:5: jute.maxbuffer has no effect in the file, as in ZooKeeper; pass -Djute.maxbuffer=... instead",
        "WARN FILE:6: unknown key snapcount has no effect",
        "WARN FILE:7: snapCount=many is not a number; the default, 100000, is used",
        "WARN FILE:8: enforceQuota=yes counts as false; set true or false",
        "WARN command line: -DsnapCount has no effect, as in ZooKeeper; pass -Dzookeeper.snapCount=... instead",
        "WARN command line: -Dzookeeper.tickTime has no effect, as in ZooKeeper; set tickTime in the file instead",
        "WARN command line: unknown property -Dfoo has no effect",
        "INFO command line: java.awt.headless is not used: only a Java virtual machine has a use for it",
    ] {
        has(&lines, expected)?;
    }
    Ok(())
}

#[test]
fn toml_says_the_same() -> Result<()> {
    let properties = "dataDir=/tmp/none\ndataLogDir=/tmp/log\nclientPort=2181\nclientPortAddress=127.0.0.1\n\
                      tickTime=500\ninitLimit=5\nmaxClientCnxns=0\nminSessionTimeout=700\nmaxSessionTimeout=9000\n\
                      4lw.commands.whitelist=stat, ruok\nautopurge.snapRetainCount=5\nautopurge.purgeInterval=1\n\
                      snapCount=0x10\nenforceQuota=true\nadmin.enableServer=false\nserver.1=localhost:2888:3888\n\
                      no.such.key=1\n";
    let flat: String = properties
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| format!("\"{key}\" = \"{value}\"\n"))
        .collect();
    let natural = "dataDir = '/tmp/none'\ndataLogDir = '/tmp/log'\nclientPort = 2181\nclientPortAddress = '127.0.0.1'\n\
                   tickTime = 500\ninitLimit = 5\nmaxClientCnxns = 0\nminSessionTimeout = 700\nmaxSessionTimeout = 9_000\n\
                   4lw.commands.whitelist = ['stat', 'ruok']\nautopurge.snapRetainCount = 5\nautopurge.purgeInterval = 1\n\
                   snapCount = 0x10\nenforceQuota = true\n\
                   admin.enableServer = false\nserver.1 = 'localhost:2888:3888'\nno.such.key = 1\n";
    let plain = check("zoo.cfg", properties, |_| {})?;
    for toml in [flat.as_str(), natural] {
        let lines = check("zoo.toml", toml, |_| {})?;
        ensure!(plain == lines, "{plain:#?}\n{lines:#?}");
    }
    // What ZooKeeper takes from -D alone may stand in TOML, which it does not read.
    let limits = format!("{natural}\"jute.maxbuffer\" = 4000000\n");
    let lines = check("zoo.toml", &limits, |_| {})?;
    ensure!(plain == lines, "{lines:#?}");
    Ok(())
}

/// Without data and without leave to begin, Apache's server runs and lets nobody in; ours says so and
/// ends. The file `initialize` is that leave for both.
#[test]
fn an_empty_directory_is_not_begun_against_the_operators_will() -> Result<()> {
    let scratch = Scratch::new("empty")?;
    let data = scratch.path().join("data");
    let port = Port::take()?;
    let file = scratch.path().join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort={}\nadmin.enableServer=false\ndb.autocreate=false\n",
        data.display(),
        port.number()
    );
    fs::write(&file, text)?;
    let mut process = Process::spawn("refused", zk_server()?.arg(&file), scratch.path())?;
    ensure!(process.wait_for_end(LIMIT)? == 3, "{}", process.tail());
    ensure!(
        process.stderr().contains("db.autocreate is false"),
        "{}",
        process.stderr()
    );
    fs::write(data.join("initialize"), "")?;
    for _ in 0..2 {
        let mut process = Process::spawn("begun", zk_server()?.arg(&file), scratch.path())?;
        process.wait_for_port(port.address(), LIMIT)?;
        ensure!(process.terminate(LIMIT)? == 0, "{}", process.tail());
        ensure!(!data.join("initialize").exists());
    }
    Ok(())
}

/// Both servers end so with these arguments; `$DIR` is an empty directory, `$PORT` a free port.
const ENDS: &[(&str, &[&str], i32)] = &[
    ("", &[], 2),
    ("", &["1", "2", "3", "4", "5"], 2),
    ("", &["$DIR/none.cfg"], 2),
    ("", &["$DIR"], 2),
    ("", &["port", "$DIR/data"], 2),
    (
        "dataDir=$DIR/data\nclientPort=$PORT\ntickTime=0",
        &["$DIR/zoo.cfg"],
        2,
    ),
    (
        "dataDir=$DIR/zoo.cfg\nclientPort=$PORT",
        &["$DIR/zoo.cfg"],
        3,
    ),
    (
        "dataDir=$DIR/data\nclientPort=$PORT\ndatadir.autocreate=false",
        &["$DIR/zoo.cfg"],
        3,
    ),
    (
        "dataDir=$DIR/data\nclientPort=$PORT\nclientPortAddress=192.0.2.1",
        &["$DIR/zoo.cfg"],
        1,
    ),
    (
        "dataDir=$DIR/data\nclientPort=$PORT",
        &["-Dznode.container.checkIntervalMs=-1", "$DIR/zoo.cfg"],
        2,
    ),
];

#[test]
fn exit_codes_are_apaches() -> Result<()> {
    for (text, arguments, code) in ENDS {
        for apache in [true, false] {
            let scratch = Scratch::new("ends")?;
            let port = Port::take()?.number().to_string();
            let directory = scratch.path().display().to_string();
            let fill = |text: &str| text.replace("$DIR", &directory).replace("$PORT", &port);
            if !text.is_empty() {
                let text = format!("{}\nadmin.enableServer=false\n", fill(text));
                fs::write(scratch.path().join("zoo.cfg"), text)?;
            }
            let mut command = if apache {
                apache::java()?
            } else {
                zk_server()?
            };
            let (options, rest): (Vec<&str>, Vec<&str>) =
                arguments.iter().partition(|word| word.starts_with("-D"));
            command
                .arg("-Dzookeeper.admin.enableServer=false")
                .args(options);
            if apache {
                command.arg(apache::ZOOKEEPER_SERVER);
            }
            command.args(rest.iter().map(|word| fill(word)));
            let mut process = Process::spawn("server", &mut command, scratch.path())?;
            let ended = process
                .wait_for_end(LIMIT)
                .with_context(|| format!("{text:?} {arguments:?}"))?;
            ensure!(
                ended == *code,
                "apache: {apache}, {text:?} {arguments:?}: {ended}\n{}",
                process.tail()
            );
        }
    }
    Ok(())
}
