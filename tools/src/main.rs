//! The `tandem` binary: the stock tools, by command name.

mod args;
mod client;
mod kafka;
mod zookeeper;

use zookeeper::shell::{self, Flavour};

fn main() {
    let mut args = std::env::args().skip(1);
    let code = match args.next().as_deref() {
        Some("zookeeper-shell") => shell::main(Flavour::Kafka, args.collect()),
        Some("zkCli") => shell::main(Flavour::ZooKeeper, args.collect()),
        other => {
            let name = other.unwrap_or_default();
            eprintln!("tandem: no command \"{name}\"; there are: zookeeper-shell, zkCli");
            1
        }
    };
    std::process::exit(code);
}
