//! Pure: what Java's stock deserializers make of bytes, as text.

use kafka_wire::wire::WireError;

use crate::client::error::ClientError;

/// One of `org.apache.kafka.common.serialization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deserializer {
    /// Text in UTF-8.
    Text,
    /// Four bytes.
    Integer,
    /// Eight bytes.
    Long,
    /// Two bytes.
    Short,
    /// Four bytes, IEEE 754.
    Float,
    /// Eight bytes, IEEE 754.
    Double,
    /// One byte, 0 or 1.
    Boolean,
    /// Text of an RFC 4122 id.
    Uuid,
    /// Bytes, printed by `Bytes.toString`.
    Bytes,
}

impl Deserializer {
    /// The deserializer with this class name.
    ///
    /// # Errors
    /// Java's `ClassNotFoundException` for a class that is not known here.
    pub fn new(class: &str) -> Result<Self, ClientError> {
        let name = class.strip_prefix("org.apache.kafka.common.serialization.");
        Ok(match name {
            Some("StringDeserializer") => Self::Text,
            Some("IntegerDeserializer") => Self::Integer,
            Some("LongDeserializer") => Self::Long,
            Some("ShortDeserializer") => Self::Short,
            Some("FloatDeserializer") => Self::Float,
            Some("DoubleDeserializer") => Self::Double,
            Some("BooleanDeserializer") => Self::Boolean,
            Some("UUIDDeserializer") => Self::Uuid,
            Some("BytesDeserializer") => Self::Bytes,
            _ => {
                let exception = "java.lang.ClassNotFoundException";
                return Err(ClientError::Other(exception, class.to_owned()));
            }
        })
    }

    /// The value as text.
    ///
    /// # Errors
    /// Java's `SerializationException` for bytes that are no such value.
    pub fn text(self, bytes: &[u8]) -> Result<String, ClientError> {
        Ok(match self {
            Self::Text | Self::Uuid => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer => i32::from_be_bytes(sized(bytes, "IntegerDeserializer")?).to_string(),
            Self::Long => i64::from_be_bytes(sized(bytes, "LongDeserializer")?).to_string(),
            Self::Short => i16::from_be_bytes(sized(bytes, "ShortDeserializer")?).to_string(),
            Self::Float => {
                let value = f32::from_be_bytes(sized(bytes, "Deserializer")?);
                java_float(&format!("{value:e}"), f64::from(value))
            }
            Self::Double => {
                let value = f64::from_be_bytes(sized(bytes, "Deserializer")?);
                java_float(&format!("{value:e}"), value)
            }
            Self::Boolean => match sized::<1>(bytes, "BooleanDeserializer")? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => {
                    let message =
                        format!("Unexpected byte received by BooleanDeserializer: {other}");
                    return Err(serialization(message));
                }
            },
            Self::Bytes => escaped(bytes),
        })
    }
}

/// Java's `SerializationException`.
fn serialization(message: String) -> ClientError {
    ClientError::Other(
        "org.apache.kafka.common.errors.SerializationException",
        message,
    )
}

fn sized<const N: usize>(bytes: &[u8], name: &str) -> Result<[u8; N], ClientError> {
    bytes
        .try_into()
        .map_err(|_| serialization(format!("Size of data received by {name} is not {N}")))
}

/// `Double.toString`: plain from a thousandth to ten million, with an exponent beyond.
fn java_float(scientific: &str, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let negative = digits.starts_with('-');
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let point = 1 + exponent.parse::<i32>().unwrap_or(0);
        let plain = if point <= 0 {
            format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
        } else {
            let point = point.unsigned_abs() as usize;
            let padded = format!("{digits:0<point$}");
            let (whole, fraction) = padded.split_at(point);
            format!(
                "{whole}.{}",
                if fraction.is_empty() { "0" } else { fraction }
            )
        };
        return if negative { format!("-{plain}") } else { plain };
    }
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

/// `Bytes.toString`: printable ASCII as it is, other bytes as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02X}")),
        }
    }
    text
}

/// A record of an internal topic that cannot be read.
#[must_use]
pub fn unreadable(error: &WireError) -> ClientError {
    match error {
        WireError::UnexpectedEnd { .. } => {
            ClientError::Other("java.nio.BufferUnderflowException", String::new())
        }
        other => ClientError::Other("java.lang.IllegalStateException", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_java_does() {
        let double = |value: f64| Deserializer::Double.text(&value.to_be_bytes()).unwrap();
        for (value, text) in [
            (0.0, "0.0"),
            (-1.0, "-1.0"),
            (123.25, "123.25"),
            (0.001, "0.001"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.25e-5, "1.25E-5"),
        ] {
            assert_eq!(double(value), text);
        }
        assert_eq!(
            Deserializer::Long.text(&[0, 0, 0, 0, 0, 0, 0, 7]).unwrap(),
            "7"
        );
        let error = Deserializer::Long.text(b"hello").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Size of data received by LongDeserializer is not 8"
        );
    }
}
