//! Shell: prints what a snapshot holds, as text or as one JSON document.

use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::zk::data::Acl;
use serde_json::{Value, json};

use crate::offline::run::OfflineError;
use crate::offline::text;
use crate::storage::snapshot_reader::{SnapshotReader, StoredNode, Trailer};

/// Prints all of it in the order of the file: sessions, ACLs, znodes (parents before their
/// children), digest. An error says where the snapshot is damaged.
pub fn dump(path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let mut reader = SnapshotReader::open(path)?;
    for (id, timeout_ms) in reader.sessions()? {
        writeln!(out, "session 0x{id:x} timeout {timeout_ms}")?;
    }
    for (number, acl) in reader.acls()? {
        writeln!(out, "acl {number} {}", text::acl(&acl))?;
    }
    let mut count = 0_u64;
    while let Some(node) = reader.next_node()? {
        count += 1;
        let stat = &node.stat;
        writeln!(
            out,
            "znode {} data {} acl {} czxid 0x{:x} mzxid 0x{:x} pzxid 0x{:x} ctime {} mtime {} version {} cversion {} aversion {} owner 0x{:x}",
            text::quoted(name(&node)),
            text::data(node.data),
            node.acl,
            stat.czxid,
            stat.mzxid,
            stat.pzxid,
            text::time(stat.ctime),
            text::time(stat.mtime),
            stat.version,
            stat.cversion,
            stat.aversion,
            stat.ephemeral_owner
        )?;
    }
    let trailer = reader.finish()?;
    if let Some((zxid, version, value)) = trailer.digest {
        writeln!(out, "digest {version},0x{value:x} after zxid 0x{zxid:x}")?;
    }
    if let Some(zxid) = trailer.last_zxid {
        writeln!(out, "last zxid 0x{zxid:x}")?;
    }
    writeln!(out, "# {count} znodes, the checksum holds")?;
    Ok(())
}

/// The same as JSON, with a line for each znode: `sessions`, `acls`, `znodes`, `digest`. Zxids
/// and sessions are hexadecimal text, because JSON's numbers are too small for them; data is
/// Base64.
pub fn dump_json(path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let mut reader = SnapshotReader::open(path)?;
    let sessions: Vec<Value> = reader
        .sessions()?
        .iter()
        .map(|(id, timeout_ms)| json!({"id": hex(*id), "timeoutMs": timeout_ms}))
        .collect();
    writeln!(out, "{{\"sessions\": {},", Value::from(sessions))?;
    let acls: Vec<Value> = reader
        .acls()?
        .iter()
        .map(|(number, acl)| json!({"number": number, "acl": acl_json(acl)}))
        .collect();
    writeln!(out, "\"acls\": {},", Value::from(acls))?;
    write!(out, "\"znodes\": [")?;
    let mut separator = "";
    while let Some(node) = reader.next_node()? {
        write!(out, "{separator}\n{}", node_json(&node))?;
        separator = ",";
    }
    let Trailer { digest, last_zxid } = reader.finish()?;
    let digest = digest.map(|(zxid, version, value)| {
        json!({"zxid": hex(zxid), "version": version, "value": format!("0x{value:x}")})
    });
    writeln!(out, "\n],")?;
    writeln!(out, "\"digest\": {},", json!(digest))?;
    writeln!(out, "\"lastZxid\": {}}}", json!(last_zxid.map(hex)))?;
    Ok(())
}

/// The root has no name in the file.
fn name<'a>(node: &'a StoredNode<'_>) -> &'a str {
    if node.path.is_empty() {
        "/"
    } else {
        &node.path
    }
}

fn hex(number: i64) -> String {
    format!("0x{number:x}")
}

fn acl_json(acl: &[Acl]) -> Vec<Value> {
    acl.iter()
        .map(
            |entry| json!({"perms": entry.perms, "scheme": &*entry.id.scheme, "id": &*entry.id.id}),
        )
        .collect()
}

fn node_json(node: &StoredNode<'_>) -> Value {
    let stat = &node.stat;
    json!({
        "path": name(node),
        "data": node.data.map(|data| BASE64_STANDARD.encode(data)),
        "acl": node.acl,
        "czxid": hex(stat.czxid),
        "mzxid": hex(stat.mzxid),
        "pzxid": hex(stat.pzxid),
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": hex(stat.ephemeral_owner),
    })
}
