//! Pure: keys that only the servers of an ensemble have a use for.

use common::config::Rule;

use crate::config::keys::Form::{Boolean, Flag, Int, Text};
use crate::config::keys::Key;

const ENSEMBLE: &str = "only servers of an ensemble use it";

const fn idle(name: &'static str) -> Key {
    Key::both(name, Text).idle(ENSEMBLE)
}

/// The rows. The values of those that `QuorumPeerConfig` reads are checked all the same.
pub const KEYS: &[Key] = &[
    Key::file("initLimit", Int).idle(ENSEMBLE),
    Key::file("syncLimit", Int).idle(ENSEMBLE),
    Key::file("connectToLearnerMasterLimit", Int).idle(ENSEMBLE),
    Key::file("peerType", Text)
        .rule(Rule::Check(peer_type))
        .idle(ENSEMBLE),
    Key::file("syncEnabled", Boolean).idle(ENSEMBLE),
    Key::file("quorumListenOnAllIPs", Boolean).idle(ENSEMBLE),
    Key::file("sslQuorum", Boolean).idle(ENSEMBLE),
    Key::file("portUnification", Boolean).idle(ENSEMBLE),
    Key::file("sslQuorumReloadCertFiles", Boolean).idle(ENSEMBLE),
    Key::file("observerMasterPort", Int).idle(ENSEMBLE),
    Key::file("quorum.auth.enableSasl", Boolean)
        .default("false")
        .idle(ENSEMBLE),
    Key::file("quorum.auth.serverRequireSasl", Boolean)
        .default("false")
        .idle(ENSEMBLE),
    Key::file("quorum.auth.learnerRequireSasl", Boolean)
        .default("false")
        .idle(ENSEMBLE),
    Key::file("quorum.auth.learner.saslLoginContext", Text).idle(ENSEMBLE),
    Key::file("quorum.auth.server.saslLoginContext", Text).idle(ENSEMBLE),
    Key::file("quorum.auth.kerberos.servicePrincipal", Text).idle(ENSEMBLE),
    Key::file("quorum.cnxn.threads.size", Int).idle(ENSEMBLE),
    // As keys of the file they say how servers reach each other; whether a line may have several
    // addresses is the property's to say.
    Key::file("multiAddress.enabled", Boolean).idle(ENSEMBLE),
    Key::file("multiAddress.reachabilityCheckTimeoutMs", Int).idle(ENSEMBLE),
    Key::file("multiAddress.reachabilityCheckEnabled", Boolean).idle(ENSEMBLE),
    Key::property("zookeeper.multiAddress.enabled", Flag).default("false"),
    Key::property("zookeeper.multiAddress.*", Text).idle(ENSEMBLE),
    Key::file("oraclePath", Text).idle(ENSEMBLE),
    // A single server of ZooKeeper has no local sessions either.
    Key::file("localSessionsEnabled", Boolean).idle(ENSEMBLE),
    Key::file("localSessionsUpgradingEnabled", Boolean).idle(ENSEMBLE),
    idle("ssl.quorum.*"),
    idle("tcpKeepAlive"),
    idle("cnxTimeout"),
    idle("quorumCnxnTimeoutMs"),
    idle("electionPortBindRetry"),
    idle("fastleader.maxNotificationInterval"),
    idle("fastleader.minNotificationInterval"),
    idle("leaderServes"),
    idle("leaderConnectDelayDuringRetryMs"),
    idle("leader.*"),
    idle("learner.*"),
    idle("follower.*"),
    idle("observer.*"),
    idle("observerMaster.sizeLimit"),
    idle("forceSnapshotSync"),
    idle("snapshotSizeFactor"),
    idle("commitLogCount"),
    idle("commitProcessor.*"),
    idle("forward_learner_requests_to_commit_processor_disabled"),
    idle("messageTracker.*"),
    idle("testingonly.initialZxid"),
    Key::property("follower.nodelay", Text).idle(ENSEMBLE),
    Key::property("leader.nodelay", Text).idle(ENSEMBLE),
];

fn peer_type(text: &str) -> Result<(), String> {
    let text = text.to_lowercase();
    if text == "observer" || text == "participant" {
        return Ok(());
    }
    Err("it must be participant or observer".to_owned())
}
