//! Pure: lines to records, as the stock `LineMessageReader` with its properties.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use regex_lite::Regex;

use crate::client::error::ClientError;
use crate::client::producer_options::ProducerRecord;

/// How lines are cut into headers, key and value.
#[derive(Debug, Clone)]
pub struct LineReader {
    topic: ByteString,
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: Regex,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
    line_number: u64,
}

impl LineReader {
    /// Reads the properties.
    ///
    /// # Errors
    /// Java's `KafkaException` when two separators are the same.
    pub fn new(topic: &str, properties: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        let flag = |key: &str| {
            properties
                .get(key)
                .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key: &str, default: &str| {
            properties
                .get(key)
                .map_or(default, String::as_str)
                .to_owned()
        };
        let key_separator = text("key.separator", "\t");
        let headers_delimiter = text("headers.delimiter", "\t");
        let headers_separator = text("headers.separator", ",");
        let headers_key_separator = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").cloned();
        let delimiter = ("headers.delimiter", Some(&headers_delimiter));
        let separator = ("headers.separator", Some(&headers_separator));
        let header_key = ("headers.key.separator", Some(&headers_key_separator));
        let key = ("key.separator", Some(&key_separator));
        let marker = ("null.marker", null_marker.as_ref());
        for (one, other) in [
            (delimiter, separator),
            (delimiter, header_key),
            (separator, header_key),
            (marker, key),
            (marker, separator),
            (marker, delimiter),
            (marker, header_key),
        ] {
            if one.1 == other.1 {
                return Err(kafka_exception(format!(
                    "{} and {} may not be equal",
                    one.0, other.0
                )));
            }
        }
        Ok(Self {
            topic: topic.into(),
            parse_key: flag("parse.key"),
            parse_headers: flag("parse.headers"),
            ignore_error: flag("ignore.error"),
            headers_separator: Regex::new(&headers_separator)
                .map_err(|error| kafka_exception(error.to_string()))?,
            key_separator,
            headers_delimiter,
            headers_key_separator,
            null_marker,
            line_number: 0,
        })
    }

    /// Turns the next line into a record.
    ///
    /// # Errors
    /// Java's `KafkaException` when a separator is missing and that is not to be ignored.
    pub fn record(&mut self, line: &str) -> Result<ProducerRecord, ClientError> {
        self.line_number += 1;
        let (headers, rest) = self.cut(
            self.parse_headers,
            line,
            line,
            &self.headers_delimiter,
            "headers delimiter",
        )?;
        let (key, value) = self.cut(
            self.parse_key,
            line,
            rest,
            &self.key_separator,
            "key separator",
        )?;
        let headers = match headers {
            Some(headers) if !self.is_null(headers) => self.headers(headers)?,
            _ => Vec::new(),
        };
        Ok(ProducerRecord {
            topic: self.topic.clone(),
            key: key.and_then(|key| self.bytes(key)),
            value: self.bytes(value),
            headers,
        })
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    fn bytes(&self, text: &str) -> Option<Bytes> {
        (!self.is_null(text)).then(|| Bytes::copy_from_slice(text.as_bytes()))
    }

    fn cut<'a>(
        &self,
        enabled: bool,
        line: &str,
        rest: &'a str,
        separator: &str,
        name: &str,
    ) -> Result<(Option<&'a str>, &'a str), ClientError> {
        if !enabled {
            return Ok((None, rest));
        }
        match rest.split_once(separator) {
            Some((part, rest)) => Ok((Some(part), rest)),
            None if self.ignore_error => Ok((None, rest)),
            None => Err(kafka_exception(format!(
                "No {name} found on line number {}: '{line}'",
                self.line_number
            ))),
        }
    }

    fn headers(&self, headers: &str) -> Result<Vec<(Bytes, Option<Bytes>)>, ClientError> {
        let mut pairs: Vec<&str> = self.headers_separator.split(headers).collect();
        // Java leaves out empty pieces at the end, unless there is nothing else.
        while pairs.len() > 1 && pairs.last().is_some_and(|pair| pair.is_empty()) {
            pairs.pop();
        }
        let mut result = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let Some((key, value)) = pair.split_once(self.headers_key_separator.as_str()) else {
                if self.ignore_error {
                    result.push((Bytes::copy_from_slice(pair.as_bytes()), None));
                    continue;
                }
                return Err(kafka_exception(format!(
                    "No header key separator found in pair '{pair}' on line number {}",
                    self.line_number
                )));
            };
            if self.is_null(key) {
                return Err(kafka_exception(format!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                )));
            }
            result.push((Bytes::copy_from_slice(key.as_bytes()), self.bytes(value)));
        }
        Ok(result)
    }
}

fn kafka_exception(message: String) -> ClientError {
    ClientError::Other("org.apache.kafka.common.KafkaException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[&str]) -> Result<LineReader, ClientError> {
        let arguments: Vec<String> = properties.iter().map(|it| (*it).to_owned()).collect();
        LineReader::new("t", &crate::args::key_values(&arguments))
    }

    #[test]
    fn lines_are_cut_as_the_stock_reader_does() {
        let mut plain = reader(&[]).unwrap();
        let record = plain.record("a\tb").unwrap();
        assert_eq!(
            (record.key, record.value),
            (None, Some(Bytes::from_static(b"a\tb")))
        );
        let mut keyed = reader(&["parse.key=true", "key.separator=:", "null.marker=NULL"]).unwrap();
        let record = keyed.record("k:NULL").unwrap();
        assert_eq!(
            (record.key, record.value),
            (Some(Bytes::from_static(b"k")), None)
        );
        let error = keyed.record("b2").unwrap_err();
        assert_eq!(
            error.to_string(),
            "No key separator found on line number 2: 'b2'"
        );
        let mut headers = reader(&["parse.headers=true", "parse.key=true"]).unwrap();
        let record = headers.record("h1:v1,h2:\tk\tv").unwrap();
        assert_eq!(record.headers.len(), 2);
        assert_eq!(record.headers[1].1, Some(Bytes::new()));
    }

    #[test]
    fn separators_must_differ() {
        let error = reader(&["key.separator=:", "null.marker=:"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "null.marker and key.separator may not be equal"
        );
    }
}
