//! Pure: message sets of magic 0 and 1 from old producers, checked and rewritten into one batch of magic 2 (`LogValidator.java`).

use bytes::Bytes;
use kafka_wire::records::batch::{BatchBuilder, BatchBuilderOptions, TimestampType};
use kafka_wire::records::legacy::{LegacyError, MessageView, Messages};

use crate::log::append::AppendError;
use crate::log::codec::{self, MAX_DECOMPRESSED_BYTES, NO_CODEC};
use crate::log::config::TargetCompression;
use crate::log::validator::{Check, Failures, RecordParts, ValidBatch};

/// Checks a message set and makes one batch of all its messages; one at the end that is not whole is left out.
///
/// # Errors
/// [`AppendError`] with the code of Apache's broker.
pub(super) fn validate(records: &Bytes, check: &Check<'_>) -> Result<ValidBatch, AppendError> {
    let mut messages: Vec<MessageView<'_>> = Vec::new();
    let mut source = NO_CODEC;
    for message in Messages::new(records) {
        let message = message.map_err(|error| corrupt(&error, check))?;
        check.size(message.bytes().len())?;
        if !message.crc_ok() {
            let offset = message.offset;
            return Err(corrupt(&LegacyError::BadChecksum { offset }, check));
        }
        if message.codec_id() != NO_CODEC {
            source = message.codec_id();
        }
        messages.push(message);
    }
    if source != NO_CODEC && messages.len() > 1 {
        return Err(AppendError::invalid(
            "Compressed outer record has more than one batch",
        ));
    }
    let first_magic = messages.first().map_or(0, |message| message.magic);
    let log_append_time = check.config.message_timestamp_type == TimestampType::LogAppendTime;
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        log_append_time: log_append_time.then_some(check.options.now_ms),
        ..BatchBuilderOptions::default()
    });
    for message in &messages {
        if message.magic != first_magic {
            return Err(AppendError::invalid(format!(
                "Batch magic {} is not the same as the first batch's magic byte {first_magic} in topic \
                 partition {}",
                message.magic, check.partition
            )));
        }
        add(message, check, &mut builder)?;
    }
    let target = match check.config.compression_type {
        TargetCompression::Producer => source,
        TargetCompression::Codec(target) => target,
    };
    let valid = codec::finish(builder, target)?;
    check.size(valid.size_bytes())?;
    Ok(valid)
}

fn add(
    message: &MessageView<'_>,
    check: &Check<'_>,
    builder: &mut BatchBuilder,
) -> Result<(), AppendError> {
    let records = message
        .records(MAX_DECOMPRESSED_BYTES)
        .map_err(|error| AppendError::invalid(error.to_string()))?;
    let mut failures = Failures::default();
    for (index, record) in records.iter().enumerate() {
        let parts = RecordParts {
            has_key: record.key.is_some(),
            timestamp: record.timestamp,
            offset: record.offset,
            index: index as i32,
        };
        check.record(message.timestamp_type(), &parts, &mut failures);
        builder.append(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
        );
    }
    failures.into_result()
}

fn corrupt(error: &LegacyError, check: &Check<'_>) -> AppendError {
    AppendError::Corrupt(format!("{error} in topic partition {}", check.partition))
}
