//! Shell: whether the file is that of a single server, and where its clients connect.
//!
//! `server.N` lines stand in the file or in the one that `dynamicConfigFile` names; one line alone
//! is a single server (QuorumPeerConfig.java). The file `myid` says which line is this server's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use common::config::{ConfigError, Settings};

use crate::config::members::{self, ClientAddress, Member, Members};
use crate::config::values::Values;

/// Where clients connect in the clear, if anywhere; checks everything that would make this one
/// server of several.
///
/// # Errors
/// Lines that cannot be, or more servers than one.
pub fn plain_address(values: &mut Values) -> Result<Option<SocketAddr>, ConfigError> {
    let members = read_members(values)?;
    check_version(values)?;
    let alone = single(values, &members)?;
    let id = my_id(values)?;
    let of_line = alone.and_then(|(line_id, member)| {
        let own = id.is_none_or(|id| id == line_id);
        member.client.as_ref().filter(|_| own)
    });
    let of_file = file_address(values, "clientPort", "clientPortAddress")?;
    match (of_file, of_line) {
        (Some(address), Some(line)) if id.is_some() => {
            let line = resolve(values, "clientPortAddress", &line.host, line.port)?;
            let other = address.port() != line.port()
                || (!address.ip().is_unspecified() && address.ip() != line.ip());
            if other {
                return Err(values.conflict(format!(
                    "clients are to connect to {address} by clientPort, but to {line} by the server line; make them the same"
                )));
            }
            Ok(Some(line))
        }
        (Some(address), _) => Ok(Some(address)),
        (None, Some(line)) => {
            let ClientAddress { host, port } = line;
            let text = format!("clientPort is not set; the server line says {host}:{port}");
            values.note(false, text);
            resolve(values, "clientPortAddress", host, *port).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// Where clients connect with TLS, if anywhere.
///
/// # Errors
/// A host that is none.
pub fn secure_address(values: &mut Values) -> Result<Option<SocketAddr>, ConfigError> {
    file_address(values, "secureClientPort", "secureClientPortAddress")
}

/// The lines of the file, or of the dynamic one.
fn read_members(values: &Values) -> Result<Members, ConfigError> {
    let several = values.flag("zookeeper.multiAddress.enabled");
    let of_file = || {
        values
            .beginning_with("")
            .filter(|(key, _)| key.starts_with("server.") || members::is_group(key))
    };
    let Some(path) = values.text("dynamicConfigFile") else {
        return members::read(of_file(), several)
            .map_err(|bad| values.reject(&bad.key, bad.reason));
    };
    if let Some((key, _)) = of_file().next() {
        let reason = "it must be in the file that dynamicConfigFile names".to_owned();
        return Err(values.reject(key, reason));
    }
    let dynamic = Settings::load(Path::new(path))?;
    let conflict = |reason: String| ConfigError::Conflict {
        path: dynamic.path().to_owned(),
        reason,
    };
    for (key, _) in dynamic.iter() {
        if !key.starts_with("server.") && !members::is_group(key) {
            return Err(conflict(format!(
                "{key} must not be in a dynamic configuration file"
            )));
        }
    }
    let lines = dynamic
        .iter()
        .map(|(key, setting)| (key, setting.value.as_str()));
    members::read(lines, several).map_err(|bad| conflict(format!("{}: {}", bad.key, bad.reason)))
}

/// A file that the server once wrote has the hexadecimal version of its server lines.
fn check_version(values: &Values) -> Result<(), ConfigError> {
    match values
        .text("version")
        .map(|text| i64::from_str_radix(text, 16))
    {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(values.reject("version", "it must be a hexadecimal number".to_owned())),
    }
}

/// The only line, if any, of a single server.
fn single<'a>(
    values: &mut Values,
    members: &'a Members,
) -> Result<Option<(i64, &'a Member)>, ConfigError> {
    let voters = members.values().filter(|member| !member.observer).count();
    let standalone = values.flag("standaloneEnabled");
    match members.iter().collect::<Vec<_>>().as_slice() {
        [] if standalone => Ok(None),
        [] => Err(values.conflict(
            "standaloneEnabled=false needs server.N lines; remove it to run a single server".to_owned(),
        )),
        [(id, member)] if standalone && voters == 1 => {
            values.note(true, format!("server.{id} is the only server: running in standalone mode"));
            Ok(Some((**id, member)))
        }
        _ if voters < 2 && standalone => Err(values.conflict(
            "observers need at least two participants among the server.N lines".to_owned(),
        )),
        [(id, _)] => Err(values.conflict(format!(
            "standaloneEnabled=false makes server.{id} an ensemble of one, and ensembles are not available yet; set it to true"
        ))),
        [(id, _), ..] => Err(values.conflict(format!(
            "server.{id} and other server.N lines describe an ensemble, which is not available yet; remove them to run a single server"
        ))),
    }
}

/// What the file `myid` says; a single server needs none.
fn my_id(values: &Values) -> Result<Option<i64>, ConfigError> {
    let path = Path::new(values.required_text("dataDir")?).join("myid");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(|source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let text = String::from_utf8_lossy(&text);
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    line.parse().map(Some).map_err(|_| ConfigError::Malformed {
        path,
        line: 1,
        reason: format!("the server's id must be an integer and nothing else, not '{line}'"),
    })
}

/// What the keys of a port and its address say.
fn file_address(
    values: &mut Values,
    port_key: &str,
    address_key: &str,
) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(port) = values.number::<u16>(port_key)? else {
        if values.is_set(address_key) {
            let reason = format!("it is set but {port_key} is not set");
            return Err(values.reject(address_key, reason));
        }
        return Ok(None);
    };
    if port == 0 {
        let text =
            format!("{port_key}=0: the system chooses the port; ZooKeeper would listen nowhere");
        values.note(false, text);
    }
    let Some(host) = values.text(address_key).map(str::to_owned) else {
        return Ok(Some(SocketAddr::new(any(values), port)));
    };
    resolve(values, address_key, &host, port).map(Some)
}

/// The first address of a host; no name at all is this machine alone, as for Java.
fn resolve(values: &Values, key: &str, host: &str, port: u16) -> Result<SocketAddr, ConfigError> {
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let first = (bare.unwrap_or(host), port)
        .to_socket_addrs()
        .map_err(|e| format!("the host '{host}' cannot be resolved: {e}"))
        .and_then(|mut all| {
            all.next()
                .ok_or_else(|| format!("the host '{host}' has no address"))
        })
        .map_err(|reason| values.reject(key, reason))?;
    if first.ip().is_unspecified() {
        return Ok(SocketAddr::new(any(values), port));
    }
    Ok(first)
}

/// All addresses: Java means those of both kinds, where there is IPv6, however they are written.
fn any(values: &Values) -> IpAddr {
    let only_v4 = values.flag("java.net.preferIPv4Stack");
    if !only_v4 && std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        return Ipv6Addr::UNSPECIFIED.into();
    }
    Ipv4Addr::UNSPECIFIED.into()
}
