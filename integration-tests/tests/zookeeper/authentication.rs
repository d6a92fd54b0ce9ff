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

/// Fails with the differences between what a script prints on Apache's server and on ours.
fn same_for_users(settings: &str, script: impl Fn(&str) -> Result<Finished>) -> Result<()> {
    let scratch = workspace::Scratch::new("users")?;
    let users = scratch.path().join("jaas.conf");
    fs::write(&users, USERS)?;
    let users = format!("-Djava.security.auth.login.config={}", users.display());
    // Java takes the characters of its output from the locale.
    same_with(settings, &[&users, "-Dfile.encoding=UTF-8"], script)
}

/// The same for servers with any settings.
pub fn same_with(
    settings: &str,
    properties: &[&str],
    script: impl Fn(&str) -> Result<Finished>,
) -> Result<()> {
    let play = |maker| -> Result<Transcript> {
        let server = ZooKeeper::start_with_properties(maker, settings, properties)?;
        let mut finished = script(&server.connect())?;
        ensure!(finished.code == 0, "on {maker:?}: {}", finished.stderr);
        // Clients log there what they like.
        finished.stderr.clear();
        let mut transcript = Transcript::default();
        transcript.command(settings, &finished, &Normaliser::new());
        Ok(transcript)
    };
    let differences = compare::differences(&play(Maker::Apache)?, &play(Maker::Ours)?);
    ensure!(
        differences.is_empty(),
        "not as Apache's server:\n{differences}"
    );
    Ok(())
}

fn raw(address: &str) -> Result<Finished> {
    python::run("raw_auth.py", &[address])
}

fn java_client(address: &str) -> Result<Finished> {
    let mut command = apache::java()?;
    command
        .arg("-Dfile.encoding=UTF-8")
        .arg(workspace::own_file("peers/java/SaslScript.java"))
        .arg(address);
    run_command(&mut command, "", Duration::from_secs(120))
}

#[test]
fn frames_of_all_kinds_are_answered_alike_with_sasl() -> Result<()> {
    let settings = format!(
        "authProvider.1={PROVIDER}.SASLAuthenticationProvider\n\
         superUser=super\nsuperUser.2=\\u017ei\\u017eek\nletAnySaslUserDoX=DoX\n\
         DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    );
    same_for_users(&settings, raw)
}

#[test]
fn frames_of_all_kinds_are_answered_alike_where_sasl_is_required() -> Result<()> {
    let settings = format!(
        "authProvider.1={PROVIDER}.SASLAuthenticationProvider\n\
         sessionRequireClientSASLAuth=true\nallowSaslFailedClients=true"
    );
    same_for_users(&settings, raw)
}

#[test]
fn frames_of_all_kinds_are_answered_alike_with_other_schemes() -> Result<()> {
    let settings = format!(
        "authProvider.e={PROVIDER}.EnsembleAuthenticationProvider\n\
         authProvider.k={PROVIDER}.KeyAuthenticationProvider\n\
         ensembleAuthName=foo, zz\nallowSaslFailedClients=true\n\
         DigestAuthenticationProvider.digestAlg=SHA-256"
    );
    same_for_users(&settings, raw)
}

#[test]
fn java_clients_log_in() -> Result<()> {
    let settings = format!("authProvider.1={PROVIDER}.SASLAuthenticationProvider\nsuperUser=super");
    same_for_users(&settings, java_client)
}

#[test]
fn java_clients_must_log_in() -> Result<()> {
    let settings = format!(
        "authProvider.1={PROVIDER}.SASLAuthenticationProvider\n\
         enforce.auth.enabled=true\nenforce.auth.schemes=sasl"
    );
    same_for_users(&settings, java_client)
}

#[test]
fn kazoo_logs_in() -> Result<()> {
    let settings = format!("authProvider.1={PROVIDER}.SASLAuthenticationProvider");
    same_for_users(&settings, |address| {
        python::run("kazoo_sasl.py", &[address])
    })
}
