//! Shell: kcat and confluent-kafka (librdkafka) against the broker.

use std::time::Duration;

use anyhow::Result;

use super::session::Session;
use crate::{native, python};

const LIMIT: Duration = Duration::from_secs(60);

/// Produce, consume, list and query with kcat.
///
/// # Errors
/// When kcat is missing or does not end.
pub fn kcat(session: &mut Session) -> Result<()> {
    let broker = session.bootstrap.clone();
    for (words, input) in [
        ("-P -t cat -p 0 -K :", "k1:one\nk2:two\n"),
        ("-P -t cat -p 0 -z gzip", "three\n"),
        ("-P -t cat -p 0 -z lz4 -X acks=1", "four\n"),
        ("-P -t cat -p 0 -X enable.idempotence=true -H a=b", "five\n"),
        ("-C -t cat -o beginning -e -q -f %t|%p|%o|%k|%s|%h\\n", ""),
        ("-C -t cat -o -2 -e -q", ""),
        ("-C -t cat -p 0 -o 1 -c 2 -q", ""),
        ("-Q -t cat:0:-1", ""),
        ("-Q -t cat:0:-2", ""),
        ("-L -t cat", ""),
        ("-L -t nosuch -X allow.auto.create.topics=false", ""),
    ] {
        let mut arguments = vec!["-b", &broker, "-X", "broker.address.family=v4"];
        arguments.extend(words.split(' '));
        let finished = native::kcat(&arguments, input, LIMIT)?;
        session
            .transcript
            .command(&format!("kcat: {words}"), &finished, &session.normaliser);
    }
    let finished = native::kcat(&["-b", &broker, "-L"], "", LIMIT)?;
    session
        .transcript
        .sorted_command("kcat: -L", &finished, &session.normaliser);
    Ok(())
}

/// The confluent-kafka script.
///
/// # Errors
/// When Python or the client is missing, or it does not end.
pub fn confluent_kafka(session: &mut Session) -> Result<()> {
    let broker = session.bootstrap.clone();
    let finished = python::run("confluent_script.py", &[&broker])?;
    session.transcript.command(
        "confluent-kafka: the script",
        &finished,
        &session.normaliser,
    );
    Ok(())
}
