//! Shell: the command line of `zk-server`.

use std::io::Write;
use std::process::ExitCode;

use common::config::Origin;
use zk_server::config::load::CommandLine;
use zk_server::config::report;
use zk_server::config::server_config::ServerConfig;
use zk_server::config::values::Note;
use zk_server::error::ServerError;
use zk_server::offline::run as offline;
use zk_server::server;
use zk_server::tls::settings;

const USAGE: &str = "\
Usage: zk-server [-Dname=value ...] CONFIGFILE
       zk-server [-Dname=value ...] PORT DATADIR [TICKTIME] [MAXCNXNS]
       zk-server [-Dname=value ...] check-config CONFIGFILE
       zk-server dump-log FILE
       zk-server dump-snapshot FILE [--json]
       zk-server verify DATADIR [DATALOGDIR]

A ZooKeeper-compatible coordinator. CONFIGFILE is a zoo.cfg, or TOML with the same keys if its
name ends in .toml. -Dname=value sets a system property as for ZooKeeper; those in the environment
variables SERVER_JVMFLAGS, JVMFLAGS and KAFKA_OPTS count too, the command line last.

  check-config   reads the configuration, says what it means and what has no effect, and stops
  dump-log       prints the transactions of a log.<zxid>
  dump-snapshot  prints what a snapshot.<zxid>[.gz|.snappy] holds
  verify         reads all logs and snapshots as a server does when it starts; changes nothing

  -h, --help     this text
  -V, --version  the version";

fn main() -> ExitCode {
    let mut line = CommandLine::default();
    line.take_variables(|name| std::env::var(name).ok());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-h" | "--help" => {
                say(USAGE);
                return ExitCode::SUCCESS;
            }
            "-V" | "--version" => {
                say(concat!("zk-server ", env!("CARGO_PKG_VERSION")));
                return ExitCode::SUCCESS;
            }
            option if option.starts_with("-D") => line.take_option(option, Origin::CommandLine),
            _ => line.arguments.push(argument),
        }
    }
    let command = line.arguments.first().map(String::as_str);
    match command {
        Some("check-config") => check_config(line),
        Some(tool) if offline::COMMANDS.contains(&tool) => {
            offline::run(tool, &line.arguments[1..]).map_or_else(usage, ExitCode::from)
        }
        _ => serve(&line),
    }
}

/// Prints a line; whoever does not read on, does not want to know.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints the usage to standard error; the exit code is ZooKeeper's for wrong arguments.
fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn serve(line: &CommandLine) -> ExitCode {
    if let Some(option) = line.arguments.iter().find(|word| word.starts_with('-')) {
        eprintln!("zk-server: unknown option {option}");
        return usage();
    }
    if line.arguments.is_empty() || line.arguments.len() > 4 {
        return usage();
    }
    common::logging::init("info");
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zk-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(line: &CommandLine) -> Result<(), ServerError> {
    let (config, notes) = ServerConfig::load(line)?;
    for Note { warning, text } in notes {
        if warning {
            tracing::warn!("{text}");
        } else {
            tracing::info!("{text}");
        }
    }
    server::run(config)
}

fn check_config(mut line: CommandLine) -> ExitCode {
    line.arguments.remove(0);
    if line.arguments.len() != 1 {
        return usage();
    }
    match check(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zk-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn check(line: &CommandLine) -> Result<(), ServerError> {
    let (config, notes) = ServerConfig::load(line)?;
    for Note { warning, text } in &notes {
        say(&format!(
            "{} {text}",
            if *warning { "WARN" } else { "INFO" }
        ));
    }
    if let Some(tls) = &config.ports.tls {
        for warning in settings::prepare(tls)?.warnings {
            say(&format!("WARN {warning}"));
        }
    }
    for setting in report::effective(&config) {
        say(&setting);
    }
    say(&format!(
        "{}: the configuration can be used",
        line.arguments[0]
    ));
    Ok(())
}
