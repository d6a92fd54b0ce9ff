//! Pure: which messages are generated, and into which file each goes.

use std::collections::BTreeMap;

use crate::definition::Definition;
use crate::error::Error;
use crate::names::snake;
use crate::schema::Message;

/// Records of internal topics and of the consumer protocol: file, messages, what they are.
const RECORDS: [(&str, &[&str], &str); 4] = [
    (
        "consumer_protocol",
        &["ConsumerProtocolSubscription", "ConsumerProtocolAssignment"],
        "metadata and assignment of consumers in the group protocol",
    ),
    (
        "group_metadata_record",
        &["GroupMetadataKey", "GroupMetadataValue"],
        "groups in `__consumer_offsets`",
    ),
    (
        "offset_commit_record",
        &["OffsetCommitKey", "OffsetCommitValue"],
        "committed offsets in `__consumer_offsets`",
    ),
    (
        "transaction_log_record",
        &["TransactionLogKey", "TransactionLogValue"],
        "transactions in `__transaction_state`",
    ),
];

/// A file to be generated.
#[derive(Debug, Clone)]
pub struct Module {
    /// Name of the module.
    pub name: String,
    /// What it holds, for its first line.
    pub summary: String,
    /// Its messages; for an API the request and then the response.
    pub messages: Vec<Message>,
    /// Whether they are a request and its response.
    pub is_api: bool,
}

/// The modules of all APIs that a ZooKeeper-mode broker serves, by key, and of the records.
///
/// # Errors
/// When a definition is missing or not understood.
pub fn modules(definitions: &BTreeMap<String, Definition>) -> Result<Vec<Module>, Error> {
    let resolve = |name: &str| {
        let definition = definitions
            .get(name)
            .ok_or_else(|| Error::Missing(name.to_owned()))?;
        Message::resolve(definition)
    };
    let mut requests: Vec<&Definition> = definitions
        .values()
        .filter(|definition| definition.kind == "request")
        .filter(|definition| {
            definition
                .listeners
                .iter()
                .any(|listener| listener == "zkBroker")
        })
        .filter(|definition| !definition.latest_version_unstable)
        .collect();
    requests.sort_by_key(|definition| definition.api_key);
    let mut modules = Vec::new();
    for request in requests {
        let api = request.name.trim_end_matches("Request");
        let key = request.api_key.unwrap_or(-1);
        let messages = vec![resolve(&request.name)?, resolve(&format!("{api}Response"))?];
        let flexible = match messages[0].flexible {
            Some(flexible) => format!("flexible from {}", flexible.min),
            None => "never flexible".to_owned(),
        };
        modules.push(Module {
            name: snake(api),
            summary: format!(
                "{api}, api key {key}, versions {}, {flexible}",
                messages[0].versions
            ),
            messages,
            is_api: true,
        });
    }
    for (name, messages, summary) in RECORDS {
        modules.push(Module {
            name: name.to_owned(),
            summary: summary.to_owned(),
            messages: messages
                .iter()
                .map(|name| resolve(name))
                .collect::<Result<_, _>>()?,
            is_api: false,
        });
    }
    Ok(modules)
}
