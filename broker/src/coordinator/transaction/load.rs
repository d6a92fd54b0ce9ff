//! Pure: turns the records of one partition of `__transaction_state` back into transactions: the
//! last record of an id counts, a tombstone removes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;

use crate::coordinator::transaction::records::{
    RecordError, TransactionKey, decode_key, decode_value,
};
use crate::coordinator::transaction::transaction::Transaction;

/// Collects records in the order of the log.
#[derive(Debug, Default)]
pub struct Loader {
    transactions: BTreeMap<ByteString, Transaction>,
}

impl Loader {
    /// Takes a record.
    ///
    /// # Errors
    /// If key or value cannot be read; the record is as if it were not there.
    pub fn record(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), RecordError> {
        match (decode_key(key)?, value) {
            (TransactionKey::Unknown(version), _) => {
                tracing::warn!(version, "skipping a key that a newer broker wrote");
            }
            (TransactionKey::Transaction(id), None) => {
                self.transactions.remove(&id);
            }
            (TransactionKey::Transaction(id), Some(value)) => {
                self.transactions.insert(id, decode_value(value)?);
            }
        }
        Ok(())
    }

    /// The transactions.
    pub fn finish(self) -> BTreeMap<ByteString, Transaction> {
        self.transactions
    }
}
