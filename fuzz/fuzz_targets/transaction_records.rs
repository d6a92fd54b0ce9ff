//! Keys and values of `__transaction_state` from any bytes: what is read is written such that it is read again.
#![no_main]

use bytes::Bytes;
use broker::coordinator::transaction::load::Loader;
use broker::coordinator::transaction::records::{
    TransactionKey, decode_key, decode_value, encode_key, encode_value, stored,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(TransactionKey::Transaction(id)) = decode_key(bytes.clone()) {
        let written = encode_key(&id).expect("a key that was read can be written");
        assert_eq!(decode_key(written), Ok(TransactionKey::Transaction(id)));
    }
    if let Ok(transaction) = decode_value(bytes.clone()) {
        let written = encode_value(&stored(&transaction)).expect("a value that was read can be written");
        assert_eq!(decode_value(written), Ok(transaction));
    }
    let (key, value) = bytes.split_at(bytes.len() / 2);
    let _ = Loader::default().record(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
});
