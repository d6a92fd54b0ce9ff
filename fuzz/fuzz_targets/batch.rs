//! Record batches from any bytes: headers, records, and every codec with a bounded result.
#![no_main]

use kafka_wire::records::batch::{BatchView, Batches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for batch in Batches::new(data).flatten() {
        let _ = batch.crc_ok();
        for record in batch.records(batch.payload()) {
            if record.is_err() {
                break;
            }
        }
    }
    let _ = BatchView::parse(data).map(|batch| batch.crc_ok());
});
