//! Pure: records as lines that are the same for two brokers when the records are.

use std::collections::HashSet;
use std::fmt::Write as _;

use bytes::Bytes;
use kafka_wire::records::batch::{BATCH_HEADER_LEN, BatchView};
use kafka_wire::records::compression::{Codec, decompress};
use kafka_wire::records::legacy::MessageView;
use kafka_wire::records::lz4::{self, HeaderChecksum};

/// No payload of the tests is larger.
const LIMIT: usize = 64 << 20;

/// Tells the batches and messages of a fetch one by one. Packed payloads that were sent are told by their size; the
/// others, which the broker has packed by itself, by what is in them. A part of one at the end is left out unless
/// nothing precedes it: brokers fill up their answers with it as it suits them.
pub fn records(bytes: &Bytes, payloads: &HashSet<Bytes>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = bytes.clone();
    while rest.len() >= 17 {
        let size = rest[8..12]
            .first_chunk()
            .map_or(0, |size| i32::from_be_bytes(*size));
        let whole = usize::try_from(size).map_or(usize::MAX, |size| size.saturating_add(12));
        if whole > rest.len() {
            break;
        }
        let entry = rest.split_to(whole);
        lines.push(if entry[16] == 2 {
            batch(&entry, payloads)
        } else {
            message(&entry)
        });
    }
    if lines.is_empty() && !bytes.is_empty() {
        lines.push("only a part of a batch".to_owned());
    }
    lines
}

fn batch(entry: &Bytes, payloads: &HashSet<Bytes>) -> String {
    let view = match BatchView::parse(entry) {
        Ok(view) => view,
        Err(error) => return format!("not a batch: {error}"),
    };
    let header = view.header;
    let payload = entry.slice(BATCH_HEADER_LEN..);
    let content = if header.codec_id() == 0 {
        format!("{}", payload.escape_ascii())
    } else if payloads.contains(&payload) {
        format!("as sent, {} bytes", payload.len())
    } else {
        let codec = Codec::from_id(header.codec_id()).unwrap_or_default();
        match decompress(codec, &payload, LIMIT) {
            Ok(plain) => format!("packed: {}", plain.escape_ascii()),
            Err(error) => format!("cannot be unpacked: {error}"),
        }
    };
    format!(
        "batch at {} epoch {} attributes {:#x} delta {} times {} {} producer {} {} {} count {}{}: {content}",
        header.base_offset,
        header.partition_leader_epoch,
        header.attributes,
        header.last_offset_delta,
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.record_count,
        if view.crc_ok() { "" } else { " WRONG CHECKSUM" },
    )
}

fn message(entry: &Bytes) -> String {
    let view = match MessageView::parse(entry) {
        Ok(view) => view,
        Err(error) => return format!("not a message: {error}"),
    };
    let mut line = format!(
        "message at {} magic {} attributes {:#x} time {} key {}{}: ",
        view.offset,
        view.magic,
        view.attributes,
        view.timestamp,
        view.key
            .map_or("null".to_owned(), |key| key.escape_ascii().to_string()),
        if view.crc_ok() { "" } else { " WRONG CHECKSUM" },
    );
    let Some(value) = view.value else {
        return line + "null";
    };
    let codec = Codec::from_id(view.codec_id()).unwrap_or_default();
    if codec == Codec::None {
        return line + &value.escape_ascii().to_string();
    }
    let plain = if codec == Codec::Lz4 && view.magic == 0 {
        lz4::decompress(value, LIMIT, HeaderChecksum::Broken)
    } else {
        decompress(codec, value, LIMIT).map(std::borrow::Cow::into_owned)
    };
    match plain {
        Ok(plain) => {
            for inner in records(&Bytes::from(plain), &HashSet::new()) {
                let _ = write!(line, "\n        {inner}");
            }
        }
        Err(error) => line += &format!("cannot be unpacked: {error}"),
    }
    line
}
