//! The `tandem` binary: the stock tools, by command name.

mod args;
mod client;
mod kafka;
mod zookeeper;

use zookeeper::shell::{self, Flavour};

const USAGE: &str = "usage: tandem COMMAND [OPTIONS]
commands:
  topics             create, list, describe, alter and delete topics (kafka-topics.sh)
  console-producer   write lines of standard input to a topic (kafka-console-producer.sh)
  console-consumer   write a topic's records to standard output (kafka-console-consumer.sh)
  zookeeper-shell    look at and change znodes (zookeeper-shell.sh)
  zkCli              the same with ZooKeeper's own options (zkCli.sh)";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let code = match command.as_str() {
        "zookeeper-shell" => shell::main(Flavour::Kafka, rest),
        "zkCli" => shell::main(Flavour::ZooKeeper, rest),
        "topics" => on_runtime(kafka::topics::run(&rest)),
        "console-producer" => on_runtime(kafka::console_producer::run(&rest)),
        "console-consumer" => on_runtime(kafka::console_consumer::run(&rest)),
        "help" | "--help" => {
            println!("{USAGE}");
            0
        }
        other => {
            eprintln!("tandem: no command \"{other}\"\n{USAGE}");
            1
        }
    };
    std::process::exit(code);
}

/// Runs a tool on this thread alone: they wait for the network far more than they compute.
fn on_runtime(tool: impl Future<Output = i32>) -> i32 {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(tool);
            // A thread may still wait for standard input; it ends with the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("tandem: could not start: {error}");
            1
        }
    }
}
