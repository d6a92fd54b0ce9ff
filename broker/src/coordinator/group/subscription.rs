//! Pure: the topics in a consumer's subscription, as far as the coordinator looks into it.
//!
//! Layout of version 0, which begins every later one (`ConsumerProtocolSubscription.json`):
//!
//! ```text
//! version i16 | topics: count i32, each: length i16, UTF-8 | user data: length i32 (-1 = null), bytes
//! ```

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

/// The protocol type whose subscriptions are understood.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The subscribed topics, or nothing if the bytes are not a consumer's subscription.
pub fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<ByteString>> {
    let mut rest = metadata;
    if rest.try_get_i16().ok()? < 0 {
        return None;
    }
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let name = take(&mut rest, length)?;
        topics.insert(ByteString::try_from(Bytes::copy_from_slice(name)).ok()?);
    }
    let user_data = rest.try_get_i32().ok()?;
    if let Ok(length) = usize::try_from(user_data) {
        take(&mut rest, length)?;
    }
    Some(topics)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a Java consumer of 3.7.1 with the range assignor sends for one topic: version 3 with
    /// owned partitions, generation and rack after the part that is read here.
    const JAVA_V3: &[u8] =
        b"\0\x03\0\0\0\x01\0\x05topic\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";

    #[test]
    fn topics_of_a_java_consumer() {
        let topics = subscribed_topics(JAVA_V3).unwrap();
        assert_eq!(topics.iter().map(|t| &**t).collect::<Vec<_>>(), ["topic"]);
    }

    #[test]
    fn every_truncation_before_the_user_data_is_refused() {
        for length in 0..17 {
            assert_eq!(subscribed_topics(&JAVA_V3[..length]), None, "{length}");
        }
        assert_eq!(subscribed_topics(b"\0\0\x7f\xff\xff\xff\0\x01a"), None);
    }
}
