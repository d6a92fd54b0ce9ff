//! The small text files of a log directory from any bytes: their contents, or an error that names the line.
#![no_main]

use std::fs;

use broker::log::checkpoint::{epochs_text, read_epochs, read_offsets, write_offsets};
use broker::log::{meta_properties, partition_metadata};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static HOME: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory can be made");
}

fuzz_target!(|data: &[u8]| {
    HOME.with(|home| {
        let path = home.path().join("checkpoint");
        fs::write(&path, data).expect("it can be written");
        if let Ok(offsets) = read_offsets(&path) {
            // What was read is written such that it is read again.
            let entries = offsets.iter().map(|(partition, offset)| (partition, *offset));
            write_offsets(&path, entries).expect("it can be written");
            assert_eq!(read_offsets(&path).expect("it can be read"), offsets);
        }
        fs::write(&path, data).expect("it can be written");
        if let Ok(epochs) = read_epochs(&path) {
            fs::write(&path, epochs_text(epochs.iter().copied())).expect("it can be written");
            assert_eq!(read_epochs(&path).expect("it can be read"), epochs);
        }
        fs::write(home.path().join(partition_metadata::FILE_NAME), data).expect("it can be written");
        if let Ok(Some(id)) = partition_metadata::read(home.path()) {
            partition_metadata::write(home.path(), id).expect("it can be written");
            assert_eq!(partition_metadata::read(home.path()).expect("it can be read"), Some(id));
        }
        fs::write(home.path().join(meta_properties::FILE_NAME), data).expect("it can be written");
        let _ = meta_properties::read(home.path());
    });
});
