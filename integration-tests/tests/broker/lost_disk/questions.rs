//! Shell: what is asked while one directory is away.

use anyhow::{Context, Result};
use integration_tests::partition_view::{list, wait_for_leaders};
use integration_tests::wait::until;
use kafka_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::messages::delete_groups::DeleteGroupsRequest;
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::delete_topics::DeleteTopicsRequest;
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use kafka_wire::messages::describe_transactions::DescribeTransactionsRequest;
use kafka_wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::heartbeat::HeartbeatRequest;
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;
use kafka_wire::messages::list_groups::ListGroupsRequest;
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

use super::{BOTH, Fate, LONG_MS, PARTITIONS, Play, SPREAD, owned, partition_of};

impl Play {
    /// Everything that can be asked while the directory is away.
    pub fn ask_meanwhile(&mut self) -> Result<()> {
        for fate in BOTH {
            self.ask_for_records(fate)?;
            self.ask_for_groups(fate)?;
            self.ask_for_transactions(fate)?;
        }
        let answer = self.talk.ask(4, &ListGroupsRequest::default())?;
        let groups = answer.context("closed")?.groups;
        let mut states: Vec<_> = groups.iter().map(|group| &group.group_state).collect();
        states.sort();
        self.say("ListGroups", &states);
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: owned("fresh"),
                num_partitions: 2,
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let answer = self.talk.ask(5, &request)?.context("closed")?;
        self.say("CreateTopics meanwhile", &answer.topics[0].error_code);
        wait_for_leaders(&mut self.talk, "fresh", 2)?;
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: owned(SPREAD),
                count: PARTITIONS + 1,
                assignments: None,
            }],
            timeout_ms: 3000,
            validate_only: false,
        };
        self.note("meanwhile", 2, &request)?;
        until("the new partition", || {
            Ok(list(&mut self.talk, SPREAD, PARTITIONS, -1)?.0 == 0)
        })?;
        let request = DeleteTopicsRequest {
            topic_names: vec![owned("doomed")],
            timeout_ms: 1000,
            ..DeleteTopicsRequest::default()
        };
        self.note("half of which is away", 4, &request).map(drop)
    }

    fn ask_for_records(&mut self, fate: Fate) -> Result<()> {
        let title = format!("{fate:?}");
        let partition = self.clients[&fate].partition;
        for version in [3, 7, 9] {
            let request = produce(partition, None, BatchBuilderOptions::default());
            self.note(&title, version, &request)?;
        }
        for version in [4, 5, 6, 11] {
            let answer = self.talk.ask(version, &fetch(partition))?;
            // The records have times of their own.
            let mut data = answer.context("closed")?.responses[0].partitions.remove(0);
            let bytes = match data.records.take() {
                Some(Records::Memory(bytes)) => bytes.len(),
                _ => 0,
            };
            data.partition_index = 0;
            self.say(&format!("Fetch v{version} {title}"), &(data, bytes));
        }
        for timestamp in [-1, -2, 1_700_000_000_000] {
            let found = list(&mut self.talk, SPREAD, partition, timestamp)?;
            self.say(&format!("ListOffsets {title} {timestamp}"), &found);
        }
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: owned(SPREAD),
                partitions: vec![OffsetForLeaderPartition {
                    partition,
                    current_leader_epoch: -1,
                    leader_epoch: 0,
                }],
            }],
        };
        self.note(&title, 3, &request)?;
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: owned(SPREAD),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition,
                    offset: 1,
                }],
            }],
            timeout_ms: 5000,
        };
        self.note(&title, 2, &request)?;
        let answer = self.talk.ask(0, &describe_producers(partition))?;
        let mut found = answer.context("closed")?.topics[0].partitions.remove(0);
        found
            .active_producers
            .sort_by_key(|producer| producer.producer_id);
        for producer in &mut found.active_producers {
            producer.last_timestamp = 0;
        }
        let said = (found.error_code, found.active_producers);
        self.say(&format!("DescribeProducers {title}"), &said);
        for election_type in [0, 1] {
            let request = ElectLeadersRequest {
                election_type,
                topic_partitions: Some(vec![TopicPartitions {
                    topic: owned(SPREAD),
                    partitions: vec![partition],
                }]),
                timeout_ms: 3000,
            };
            self.note(&format!("{title} {election_type}"), 2, &request)?;
        }
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: 77,
                producer_epoch: 0,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: owned(SPREAD),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch: 0,
            }],
        };
        self.note(&title, 1, &request).map(drop)
    }

    fn ask_for_groups(&mut self, fate: Fate) -> Result<()> {
        let title = format!("{fate:?}");
        let (group, member) = {
            let clients = &self.clients[&fate];
            (clients.group.clone(), clients.member.clone())
        };
        self.find(&group, 0, &format!("group {title}"))?;
        self.commit(fate, 6)?;
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: owned(&group),
                ..OffsetFetchRequestGroup::default()
            }],
            ..OffsetFetchRequest::default()
        };
        self.note(&title, 8, &request)?;
        let request = HeartbeatRequest {
            group_id: owned(&group),
            generation_id: 1,
            member_id: member.clone(),
            group_instance_id: None,
        };
        self.note(&title, 3, &request)?;
        let request = self.sync(&group, &member);
        self.note(&title, 3, &request)?;
        let request = DescribeGroupsRequest {
            groups: vec![owned(&group)],
            include_authorized_operations: false,
        };
        self.note(&title, 4, &request)?;
        let unknown = self.unknown_group(fate)?;
        let request = DeleteGroupsRequest {
            groups_names: vec![owned(&group), owned(&unknown)],
        };
        let answer = self.talk.ask(1, &request)?.context("closed")?;
        let codes = answer.results.iter().map(|result| {
            format!(
                "known {}: {}",
                *result.group_id == *group,
                result.error_code
            )
        });
        let mut codes: Vec<String> = codes.collect();
        codes.sort();
        self.say(&format!("DeleteGroups {title}"), &codes);
        Ok(())
    }

    /// A group that nobody has heard of, with its coordinator there.
    fn unknown_group(&self, fate: Fate) -> Result<String> {
        let known = partition_of(&self.clients[&fate].group);
        let mut names = (0..1000).map(|number| format!("unknown{number}"));
        names
            .find(|name| partition_of(name) == known)
            .context("none")
    }

    fn ask_for_transactions(&mut self, fate: Fate) -> Result<()> {
        let title = format!("{fate:?}");
        let (open, ended) = {
            let clients = &self.clients[&fate];
            (clients.open.clone(), clients.ended.clone())
        };
        self.find(&open.0, 1, &format!("transaction {title}"))?;
        self.work(fate, &open, 1)?;
        self.end(fate, &open)?;
        let request = init_request(&ended.0);
        self.note(&title, 4, &request)?;
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![owned(&ended.0)],
        };
        self.note(&title, 0, &request).map(drop)
    }
}

pub fn init_request(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(owned(id)),
        transaction_timeout_ms: LONG_MS,
        producer_id: -1,
        producer_epoch: -1,
    }
}

pub fn produce(
    partition: i32,
    transactional_id: Option<&str>,
    options: BatchBuilderOptions,
) -> ProduceRequest {
    let mut builder = BatchBuilder::new(options);
    builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"));
    ProduceRequest {
        transactional_id: transactional_id.map(owned),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: owned(SPREAD),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Records::Memory(builder.build())),
            }],
        }],
    }
}

pub fn describe_producers(partition: i32) -> DescribeProducersRequest {
    DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: owned(SPREAD),
            partition_indexes: vec![partition],
        }],
    }
}

pub fn fetch(partition: i32) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: owned(SPREAD),
            partitions: vec![FetchPartition {
                partition,
                current_leader_epoch: -1,
                // What is before is deleted in one of them.
                fetch_offset: 1,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}
