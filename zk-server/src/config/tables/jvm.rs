//! Pure: settings that only a Java virtual machine, or a part that is not here, has a use for.

use crate::config::keys::Form::Text;
use crate::config::keys::Key;

const JVM: &str = "only a Java virtual machine has a use for it";
const LOGGING: &str = "log lines go to standard output, at the level of the variable RUST_LOG";
const CLIENTS: &str = "only clients read it";

const fn jvm(name: &'static str) -> Key {
    Key::property(name, Text).idle(JVM)
}

const fn logging(name: &'static str) -> Key {
    Key::property(name, Text).idle(LOGGING)
}

const fn client(name: &'static str) -> Key {
    Key::both(name, Text).idle(CLIENTS)
}

/// The rows.
pub const KEYS: &[Key] = &[
    Key::property("java.net.preferIPv4Stack", Text),
    jvm("java.*"),
    jvm("javax.*"),
    jvm("jdk.*"),
    jvm("sun.*"),
    jvm("com.sun.*"),
    jvm("com.ibm.*"),
    jvm("io.netty.*"),
    jvm("org.eclipse.jetty.*"),
    jvm("user.*"),
    jvm("os.*"),
    jvm("file.*"),
    jvm("line.separator"),
    jvm("path.separator"),
    jvm("zookeeper.jmx.*"),
    logging("log4j.*"),
    logging("log4j2.*"),
    logging("logback.*"),
    logging("org.slf4j.*"),
    logging("slf4j.*"),
    logging("kafka.logs.dir"),
    logging("zookeeper.auditlog.*"),
    logging("zookeeper.log.*"),
    logging("zookeeper.log4j.*"),
    logging("zookeeper.root.logger"),
    logging("zookeeper.console.threshold"),
    logging("zookeeper.tracelog.*"),
    client("client.secure"),
    client("clientCnxnSocket"),
    client("disableAutoWatchReset"),
    client("request.timeout"),
    client("kinit"),
    // In the file these would be lines of servers.
    Key::property("zookeeper.server.principal", Text).idle(CLIENTS),
    Key::property("zookeeper.server.realm", Text).idle(CLIENTS),
];
