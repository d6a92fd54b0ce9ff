//! Shell: asks a broker which API versions it knows, and picks those that both sides know.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;

use crate::api_key::ApiKey;
use crate::client::connection::{Connection, ConnectionError};
use crate::error_code::ErrorCode;
use crate::message::Message;
use crate::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::reader::Reader;

/// The version ranges that a broker advertises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl BrokerVersions {
    /// Asks the broker: in the newest version first, in version 0 if it does not know that one.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub async fn ask(connection: &Connection, limit: Duration) -> Result<Self, ConnectionError> {
        let request = ApiVersionsRequest {
            client_software_name: ByteString::from_static("tandem"),
            client_software_version: ByteString::from_static(env!("CARGO_PKG_VERSION")),
        };
        let newest = ApiVersionsRequest::MAX_VERSION;
        let body = connection.send_raw(&request, newest, limit).await?;
        // A broker that does not know the version says so in version 0, error code first.
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        let response = if body.starts_with(&unsupported) {
            connection.send(&request, 0, limit).await?
        } else {
            ApiVersionsResponse::decode(&mut Reader::new(body), newest).map_err(|source| {
                ConnectionError::Wire {
                    message: ApiVersionsResponse::NAME,
                    version: newest,
                    source,
                }
            })?
        };
        let ranges = response.api_keys.iter();
        let ranges = ranges.map(|api| (api.api_key, (api.min_version, api.max_version)));
        Ok(Self {
            ranges: ranges.collect(),
        })
    }

    /// The range that the broker advertises for an API.
    #[must_use]
    pub fn advertised(&self, api_key: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&api_key.code()).copied()
    }

    /// All advertised ranges by key, including those of APIs that are not known here.
    pub fn all(&self) -> impl Iterator<Item = (i16, (i16, i16))> {
        self.ranges.iter().map(|(key, range)| (*key, *range))
    }

    /// The highest version that both sides know.
    #[must_use]
    pub fn best(&self, api_key: ApiKey) -> Option<i16> {
        let (known_min, known_max) = api_key.versions();
        let (min, max) = self.advertised(api_key)?;
        let best = known_max.min(max);
        (best >= known_min.max(min)).then_some(best)
    }
}
