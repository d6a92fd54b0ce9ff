//! A transaction log of ZooKeeper from any bytes: read to its end, or to an error that names the place. The checksums
//! of what looks like entries are set right, so that their contents are reached too.
#![no_main]

use std::cell::RefCell;
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use zk_server::storage::log_file::{HEADER, LogFile, put_entry};

thread_local! {
    static FILE: RefCell<tempfile::NamedTempFile> =
        RefCell::new(tempfile::NamedTempFile::new().expect("a temporary file can be made"));
}

/// Gives every entry the checksum of its body and its end mark.
fn mend(bytes: &mut [u8]) {
    let mut at = HEADER.len();
    while let Some(prefix) = bytes.get(at..at + 12) {
        let length = u32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]) as usize;
        let Some(body) = bytes.get(at + 12..(at + 12).saturating_add(length)) else { return };
        let sum = u64::from(simd_adler32::adler32(&body)).to_be_bytes();
        bytes[at..at + 8].copy_from_slice(&sum);
        let end = at + 12 + length;
        let Some(mark) = bytes.get_mut(end) else { return };
        *mark = 0x42;
        at = end + 1;
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, rest @ ..] = data else { return };
    let mut bytes = HEADER.to_vec();
    bytes.extend_from_slice(rest);
    if how & 1 == 0 {
        mend(&mut bytes);
    }
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("it can be emptied");
        std::io::Seek::rewind(file).expect("it can be rewound");
        file.write_all(&bytes).expect("it can be written");
        let Ok(mut log) = LogFile::open(file.path()) else { return };
        let mut out = bytes::BytesMut::new();
        while let Ok(Some(entry)) = log.next_entry() {
            put_entry(&entry, &mut out);
            out.clear();
        }
    });
});
