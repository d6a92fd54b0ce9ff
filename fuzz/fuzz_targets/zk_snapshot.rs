//! A snapshot of ZooKeeper from any bytes, plain or compressed: a tree, or an error that names the place. The first
//! byte chooses the form.
#![no_main]

use std::fs::{self, File};

use libfuzzer_sys::fuzz_target;
use zk_server::state::tree::TreeOptions;
use zk_server::storage::compression::{Compression, Encoder};
use zk_server::storage::snapshot::HEADER;
use zk_server::storage::snapshot_reader::{load, looks_complete};

thread_local! {
    static HOME: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory can be made");
}

fuzz_target!(|data: &[u8]| {
    let [form, rest @ ..] = data else { return };
    let compression = match form % 3 {
        0 => Compression::Plain,
        1 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    HOME.with(|home| {
        let path = home.path().join(format!("snapshot.1{}", compression.extension()));
        if form & 0x80 == 0 {
            // What is within the compressed form.
            let file = File::create(&path).expect("it can be made");
            let mut encoder = Encoder::new(file, compression).expect("it can be written");
            encoder.write_all(&HEADER).expect("it can be written");
            encoder.write_all(rest).expect("it can be written");
            encoder.finish().expect("it can be written");
        } else {
            fs::write(&path, rest).expect("it can be written");
        }
        let _ = load(&path, TreeOptions::default());
        let _ = looks_complete(&path);
    });
});
