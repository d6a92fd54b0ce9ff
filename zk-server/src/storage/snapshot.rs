//! Pure: the format of a snapshot (FileSnap.java, SnapStream.java).
//!
//! ```text
//! file     = "ZKSN" int 2  long -1 (dbid)  sessions  acls  nodes  seal
//!            [digest  seal]  [long last zxid  seal]
//! sessions = int n  (long id  int timeout)*
//! acls     = int n  (long number  ACL vector)*
//! nodes    = (string path  buffer data  long acl number  StatPersisted)*   string "/"
//! seal     = long Adler32 of everything before it   string "/"
//! digest   = long zxid  int 2  long digest
//! ```
//! Servers from 3.6 on write a digest, those from 3.9 on the last zxid too; readers pass over
//! what they do not know. A compressed file has the same contents.

use bytes::{BufMut, BytesMut};
use common::zk::jute::{Record, encode_buffer, encode_str};

use crate::state::checkpoint::Frozen;
use crate::state::tree::Tree;

/// The file header: magic, version, dbid.
pub const HEADER: [u8; 16] = [
    b'Z', b'K', b'S', b'N', 0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255,
];

/// The end of every complete snapshot: the string "/".
pub const SEAL_END: [u8; 5] = [0, 0, 0, 1, b'/'];

/// Puts what stands before the znodes.
pub fn put_head(sessions: &[(i64, i32)], tree: &Tree, out: &mut BytesMut) {
    out.put_slice(&HEADER);
    out.put_i32(i32::try_from(sessions.len()).unwrap_or(i32::MAX));
    for (id, timeout_ms) in sessions {
        out.put_i64(*id);
        out.put_i32(*timeout_ms);
    }
    out.put_i32(i32::try_from(tree.acls().len()).unwrap_or(i32::MAX));
    for (number, acl) in tree.acls().entries() {
        out.put_i64(number);
        out.put_i32(i32::try_from(acl.len()).unwrap_or(i32::MAX));
        acl.iter().for_each(|entry| entry.encode(out));
    }
}

/// Puts one znode.
pub fn put_node(path: &str, node: &Frozen<'_>, out: &mut BytesMut) {
    encode_str(path, out);
    encode_buffer(node.data, out);
    out.put_i64(node.acl);
    node.stat.encode(out);
}

/// Puts what ends the znodes.
pub fn put_end_of_nodes(out: &mut BytesMut) {
    out.put_slice(&SEAL_END);
}
