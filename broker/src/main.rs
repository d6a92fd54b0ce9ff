//! Shell: the `broker` command: arguments, signals, exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use broker::config::broker::BrokerConfig;
use broker::config::unheeded;
use broker::error::StartError;
use broker::server::Server;
use clap::Parser;
use common::shutdown::Shutdown;
use rustix::process::Resource;

/// A Kafka-compatible broker, kept in order by ZooKeeper.
#[derive(Debug, Parser)]
#[command(
    name = "broker",
    version,
    after_help = "Stops in good order on Ctrl-C or SIGTERM. RUST_LOG=debug gives more log."
)]
struct Arguments {
    /// The configuration: server.properties, or the same keys in a .toml file
    config: PathBuf,
    /// Sets a property in place of the file's; may be repeated
    #[arg(long = "override", value_name = "property=value")]
    overrides: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_answer = !error.use_stderr();
            // Fails only when nobody listens.
            let _ = error.print();
            return if is_answer {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    common::logging::init("info");
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("Exiting Kafka due to fatal exception: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    raise_file_limit();
    let config = BrokerConfig::load(&arguments.config, &arguments.overrides)?;
    for warning in unheeded::warnings(&config.raw) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended: Result<(), Box<dyn std::error::Error>> = runtime.block_on(async {
        let mut signals = Shutdown::install()?;
        let server = Server::start(config, signals.requested()).await?;
        let outcome = tokio::select! {
            signal = signals.requested() => {
                tracing::info!("Terminating process due to signal {signal}");
                Ok(())
            }
            error = server.failed() => Err(error),
        };
        server.stop().await;
        outcome.map_err(Into::into)
    });
    if let Err(error) = &ended
        && is_interrupted(error.as_ref())
    {
        // Does not wait for the recovery of logs.
        runtime.shutdown_background();
    }
    ended
}

fn is_interrupted(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StartError::Interrupted(_)))
}

/// Allows as many open files as the system lets us, as Java does: each partition keeps some open.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit on open files: {error}");
    }
}
