//! Shell: who a client is, and what it may then do: SASL, digests, addresses and the other schemes, right and wrong.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::process::{Finished, run_command};
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{apache, compare, python, workspace};

/// The users that all scripts know. The last names look like Kerberos principals.
const USERS: &str = r#"
/* Who may log in. */
Server {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    user_super="adminsecret" // the first
    user_bob=bobsecret user_alice="al ice"
    "user_jürg"="p\344" "user_žižek"="pž"
    "user_s/h"=p "user_u@R"=p "user_a@b@c"=p;
};
Client {
    org.apache.zookeeper.server.auth.DigestLoginModule required username="bob";
};
"#;

const PROVIDER: &str = "org.apache.zookeeper.server.auth";

/// A client that prints what it sees of a server.
type Script = fn(&str) -> Result<Finished>;

/// Fails with the differences between what scripts print on Apache's server and on ours.
fn same_for_users(settings: &str, scripts: &[Script]) -> Result<()> {
    let scratch = workspace::Scratch::new("users")?;
    let users = scratch.path().join("jaas.conf");
    fs::write(&users, USERS)?;
    let users = format!("-Djava.security.auth.login.config={}", users.display());
    // Java takes the characters of its output from the locale.
    same_with(settings, &[&users, "-Dfile.encoding=UTF-8"], scripts)
}

/// The same for servers with any settings; the scripts run one after the other on the same server.
pub fn same_with(settings: &str, properties: &[&str], scripts: &[Script]) -> Result<()> {
    let play = |maker| -> Result<Transcript> {
        let server = ZooKeeper::start_with_properties(maker, settings, properties)?;
        let mut transcript = Transcript::default();
        for (number, script) in scripts.iter().enumerate() {
            let mut finished = script(&server.connect())?;
            ensure!(finished.code == 0, "on {maker:?}: {}", finished.stderr);
            // Clients log there what they like.
            finished.stderr.clear();
            let title = format!("{settings}, script {number}");
            transcript.command(&title, &finished, &Normaliser::new());
        }
        Ok(transcript)
    };
    compare::ensure_same(&play(Maker::Apache)?, &play(Maker::Ours)?)
}

fn raw(address: &str) -> Result<Finished> {
    python::run("raw_auth.py", &[address])
}

fn kazoo(address: &str) -> Result<Finished> {
    python::run("kazoo_sasl.py", &[address])
}

fn java(address: &str) -> Result<Finished> {
    let mut command = apache::java()?;
    command
        .arg("-Dfile.encoding=UTF-8")
        .arg(workspace::own_file("peers/java/SaslScript.java"))
        .arg(address);
    run_command(&mut command, "", Duration::from_secs(120))
}

#[test]
fn clients_log_in_alike_frame_by_frame_and_with_their_libraries() -> Result<()> {
    let settings = format!(
        "authProvider.1={PROVIDER}.SASLAuthenticationProvider\n\
         superUser=super\nsuperUser.2=\\u017ei\\u017eek\nletAnySaslUserDoX=DoX\n\
         DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    );
    same_for_users(&settings, &[raw, java, kazoo])
}

#[test]
fn clients_must_log_in_alike_where_sasl_is_required() -> Result<()> {
    let settings = format!(
        "authProvider.1={PROVIDER}.SASLAuthenticationProvider\n\
         enforce.auth.enabled=true\nenforce.auth.schemes=sasl\nallowSaslFailedClients=true"
    );
    same_for_users(&settings, &[raw, java])
}

#[test]
fn other_schemes_and_digests_work_alike() -> Result<()> {
    let settings = format!(
        "authProvider.e={PROVIDER}.EnsembleAuthenticationProvider\n\
         authProvider.k={PROVIDER}.KeyAuthenticationProvider\n\
         ensembleAuthName=foo, zz\nallowSaslFailedClients=true\n\
         DigestAuthenticationProvider.digestAlg=SHA-256"
    );
    same_for_users(&settings, &[raw])
}
