//! Every message in every version against Kafka's own classes, on random values from a seed.
//!
//! The values are written from the definitions in the jars by `vectors.rs`. Kafka's classes and
//! the codec must both read them and write the same bytes again. `TANDEM_SEED` repeats a run,
//! `TANDEM_ROUNDS` sets the number of values per message and version.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed test may panic"
)]

mod peer;
mod records;
mod vectors;

use bytes::Bytes;
use kafka_wire::api_key::ApiKey;
use kafka_wire::header::{RequestHeader, response_header_version};
use kafka_wire::message::{Message, decode_exact, encode_to_bytes};
use kafka_wire::messages::all::{Visitor, visit};
use kafka_wire::reader::Reader;
use kafka_wire::wire::WireError;
use kafka_wire::writer::Writer;
use kafka_wire_codegen::{catalogue, generate, jar, schema};
use peer::Vector;
use vectors::{Random, Vectors};

/// Messages and versions of the 61 APIs.
const API_PAIRS: usize = 544;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number"))
    })
}

fn seed() -> u64 {
    let seed = number("TANDEM_SEED", 20_240_606);
    eprintln!("repeat with TANDEM_SEED={seed}");
    seed
}

fn definitions() -> Vec<schema::Message> {
    let definitions = jar::read_definitions(&peer::jars()).unwrap();
    let modules = catalogue::modules(&definitions).unwrap();
    modules
        .into_iter()
        .flat_map(|module| module.messages)
        .collect()
}

fn random_vectors(random: &mut Random, rounds: u64) -> Vec<Vector> {
    let mut all = Vec::new();
    for message in &definitions() {
        for version in message.versions.min..=message.versions.max {
            for _ in 0..rounds {
                let bytes = Vectors {
                    message,
                    version,
                    random,
                }
                .message();
                all.push(Vector {
                    name: message.name.clone(),
                    version,
                    bytes,
                });
            }
        }
    }
    all
}

/// Decodes bytes and encodes the message again.
struct Again {
    version: i16,
    bytes: Bytes,
}

impl Visitor for Again {
    type Output = Result<Bytes, WireError>;

    fn visit<M: Message>(self) -> Self::Output {
        let message: M = decode_exact(self.bytes, self.version)?;
        let copy = message.clone();
        assert_eq!(message, copy);
        encode_to_bytes(&message, self.version)
    }
}

fn again(vector: &Vector) -> Result<Bytes, WireError> {
    let bytes = Bytes::from(vector.bytes.clone());
    visit(
        &vector.name,
        Again {
            version: vector.version,
            bytes,
        },
    )
    .expect("a known name")
}

#[test]
fn java_and_we_write_what_we_read() {
    let mut random = Random::new(seed());
    let vectors = random_vectors(&mut random, number("TANDEM_ROUNDS", 8));
    let answers = peer::ask_java(&vectors);
    for (vector, java) in vectors.iter().zip(answers) {
        let place = format!("{} v{}: {:02x?}", vector.name, vector.version, vector.bytes);
        assert_eq!(
            java.as_deref(),
            Ok(vector.bytes.as_slice()),
            "Java, {place}"
        );
        let ours = again(vector);
        assert_eq!(ours.as_deref(), Ok(vector.bytes.as_slice()), "we, {place}");
    }
}

#[test]
fn all_versions_of_all_apis_are_there() {
    let messages = definitions();
    let versions = |message: &schema::Message| (message.versions.min, message.versions.max);
    let pairs =
        |message: &schema::Message| (message.versions.max - message.versions.min + 1) as usize;
    let of_apis = || messages.iter().filter(|message| message.api_key.is_some());
    assert_eq!(of_apis().map(pairs).sum::<usize>(), API_PAIRS);
    assert_eq!(of_apis().count(), 2 * ApiKey::ALL.len());
    for message in of_apis() {
        let key = ApiKey::from_code(message.api_key.unwrap()).unwrap();
        assert_eq!(key.versions(), versions(message), "{}", message.name);
        let flexible = message.flexible.map(|flexible| flexible.min);
        assert_eq!(key.first_flexible_version(), flexible, "{}", message.name);
    }
}

#[test]
fn headers_are_javas() {
    let mut vectors = Vec::new();
    for &api_key in ApiKey::ALL {
        let (min, max) = api_key.versions();
        for api_version in min..=max {
            // Java's parser turns a null client id into an empty one, so null is not sent here.
            for client_id in [Some("".into()), Some("tandem é".into())] {
                let header = RequestHeader {
                    api_key,
                    api_version,
                    correlation_id: 77,
                    client_id,
                };
                let mut w = Writer::new();
                header.encode(&mut w).unwrap();
                let mut bytes = w.into_bytes().unwrap().to_vec();
                let read = RequestHeader::decode(&mut Reader::new(bytes.clone().into())).unwrap();
                if (api_key, api_version) != (ApiKey::ControlledShutdown, 0) {
                    assert_eq!(read, header);
                }
                bytes.push(response_header_version(api_key, api_version) as u8);
                vectors.push(Vector {
                    name: "RequestHeader".into(),
                    version: 0,
                    bytes,
                });
            }
        }
    }
    // The checker parses the header and answers with it and the response header's version.
    for (vector, java) in vectors.iter().zip(peer::ask_java(&vectors)) {
        assert_eq!(java.as_deref(), Ok(vector.bytes.as_slice()));
    }
}

#[test]
fn the_generated_code_is_up_to_date() {
    let committed = peer::workspace().join("kafka-wire/src/messages");
    let files = generate::files(&peer::jars()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&committed)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    expected.sort();
    assert_eq!(names, expected);
    for (name, source) in files {
        let text = std::fs::read_to_string(committed.join(&name)).unwrap();
        assert!(
            text == source,
            "{name} differs from what the generator writes: run make codegen"
        );
    }
}

#[test]
fn hostile_bytes_make_errors() {
    let mut random = Random::new(seed());
    let mut refused = 0;
    for mut vector in random_vectors(&mut random, number("TANDEM_ROUNDS", 8)) {
        for _ in 0..4 {
            mutate(&mut vector.bytes, &mut random);
            // Neither a panic nor an allocation that aborts; what can be read can be written,
            // unless a tagged field became an unknown one or null came where it is not allowed.
            refused += usize::from(again(&vector).is_err());
        }
    }
    assert!(refused > 1000, "the mutations were too tame: {refused}");
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
    }
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => bytes
            .splice(at..at, [0x7f, 0xff, 0xff, 0xff])
            .for_each(drop),
        3 => bytes
            .splice(at.., [0xff, 0xff, 0xff, 0xff, 0x0f])
            .for_each(drop),
        _ => bytes[at] = random.next() as u8,
    }
}
