//! Pure: what a configuration comes to, in the words of the keys, for `check-config`.

use crate::config::server_config::ServerConfig;

/// Lines `key=value` of what holds after defaults and rules.
pub fn effective(config: &ServerConfig) -> Vec<String> {
    let ports = [
        ("clientPort", "clientPortAddress", config.ports.plain),
        (
            "secureClientPort",
            "secureClientPortAddress",
            config.ports.secure,
        ),
    ];
    let mut lines = Vec::new();
    for (port_key, address_key, address) in ports {
        let Some(address) = address else { continue };
        let host = match address.ip() {
            ip if ip.is_unspecified() => "any".to_owned(),
            ip => ip.to_string(),
        };
        lines.push(format!("{port_key}={}", address.port()));
        lines.push(format!("{address_key}={host}"));
    }
    let pairs: [(&str, String); 10] = [
        ("dataDir", config.data_dir.display().to_string()),
        ("dataLogDir", config.data_log_dir.display().to_string()),
        ("tickTime", config.tick_ms.to_string()),
        ("maxClientCnxns", config.max_client_connections.to_string()),
        (
            "minSessionTimeout",
            config.min_session_timeout_ms.to_string(),
        ),
        (
            "maxSessionTimeout",
            config.max_session_timeout_ms.to_string(),
        ),
        (
            "clientPortListenBacklog",
            config.configured_backlog.to_string(),
        ),
        (
            "autopurge.snapRetainCount",
            config.snapshots_retained.to_string(),
        ),
        (
            "autopurge.purgeInterval",
            config.purge_interval_hours.to_string(),
        ),
        ("4lw.commands.whitelist", config.four_letter_words.join(",")),
    ];
    lines.extend(pairs.iter().map(|(key, value)| format!("{key}={value}")));
    lines
}
