//! Pure: a partition as requests name it, and text that outlives its request.

use std::fmt;

use bytestring::ByteString;

/// A partition by topic name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: ByteString,
    /// Partition index.
    pub partition: i32,
}

impl TopicPartition {
    /// A copy that does not keep the request frame it was cut from in memory.
    pub fn detached(&self) -> TopicPartition {
        TopicPartition {
            topic: detached(&self.topic),
            partition: self.partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A copy that does not keep the request frame it was cut from in memory.
pub fn detached(text: &ByteString) -> ByteString {
    if text.is_empty() {
        ByteString::new()
    } else {
        ByteString::from(&**text)
    }
}
