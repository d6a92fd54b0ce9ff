//! Pure: the entries of a buffer, batches and messages of any magic, told apart by size and magic alone (`ByteBufferLogInputStream.java`).

use crate::records::batch::{LOG_OVERHEAD, MAGIC_POSITION, MAGIC_V2};

/// Smallest size field of an entry of any magic (`LegacyRecord.RECORD_OVERHEAD_V0`).
pub const MIN_ENTRY_SIZE: i32 = 14;

/// One whole batch or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// 0, 1 or 2.
    pub magic: i8,
    /// All of it, offset and size included; at least 26 bytes.
    pub bytes: &'a [u8],
}

/// Why no entry begins at a place. The texts are those of Apache's broker, which sends them to producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Less than the smallest message takes.
    #[error("Record size {0} is less than the minimum record overhead ({MIN_ENTRY_SIZE})")]
    TooSmall(
        /// The size field.
        i32,
    ),
    /// A format that is not known.
    #[error("Invalid magic found in record: {0}")]
    BadMagic(
        /// The magic.
        i8,
    ),
    /// So large that offset and size do not fit in 31 bits with it.
    #[error("record size {0} is too large")]
    TooLarge(
        /// The size field.
        i32,
    ),
}

/// Splits the first entry off; `None` if it is not there as a whole.
///
/// # Errors
/// [`EntryError`].
pub fn split_first(bytes: &[u8]) -> Result<Option<(Entry<'_>, &[u8])>, EntryError> {
    let Some(size) = bytes.get(8..LOG_OVERHEAD).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let size = i32::from_be_bytes(*size);
    if size < MIN_ENTRY_SIZE {
        return Err(EntryError::TooSmall(size));
    }
    let Some(magic) = bytes.get(MAGIC_POSITION).map(|byte| byte.cast_signed()) else {
        return Ok(None);
    };
    if !(0..=MAGIC_V2).contains(&magic) {
        return Err(EntryError::BadMagic(magic));
    }
    let Some(whole) = size.checked_add(LOG_OVERHEAD as i32) else {
        return Err(EntryError::TooLarge(size));
    };
    let split = bytes.split_at_checked(whole as usize);
    Ok(split.map(|(bytes, rest)| (Entry { magic, bytes }, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_magics() {
        let entry = |size: i32, magic: u8, length: usize| {
            let mut bytes = vec![0; length];
            bytes[8..12].copy_from_slice(&size.to_be_bytes());
            bytes[16] = magic;
            bytes
        };
        let good = entry(14, 2, 30);
        let (first, rest) = split_first(&good).unwrap().unwrap();
        assert_eq!((first.magic, first.bytes.len(), rest.len()), (2, 26, 4));
        assert_eq!(split_first(&good[..25]), Ok(None));
        assert_eq!(split_first(&good[..16]), Ok(None));
        assert_eq!(
            split_first(&entry(13, 2, 30)),
            Err(EntryError::TooSmall(13))
        );
        assert_eq!(split_first(&entry(14, 3, 30)), Err(EntryError::BadMagic(3)));
        assert_eq!(
            split_first(&entry(i32::MAX, 0, 30)),
            Err(EntryError::TooLarge(i32::MAX))
        );
    }
}
