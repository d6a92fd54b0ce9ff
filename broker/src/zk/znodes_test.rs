//! Tests against nodes that Apache Kafka 3.7.1 wrote.

use super::*;

/// `path TAB data` of nodes written by Apache Kafka 3.7.1 (Scala 2.13, Java 17).
const GOLDEN: &str = include_str!("golden/znodes.tsv");

fn timestamp(data: &str) -> i64 {
    let value: Value = serde_json::from_str(data).unwrap();
    value["timestamp"].as_str().unwrap().parse().unwrap()
}

/// Decodes the data by its path and writes it again.
fn rewrite(path: &str, data: &str) -> Vec<u8> {
    let bytes = data.as_bytes();
    let name = path.rsplit('/').next().unwrap();
    let value: Value = serde_json::from_str(data).unwrap();
    match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        ["cluster", "id"] => encode_cluster_id(&decode_cluster_id(bytes).unwrap()),
        ["brokers", "ids", _] => BrokerRegistration::decode(name.parse().unwrap(), bytes)
            .unwrap()
            .encode(timestamp(data), -1),
        ["controller"] => encode_controller(decode_controller(bytes).unwrap(), timestamp(data)),
        ["controller_epoch"] => decode_number(bytes).unwrap().to_string().into_bytes(),
        ["feature"] => encode_feature(&decode_feature(bytes).unwrap().1),
        ["config", "changes", _] => encode_config_change(&decode_config_change(bytes).unwrap()),
        ["config", ..] => encode_config(&decode_config(Some(bytes)).unwrap()),
        ["brokers", "topics", _, "partitions", _, "state"] => {
            PartitionState::decode(bytes, 0).unwrap().encode()
        }
        ["brokers", "topics", _] => TopicAssignment::decode(bytes).unwrap().encode(),
        ["latest_producer_id_block"] => {
            let first = value["block_start"].as_str().unwrap().parse().unwrap();
            encode_producer_id_block(1, first, decode_producer_id_block_end(bytes).unwrap())
        }
        _ => panic!("no encoder for {path}"),
    }
}

#[test]
fn every_node_is_written_as_kafka_writes_it() {
    for line in GOLDEN.lines() {
        let (path, data) = line.split_once('\t').unwrap();
        assert_eq!(
            String::from_utf8(rewrite(path, data)).unwrap(),
            data,
            "{path}"
        );
    }
}

/// Map orders must not depend on the order in which the golden text lists the keys.
#[test]
fn orders_come_from_the_keys() {
    for line in GOLDEN
        .lines()
        .filter(|line| line.starts_with("/config/topics/"))
    {
        let (_, data) = line.split_once('\t').unwrap();
        let mut config = decode_config(Some(data.as_bytes())).unwrap();
        config.sort();
        assert_eq!(String::from_utf8(encode_config(&config)).unwrap(), data);
    }
}

#[test]
fn a_recovering_leader_is_marked() {
    let state = LeaderAndIsr {
        leader: 1,
        leader_epoch: 4,
        isr: vec![1],
        recovering: true,
        partition_epoch: 2,
    };
    let state = PartitionState {
        leader_and_isr: state,
        controller_epoch: 2,
    };
    let data = state.encode();
    let expected = concat!(
        r#"{"controller_epoch":2,"leader":1,"version":1,"leader_recovery_state":1,"#,
        r#""leader_epoch":4,"isr":[1]}"#
    );
    assert_eq!(String::from_utf8(data.clone()).unwrap(), expected);
    assert_eq!(PartitionState::decode(&data, 2).unwrap(), state);
}

#[test]
fn rubbish_is_an_error() {
    for data in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"version":5}"#,
        r#"{"partitions":{"x":[1]}}"#,
    ] {
        assert!(BrokerRegistration::decode(1, data.as_bytes()).is_err());
        assert!(PartitionState::decode(data.as_bytes(), 0).is_err());
        assert!(decode_controller(data.as_bytes()).is_err());
    }
    assert!(TopicAssignment::decode(br#"{"partitions":{"x":[1]}}"#).is_err());
}
