//! Shell: ApiVersions, 0 to 3: what this broker serves (KIP-35, KIP-511).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kafka_wire::api_key::ApiKey;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use crate::api::context::{RequestContext, Services};
use crate::api::table;

/// Answers with the table of APIs.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.header.api_version >= 3 {
        let name = &request.client_software_name;
        let version = &request.client_software_version;
        if !is_software_text(name) || !is_software_text(version) {
            return ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..ApiVersionsResponse::default()
            };
        }
    }
    ApiVersionsResponse {
        api_keys: table::advertised()
            .map(|(key, min, max)| entry(key, min, max))
            .collect(),
        finalized_features_epoch: services.features_epoch.load(Ordering::Acquire),
        ..ApiVersionsResponse::default()
    }
}

/// The answer to a version that is not known, in the format of version 0: which versions are.
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = table::advertised().find(|(key, _, _)| *key == ApiKey::ApiVersions);
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own
            .map(|(key, min, max)| entry(key, min, max))
            .into_iter()
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

fn entry(key: ApiKey, min_version: i16, max_version: i16) -> ApiVersion {
    ApiVersion {
        api_key: key.code(),
        min_version,
        max_version,
    }
}

/// Letters and digits, with dashes and dots inside (`ApiVersionsRequest.isValid`).
fn is_software_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(inner)
        && ends
            .iter()
            .all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked_as_kafka_does() {
        for good in ["apache-kafka-java", "3.7.1", "a", "A-.-b"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "a_b", "ä"] {
            assert!(!is_software_text(bad), "{bad}");
        }
    }
}
