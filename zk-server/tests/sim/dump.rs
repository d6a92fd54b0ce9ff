//! Pure: everything that must survive, as text.

use std::fmt::Write;

use zk_server::state::database::Database;

/// Znodes, ACLs, sessions and zxid.
pub fn dump(db: &Database) -> String {
    let mut text = String::new();
    writeln!(
        text,
        "zxid 0x{:x} digest {:x}",
        db.applied_zxid,
        db.tree.digest()
    )
    .unwrap();
    writeln!(text, "sessions {:?}", db.sessions.committed()).unwrap();
    db.tree.each(|path, node| {
        let acl = db.tree.acls().get(node.acl);
        writeln!(text, "{path} {:?} {:?} {acl:?}", node.data, node.stat).unwrap();
    });
    for session in db.sessions.committed() {
        let paths: Vec<&str> = db.tree.ephemerals(session.0).collect();
        writeln!(text, "ephemerals {:x} {paths:?}", session.0).unwrap();
    }
    let containers: Vec<&str> = db.tree.containers_after(None).collect();
    let ttls: Vec<&str> = db.tree.ttls_after(None).collect();
    writeln!(text, "containers {containers:?} ttls {ttls:?}").unwrap();
    text
}
