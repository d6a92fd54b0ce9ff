//! Shell: the command line of `zk-server`.

use std::process::ExitCode;

use zk_server::config::{CommandLine, ServerConfig, java_properties};
use zk_server::error::ServerError;
use zk_server::server;

const USAGE: &str = "\
Usage: zk-server [-Dkey=value ...] CONFIGFILE
       zk-server [-Dkey=value ...] PORT DATADIR [TICKTIME] [MAXCNXNS]

A ZooKeeper-compatible coordinator. CONFIGFILE is a zoo.cfg, or TOML with the same keys if its
name ends in .toml. -Dkey=value sets a system property as for ZooKeeper; those in the environment
variable SERVER_JVMFLAGS count too.

  -h, --help     this text
  -V, --version  the version";

fn main() -> ExitCode {
    let mut command_line = CommandLine {
        properties: java_properties(&std::env::var("SERVER_JVMFLAGS").unwrap_or_default()),
        arguments: Vec::new(),
    };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-h" | "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "-V" | "--version" => {
                println!("zk-server {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            property if property.starts_with("-D") => {
                command_line.properties.extend(java_properties(property));
            }
            option if option.starts_with('-') => {
                eprintln!("zk-server: unknown option {option}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => command_line.arguments.push(argument),
        }
    }
    if command_line.arguments.is_empty() || command_line.arguments.len() > 4 {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    common::logging::init("info");
    match run(&command_line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zk-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command_line: &CommandLine) -> Result<(), ServerError> {
    let (config, warnings) = ServerConfig::load(command_line)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if config.admin_enabled {
        tracing::info!(
            "admin.enableServer is true, but there is no AdminServer yet; use the four-letter words"
        );
    }
    server::run(config)
}
