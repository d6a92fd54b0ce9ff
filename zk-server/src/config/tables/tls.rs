//! Pure: keys of TLS (X509Util.java, NettyServerCnxnFactory.java).

use common::config::Rule;

use crate::config::keys::Form::{Flag, Int, IntOrDefault, Secret, Text};
use crate::config::keys::Key;

const NO_DETECTION: &str =
    "only ports of an ensemble use it; a client port waits for the first byte like for any other";

/// Both speak the same protocols here; the second is what makes a port of both kinds in ZooKeeper.
const FACTORIES: &[&str] = &[
    "org.apache.zookeeper.server.NIOServerCnxnFactory",
    "org.apache.zookeeper.server.NettyServerCnxnFactory",
];

/// The rows.
pub const KEYS: &[Key] = &[
    Key::file("secureClientPort", Int).rule(Rule::Between(0.0, 65535.0)),
    Key::file("secureClientPortAddress", Text).rule(Rule::NonEmpty),
    Key::both("serverCnxnFactory", Text).rule(Rule::OneOf(FACTORIES)),
    Key::both("client.portUnification", Flag).default("false"),
    Key::both("ssl.keyStore.location", Text),
    Key::both("ssl.keyStore.password", Secret),
    Key::both("ssl.keyStore.passwordPath", Text),
    Key::both("ssl.keyStore.type", Text),
    Key::both("ssl.trustStore.location", Text),
    Key::both("ssl.trustStore.password", Secret),
    Key::both("ssl.trustStore.passwordPath", Text),
    Key::both("ssl.trustStore.type", Text),
    Key::both("ssl.protocol", Text).default("TLSv1.2"),
    Key::both("ssl.enabledProtocols", Text),
    Key::both("ssl.ciphersuites", Text),
    Key::both("ssl.clientAuth", Text).default("need"),
    Key::both("ssl.authProvider", Text).default("x509"),
    Key::both("ssl.crl", Flag).default("false"),
    Key::both("ssl.ocsp", Flag).default("false"),
    Key::both("ssl.context.supplier.class", Text),
    Key::both("X509AuthenticationProvider.superUser", Text),
    Key::both("netty.server.outstandingHandshake.limit", IntOrDefault).default("-1"),
    Key::both("ssl.hostnameVerification", Flag)
        .default("true")
        .idle("a server checks the certificates of its clients, not their host names"),
    Key::both("fips-mode", Flag)
        .default("false")
        .idle("it changes how host names are checked, and a server checks none of its clients"),
    Key::both("ssl.handshakeDetectionTimeoutMillis", Text).idle(NO_DETECTION),
    Key::both("netty.server.earlyDropSecureConnectionHandshakes", Flag)
        .default("false")
        .idle("it is about a server that is not running yet, and this one listens when it is"),
];
