//! Pure: records as the stock consumer's `--formatter` classes print them.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::records::batch::TimestampType;

use crate::client::error::ClientError;
use crate::client::fetched::ConsumerRecord;
use crate::kafka::deserializer::Deserializer;
use crate::kafka::offsets_formatter;

/// A way to print records.
#[derive(Debug, Clone)]
pub enum Formatter {
    /// `kafka.tools.DefaultMessageFormatter`
    Default(Box<DefaultFormatter>),
    /// `kafka.tools.NoOpMessageFormatter`
    Nothing,
    /// `GroupMetadataManager$OffsetsMessageFormatter`
    Offsets,
    /// `GroupMetadataManager$GroupMetadataMessageFormatter`
    Groups,
    /// `TransactionLog$TransactionLogMessageFormatter`
    Transactions,
}

/// What the default formatter prints of a record, and between its parts.
#[derive(Debug, Clone)]
pub struct DefaultFormatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Formatter {
    /// The formatter with this class name.
    ///
    /// # Errors
    /// Java's `ClassNotFoundException` for a class that is not known here.
    pub fn new(class: &str, properties: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        Ok(match class {
            "kafka.tools.DefaultMessageFormatter" | "kafka.tools.LoggingMessageFormatter" => {
                Self::Default(Box::new(DefaultFormatter::new(properties)?))
            }
            "kafka.tools.NoOpMessageFormatter" => Self::Nothing,
            "kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter" => Self::Offsets,
            "kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter" => {
                Self::Groups
            }
            "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter" => {
                Self::Transactions
            }
            _ => {
                let exception = "java.lang.ClassNotFoundException";
                return Err(ClientError::Other(exception, class.to_owned()));
            }
        })
    }

    /// Appends a record as it is to be printed.
    ///
    /// # Errors
    /// [`ClientError`] when it cannot be read as what it should be.
    pub fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let (key, value) = (&record.record.key, &record.record.value);
        match self {
            Self::Default(formatter) => return formatter.write(record, out),
            Self::Nothing => {}
            Self::Offsets => {
                out.extend(offsets_formatter::offset(key.as_ref(), value.as_ref())?.bytes());
            }
            Self::Groups => {
                out.extend(offsets_formatter::group(key.as_ref(), value.as_ref())?.bytes());
            }
            Self::Transactions => {
                out.extend(offsets_formatter::transaction(key.as_ref(), value.as_ref())?.bytes());
            }
        }
        Ok(())
    }
}

impl DefaultFormatter {
    fn new(properties: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        let flag = |key: &str, default: bool| {
            let given = properties.get(key);
            given.map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key: &str, default: &str| {
            properties
                .get(key)
                .map_or(default, String::as_str)
                .to_owned()
        };
        let deserializer = |key: &str| {
            properties
                .get(key)
                .map(|class| Deserializer::new(class))
                .transpose()
        };
        Ok(Self {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })
    }

    fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let separator = |more: bool| {
            if more {
                self.key_separator.as_bytes()
            } else {
                self.line_separator.as_bytes()
            }
        };
        let data = &record.record;
        if self.timestamp {
            let text = match record.timestamp_type {
                Some(TimestampType::CreateTime) => format!("CreateTime:{}", data.timestamp),
                Some(TimestampType::LogAppendTime) => format!("LogAppendTime:{}", data.timestamp),
                None => "NO_TIMESTAMP".to_owned(),
            };
            out.extend(text.bytes());
            let more = self.offset || self.partition || self.headers || self.key || self.value;
            out.extend(separator(more));
        }
        if self.partition {
            out.extend(format!("Partition:{}", record.partition).bytes());
            out.extend(separator(
                self.offset || self.headers || self.key || self.value,
            ));
        }
        if self.offset {
            out.extend(format!("Offset:{}", data.offset).bytes());
            out.extend(separator(self.headers || self.key || self.value));
        }
        if self.headers {
            for (index, header) in data.headers.iter().enumerate() {
                if index > 0 {
                    out.extend(self.headers_separator.bytes());
                }
                out.extend_from_slice(&header.key);
                out.push(b':');
                self.part(
                    self.headers_deserializer.as_ref(),
                    header.value.as_ref(),
                    out,
                )?;
            }
            if data.headers.is_empty() {
                out.extend(b"NO_HEADERS");
            }
            out.extend(separator(self.key || self.value));
        }
        if self.key {
            self.part(self.key_deserializer.as_ref(), data.key.as_ref(), out)?;
            out.extend(separator(self.value));
        }
        if self.value {
            self.part(self.value_deserializer.as_ref(), data.value.as_ref(), out)?;
            out.extend(self.line_separator.bytes());
        }
        Ok(())
    }

    fn part(
        &self,
        deserializer: Option<&Deserializer>,
        bytes: Option<&Bytes>,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let bytes = bytes.map_or(self.null_literal.as_bytes(), |bytes| &bytes[..]);
        match deserializer {
            None => out.extend_from_slice(bytes),
            Some(deserializer) => out.extend(deserializer.text(bytes)?.bytes()),
        }
        Ok(())
    }
}
