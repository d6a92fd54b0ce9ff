//! Pure: the little of DER (X.690) that certificates and key stores need.

/// Tags, with their class and the bit for constructed values.
pub mod tag {
    /// INTEGER
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING
    pub const OCTET_STRING: u8 = 0x04;
    /// OBJECT IDENTIFIER
    pub const OID: u8 = 0x06;
    /// SEQUENCE and SEQUENCE OF
    pub const SEQUENCE: u8 = 0x30;
    /// SET and SET OF
    pub const SET: u8 = 0x31;
    /// `[0]`, constructed
    pub const CONTEXT_0: u8 = 0xa0;
    /// `[1]`, constructed
    pub const CONTEXT_1: u8 = 0xa1;
    /// `[3]`, constructed
    pub const CONTEXT_3: u8 = 0xa3;
    /// `[0]`, primitive
    pub const IMPLICIT_0: u8 = 0x80;
}

/// What is wrong with an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// It ends within a value.
    #[error("it ends within a value")]
    Truncated,
    /// A length has no definite or no sensible form.
    #[error("a length is not in DER form (BER's indefinite lengths are not supported)")]
    Length,
    /// Another value was expected.
    #[error("tag 0x{found:02x} where 0x{expected:02x} belongs")]
    Tag {
        /// What is there.
        found: u8,
        /// What belongs there.
        expected: u8,
    },
    /// A number does not fit.
    #[error("a number is too large")]
    Number,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: u8,
    /// What it holds.
    pub contents: &'a [u8],
    /// All of it, tag and length included.
    pub whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    /// Over the contents of a value, or a whole file.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether there is no more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub fn any(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, after) = self.rest.split_first().ok_or(DerError::Truncated)?;
        // No structure here has tags of several bytes.
        if tag & 0x1f == 0x1f {
            return Err(DerError::Tag {
                found: tag,
                expected: tag::SEQUENCE,
            });
        }
        let (&first, mut after) = after.split_first().ok_or(DerError::Truncated)?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err(DerError::Length);
            }
            let bytes = after.get(..count).ok_or(DerError::Truncated)?;
            after = &after[count..];
            bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let contents = after.get(..length).ok_or(DerError::Truncated)?;
        let header = self.rest.len() - after.len();
        let (whole, rest) = self.rest.split_at(header + length);
        self.rest = rest;
        Ok(Element {
            tag,
            contents,
            whole,
        })
    }

    /// The tag of the next value.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next value, which has this tag.
    pub fn element(&mut self, expected: u8) -> Result<Element<'a>, DerError> {
        let before = self.rest;
        let element = self.any()?;
        if element.tag != expected {
            self.rest = before;
            let found = element.tag;
            return Err(DerError::Tag { found, expected });
        }
        Ok(element)
    }

    /// The contents of the next value, which has this tag.
    pub fn contents(&mut self, expected: u8) -> Result<&'a [u8], DerError> {
        Ok(self.element(expected)?.contents)
    }

    /// The values in the next one, which has this tag.
    pub fn inside(&mut self, expected: u8) -> Result<Self, DerError> {
        Ok(Self::new(self.contents(expected)?))
    }

    /// The contents of the next value if it has this tag.
    pub fn optional(&mut self, expected: u8) -> Result<Option<&'a [u8]>, DerError> {
        if self.peek() == Some(expected) {
            return self.contents(expected).map(Some);
        }
        Ok(None)
    }

    /// The next value, a number that is not negative.
    pub fn number(&mut self) -> Result<u32, DerError> {
        let bytes = self.contents(tag::INTEGER)?;
        let mut number = 0_u32;
        for byte in bytes {
            if number > u32::MAX >> 8 {
                return Err(DerError::Number);
            }
            number = number << 8 | u32::from(*byte);
        }
        Ok(number)
    }
}

/// Encodes one value.
#[must_use]
pub fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skipped = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skipped) as u8);
        out.extend_from_slice(&bytes[skipped..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The dotted form of an object identifier; none if it is not one.
#[must_use]
pub fn dotted(oid: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut arc = 0_u64;
    let mut inside = false;
    for byte in oid {
        if arc > u64::MAX >> 7 {
            return None;
        }
        arc = arc << 7 | u64::from(byte & 0x7f);
        inside = byte & 0x80 != 0;
        if inside {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            text = format!("{first}.{}", arc - first * 40);
        } else {
            text = format!("{text}.{arc}");
        }
        arc = 0;
    }
    (!inside && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_their_lengths() {
        let mut der = Der::new(&[0x30, 3, 2, 1, 5, 4, 0x81, 2, 1, 2]);
        assert_eq!(der.inside(tag::SEQUENCE).unwrap().number(), Ok(5));
        assert_eq!(der.contents(tag::OCTET_STRING), Ok(&[1, 2][..]));
        assert!(der.is_empty());
    }

    #[test]
    fn hostile_lengths_are_errors() {
        for bytes in [
            &[0x30][..],
            &[0x30, 5, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x1f, 0x81, 0],
        ] {
            assert!(Der::new(bytes).any().is_err(), "{bytes:02x?}");
        }
        assert_eq!(
            Der::new(&[2, 5, 1, 0, 0, 0, 0]).number(),
            Err(DerError::Number)
        );
    }

    #[test]
    fn identifiers_are_dotted() {
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        assert_eq!(dotted(&rsa).as_deref(), Some("1.2.840.113549.1.1.1"));
        assert_eq!(dotted(&[0x60, 0x86]), None);
        assert_eq!(encode(4, &[&[7; 200]])[..3], [4, 0x81, 200]);
    }
}
