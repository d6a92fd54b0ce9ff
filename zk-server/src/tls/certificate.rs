//! Pure: the parts of an X.509 certificate (RFC 5280) that the server looks at itself.

use crate::tls::der::{Der, DerError, tag};
use crate::tls::distinguished_name;

/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// 2.5.29.37.0
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// A certificate, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// What is signed.
    pub signed: &'a [u8],
    /// The contents of the signature's AlgorithmIdentifier.
    pub signature_algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// 1, 2 or 3.
    pub version: u32,
    /// Whole Name of the issuer.
    pub issuer: &'a [u8],
    /// Whole Name of the subject.
    pub subject: &'a [u8],
    /// From when to when it is valid: contents with their tags.
    pub validity: [(u8, &'a [u8]); 2],
    /// Whole SubjectPublicKeyInfo.
    pub public_key_info: &'a [u8],
    /// The contents of the key's AlgorithmIdentifier.
    pub key_algorithm: &'a [u8],
    /// The key.
    pub public_key: &'a [u8],
    /// The extensions, if there are any.
    extensions: Option<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Takes the DER form apart.
    pub fn parse(der: &'a [u8]) -> Result<Self, DerError> {
        let mut certificate = Der::new(der).inside(tag::SEQUENCE)?;
        let signed = certificate.element(tag::SEQUENCE)?;
        let signature_algorithm = certificate.contents(tag::SEQUENCE)?;
        let signature = bits(certificate.contents(tag::BIT_STRING)?)?;
        let mut fields = Der::new(signed.contents);
        let version = match fields.optional(tag::CONTEXT_0)? {
            Some(version) => Der::new(version).number()?.saturating_add(1),
            None => 1,
        };
        fields.contents(tag::INTEGER)?;
        fields.contents(tag::SEQUENCE)?;
        let issuer = fields.element(tag::SEQUENCE)?.whole;
        let mut validity = fields.inside(tag::SEQUENCE)?;
        let (from, to) = (validity.any()?, validity.any()?);
        let subject = fields.element(tag::SEQUENCE)?.whole;
        let key = fields.element(tag::SEQUENCE)?;
        let mut key_parts = Der::new(key.contents);
        let key_algorithm = key_parts.contents(tag::SEQUENCE)?;
        let public_key = bits(key_parts.contents(tag::BIT_STRING)?)?;
        let mut extensions = None;
        while !fields.is_empty() {
            let element = fields.any()?;
            if element.tag == tag::CONTEXT_3 {
                extensions = Some(Der::new(element.contents).contents(tag::SEQUENCE)?);
            }
        }
        Ok(Self {
            signed: signed.whole,
            signature_algorithm,
            signature,
            version,
            issuer,
            subject,
            validity: [(from.tag, from.contents), (to.tag, to.contents)],
            public_key_info: key.whole,
            key_algorithm,
            public_key,
            extensions,
        })
    }

    /// The subject in RFC 2253's form, as ACLs hold it.
    pub fn subject_text(&self) -> Result<String, DerError> {
        distinguished_name::text(self.subject)
    }

    /// Whether its owner may use it to prove itself as a client: so say the key usages, if there
    /// are any.
    pub fn is_for_clients(&self) -> Result<bool, DerError> {
        const DIGITAL_SIGNATURE: u8 = 0x80;
        if let Some(usage) = self.extension(KEY_USAGE)? {
            let usage = bits(Der::new(usage).contents(tag::BIT_STRING)?)?;
            if usage
                .first()
                .is_none_or(|bits| bits & DIGITAL_SIGNATURE == 0)
            {
                return Ok(false);
            }
        }
        let Some(purposes) = self.extension(EXTENDED_KEY_USAGE)? else {
            return Ok(true);
        };
        let mut purposes = Der::new(purposes).inside(tag::SEQUENCE)?;
        while !purposes.is_empty() {
            let purpose = purposes.contents(tag::OID)?;
            if purpose == CLIENT_AUTH || purpose == ANY_PURPOSE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it is valid at a time, in seconds since 1970.
    #[must_use]
    pub fn is_valid_at(&self, seconds: u64) -> bool {
        let [from, to] = self.validity.map(|(tag, text)| time(tag, text));
        from.is_some_and(|from| from <= seconds) && to.is_some_and(|to| seconds <= to)
    }

    fn extension(&self, oid: &[u8]) -> Result<Option<&'a [u8]>, DerError> {
        let mut extensions = Der::new(self.extensions.unwrap_or_default());
        while !extensions.is_empty() {
            let mut extension = extensions.inside(tag::SEQUENCE)?;
            if extension.contents(tag::OID)? != oid {
                continue;
            }
            // "critical" may stand before the value.
            loop {
                let element = extension.any()?;
                if element.tag == tag::OCTET_STRING {
                    return Ok(Some(element.contents));
                }
            }
        }
        Ok(None)
    }
}

/// A BIT STRING of whole bytes, without the count of unused bits.
fn bits(contents: &[u8]) -> Result<&[u8], DerError> {
    contents
        .split_first()
        .map(|(_, bits)| bits)
        .ok_or(DerError::Truncated)
}

/// UTCTime or GeneralizedTime in seconds since 1970; none before that.
fn time(tag: u8, text: &[u8]) -> Option<u64> {
    const UTC_TIME: u8 = 0x17;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let (year, at) = if tag == UTC_TIME {
        let year = two(0)?;
        (year + if year < 50 { 2000 } else { 1900 }, 2)
    } else {
        (text.get(..4)?.parse::<i64>().ok()?, 4)
    };
    let days = days_from_civil(year, two(at)?, two(at + 2)?);
    let seconds = days * 86_400 + two(at + 4)? * 3600 + two(at + 6)? * 60 + two(at + 8)?;
    u64::try_from(seconds).ok()
}

/// Days since 1970 of a day in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x17, b"261123161655Z"), Some(1_795_450_615));
        assert_eq!(time(0x18, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(time(0x17, b"7001010000Z"), None);
    }
}
