//! Shell: the whole znode tree with data and versions, read through zkCli.

use anyhow::{Result, ensure};

use super::session::Session;

/// Records every node below the root: its path, data and Stat.
///
/// # Errors
/// When zkCli does not end or lists nothing.
pub fn dump(session: &mut Session) -> Result<()> {
    let listing = session.zk_cli_unrecorded(&["ls -R /"])?;
    let paths: Vec<&str> = listing
        .stdout
        .lines()
        .filter(|line| line.starts_with('/'))
        .collect();
    ensure!(
        paths.len() > 1,
        "zkCli listed no nodes:\n{}\n{}",
        listing.stdout,
        listing.stderr
    );
    session
        .transcript
        .lines("znodes: names", &paths.join("\n"), &session.normaliser);
    // The fifty partitions of the offsets topic look alike; two of them stand for the rest.
    let wanted: Vec<&str> = paths
        .iter()
        .copied()
        .filter(|path| !path.starts_with("/zookeeper/"))
        .filter(|path| {
            let offsets = path.strip_prefix("/brokers/topics/__consumer_offsets/partitions/");
            offsets.is_none_or(|rest| {
                rest.split('/')
                    .next()
                    .is_some_and(|number| number.len() == 1)
            })
        })
        .collect();
    let commands: Vec<String> = wanted.iter().map(|path| format!("get -s {path}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let finished = session.zk_cli_unrecorded(&commands)?;
    let screens = finished.stdout.split_inclusive("numChildren = ");
    // Each screen ends within its last line: the number of children begins the next piece.
    let pieces: Vec<&str> = screens.collect();
    ensure!(
        pieces.len() == wanted.len() + 1,
        "{} screens for {} nodes",
        pieces.len() - 1,
        wanted.len()
    );
    for (number, path) in wanted.iter().enumerate() {
        let head = match (number, pieces[number].split_once('\n')) {
            (0, _) => pieces[0]
                .rsplit_once("path:null\n")
                .map_or(pieces[0], |(_, rest)| rest),
            (_, Some((_, rest))) => rest,
            (_, None) => pieces[number],
        };
        let children = pieces[number + 1].split('\n').next().unwrap_or_default();
        session.transcript.lines(
            &format!("znode: {path}"),
            &format!("{head}{children}"),
            &session.normaliser,
        );
    }
    Ok(())
}
