//! Shell: our `tandem zookeeper-shell` and `tandem zkCli` print, line by line, what the stock ones
//! print, and end with the same exit codes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::process::run_command;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{compare, stock_tools, workspace};

/// What Kafka's `zookeeper-shell.sh` starts.
const KAFKA_SHELL: &str = "org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka";

/// What `zkCli.sh` starts.
const ZK_CLI: &str = "org.apache.zookeeper.ZooKeeperMain";

const LIMIT: Duration = Duration::from_secs(120);

/// Every command but those below, with its options, its mistakes and the errors of the server.
const EVERY_COMMAND: &str = r#"
ls /
ls /none
ls
ls -s -R
ls -?
ls -? /zookeeper
ls -x /
create /q v
create /q v
create /q/a/b
create q
create /q/
create /q/. x
create /q/e "some data" world:anyone:cdrwa
create /q/f 'x y' bad,world:anyone:zr
create /q/g d ,
create /q/g d junk
create -e -s /q/s
create -s /q/s d
create -s /q/
create -c /q/cont
create -c -e /q/cont2
create -t 1000 /q/ttl
create -t x /q/ttl
create -t -5 /q/ttl
create -t 0 /q/ttl
create -t 5 -e /q/ttl
create -t 5 -c /q/ttl
create -t 60000 -s /q/ttls d
create -t
create -et 5 /q/x
create -e /q/eph
create /q/eph/child
stat /q/eph
get -s /q
get /q
get /q/s0000000001
get -w /q
get /q true
get -s /q true
get /q true extra
get /none
get
get q
set /q new
set -s /q newer
set -v 7 /q no
set -v 2 /q yes
set /q -1
set /q -- -1
set /q
set -v1 /none x
getAcl /q
getAcl -s /q/f
getAcl /none
getAcl
setAcl /q world:anyone:cdrw
setAcl -s /q world:anyone:cdrwa
getAcl /q
setAcl -v 9 /q world:anyone:r
setAcl /q auth::r
setAcl /q ip:::1:rw
setAcl /q
setAcl /q junk
setAcl -R /q world:anyone:cdrwa
setAcl -R /q junk
setAcl /q digest:bob:x:rw,world:anyone:cda
getAcl /q
get /q
ls /q
delete /q
addauth digest bob:x
whoami
stat
stat /q
stat /none
stat -w /none
stat -w /q
stat /q true
sync /
sync
sync q
getEphemerals
getEphemerals /q
getEphemerals /none
getEphemerals q
getAllChildrenNumber /zookeeper
getAllChildrenNumber
getAllChildrenNumber /none
ls -R /zookeeper
ls -sw /zookeeper
ls /zookeeper true
version
version x
config
config -s
config -c
config -x
config a b
printwatches
printwatches x
printwatches
printwatches on
history
redo 3
redo 1000
redo
redo -1
whoami x
foo bar
help
  ls    "/zookeeper"
"
'ls' '/zookeeper'
"#;

/// Quotas, deletions, watches and reconfig.
const QUOTAS_WATCHES_RECONFIG: &str = r#"
create /q v
create /q/a v
create /q/a/b v
setquota -n 5 /q
listquota /q
setquota -b 1 -n 3 /q
setquota -b 1 /q
setquota -N 1 /q
setquota -B 100000 /q
listquota /q
setquota -n 5 /q/a
setquota -n 0 /q
setquota -b -1 /q
setquota -n x /q
setquota -n 99999999999 /q
setquota -n 3 /none
setquota -n 3 q
setquota -n 3 /
setquota -n 3
setquota /q
setquota -n
setquota -n 3 /zookeeper/quota/x
delquota -n /q
listquota /q
delquota -n -b /q
delquota -B /q
delquota -N /q
listquota /q
delquota /q
listquota /q
delquota /q
delquota q
delquota /none
delquota
listquota
listquota /
listquota q
setquota -n 5 /q/a/b
setquota -n 5 /q
setquota -n 5 /q/a
setquota -n 5 /q/a/b
ls -R /zookeeper
delquota /q/a/b
ls -R /zookeeper
deleteall /q/a -b 1
deleteall /q/a
deleteall /q -b x
deleteall
deleteall q
create /q/z
create /q/z/1
deleteall /q -b 0
deleteall /zookeeper
ls -R /zookeeper
delete
delete /none
delete -v 5 /zookeeper
delete q
create /q
delete /q 0
create /q
delete -v 0 /q
create /q
addWatch /q
create /q/w
set /q 1
addWatch -m PERSISTENT /q
create /q/w2
set /q/w 4
delete /q/w2
addWatch -m nope /q
addWatch -m persistent_recursive /q/w
addWatch
removewatches /q -a
removewatches /q
removewatches /q -c
removewatches /none
removewatches
removewatches q
get -w /q
ls -w /q
set /q 2
create /q/w3
get -w /q
ls -w /q
removewatches /q -d
removewatches /q -c -l
get -w /q
ls -w /q
delete /q/w3
delete /q/w
delete /q
stat -w /q
create /q
reconfig
reconfig -add x -members y
reconfig -file a -members y
reconfig -v zz -add x
reconfig -file /nonexistent/f
reconfig -add server.5=a:1:2;3
reconfig -remove 5
reconfig -s -members server.5=a:1:2;3
quit now
"#;

/// One command each, with the words before it.
const ONE_SHOTS: &[&[&str]] = &[
    &["ls", "/zookeeper"],
    &["ls", "/none"],
    &["-r", "-unknown", "-timeout", "4000", "stat", "/none"],
    &["delete", "-v", "x", "/zookeeper"],
    &["addWatch", "bad"],
    &["setquota", "-n", "x", "/zookeeper"],
    &["redo", "x"],
    &["getEphemerals"],
];

fn ours(command: &str, server: &ZooKeeper) -> Result<Command> {
    let mut shell = Command::new(workspace::binary("tandem")?);
    shell.arg(command);
    if command == "zkCli" {
        shell.arg("-server");
    }
    shell.arg(server.connect());
    Ok(shell)
}

/// Fails with the differences between the stock shell and ours, each on a fresh server of Apache's.
fn same_shell(
    name: &str,
    script: impl Fn(&mut dyn FnMut() -> Result<Command>, &mut Transcript, &Normaliser) -> Result<()>,
) -> Result<()> {
    let class = if name == "zkCli" { ZK_CLI } else { KAFKA_SHELL };
    let mut transcripts = Vec::new();
    for stock in [true, false] {
        let server = ZooKeeper::start_with(Maker::Apache, "extendedTypesEnabled=true")?;
        let normaliser = Normaliser::new()
            .literal(&server.connect(), "<server>")
            // A server that is not quite ready may begin a session and hang up.
            .pattern("Zxid = 0x[0-9a-f]+", "Zxid = <zxid>")
            // What log4j or tracing say.
            .drop_lines(r"^\[?20[0-9]{2}-")
            .drop_lines("^(SLF4J|log4j):");
        let mut start = || match stock {
            true => stock_tools::own_process(class, &["-server", &server.connect()]),
            false => ours(name, &server),
        };
        // A port that listens is not yet a server that serves.
        let mut first = ours("zkCli", &server)?;
        run_command(first.args(["-waitforconnection", "version"]), "", LIMIT)?;
        let mut transcript = Transcript::default();
        script(&mut start, &mut transcript, &normaliser)?;
        transcripts.push(transcript);
    }
    let differences = compare::differences(&transcripts[0], &transcripts[1]);
    ensure!(
        differences.is_empty(),
        "not as the stock shell:\n{differences}"
    );
    Ok(())
}

#[test]
fn every_command_of_zookeeper_shell_prints_the_same() -> Result<()> {
    same_shell("zookeeper-shell", |start, transcript, normaliser| {
        for (title, input) in [
            ("every command", EVERY_COMMAND),
            ("quotas and watches", QUOTAS_WATCHES_RECONFIG),
        ] {
            let finished = run_command(&mut start()?, input, LIMIT)?;
            transcript.command(title, &finished, normaliser);
            run_command(start()?.args(["deleteall", "/q"]), "", LIMIT)?;
        }
        for words in ONE_SHOTS {
            let finished = run_command(start()?.args(*words), "", LIMIT)?;
            transcript.command(&words.join(" "), &finished, normaliser);
        }
        Ok(())
    })
}
