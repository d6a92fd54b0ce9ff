//! Shell: a range of a segment file, read into memory.

use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};
use kafka_wire::wire::Records;

/// Records as bytes, wherever they are.
///
/// # Errors
/// What the system says, or that the file is shorter.
pub fn in_memory(records: &Records) -> io::Result<Bytes> {
    match records {
        Records::Memory(bytes) => Ok(bytes.clone()),
        Records::File {
            file,
            position,
            len,
        } => {
            let mut bytes = BytesMut::zeroed(*len as usize);
            file.read_exact_at(&mut bytes, *position)?;
            Ok(bytes.freeze())
        }
    }
}
