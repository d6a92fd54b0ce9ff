//! Shell: the request versions that the broker advertises are Apache's own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use integration_tests::at_once;
use integration_tests::stack::Stack;
use integration_tests::stock_tools::{self, class};

/// API name to version range, as kafka-broker-api-versions prints them.
fn advertised(stack: &Stack) -> Result<BTreeMap<String, String>> {
    let finished = stock_tools::run(
        class::BROKER_API_VERSIONS,
        &["--bootstrap-server", &stack.broker.bootstrap()],
    )?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    let mut apis = BTreeMap::new();
    for line in finished
        .stdout
        .lines()
        .filter(|line| line.starts_with('\t'))
    {
        let (name, range) = line
            .trim()
            .trim_end_matches(',')
            .split_once(": ")
            .context("odd line")?;
        apis.insert(name.to_owned(), range.to_owned());
    }
    Ok(apis)
}

/// What the tutorial and its tools need; anything more is welcome, anything else must not be advertised.
const NEEDED: [&str; 35] = [
    "Produce(0)",
    "Fetch(1)",
    "ListOffsets(2)",
    "Metadata(3)",
    "LeaderAndIsr(4)",
    "StopReplica(5)",
    "UpdateMetadata(6)",
    "ControlledShutdown(7)",
    "OffsetCommit(8)",
    "OffsetFetch(9)",
    "FindCoordinator(10)",
    "JoinGroup(11)",
    "Heartbeat(12)",
    "LeaveGroup(13)",
    "SyncGroup(14)",
    "DescribeGroups(15)",
    "ListGroups(16)",
    "ApiVersions(18)",
    "CreateTopics(19)",
    "DeleteTopics(20)",
    "DeleteRecords(21)",
    "InitProducerId(22)",
    "OffsetForLeaderEpoch(23)",
    "DescribeConfigs(32)",
    "AlterConfigs(33)",
    "DescribeLogDirs(35)",
    "CreatePartitions(37)",
    "DeleteGroups(42)",
    "ElectLeaders(43)",
    "IncrementalAlterConfigs(44)",
    "ListPartitionReassignments(46)",
    "OffsetDelete(47)",
    "AlterPartition(56)",
    "DescribeCluster(60)",
    "AllocateProducerIds(67)",
];

#[test]
fn every_advertised_version_is_one_of_apaches() -> Result<()> {
    let (reference, ours) = at_once::both(|maker| advertised(&Stack::start(maker, maker)?))?;
    let mut wrong = Vec::new();
    for (name, range) in &ours {
        // The tool prints what a server does not have as unsupported.
        if range != "UNSUPPORTED" && reference.get(name) != Some(range) {
            wrong.push(format!(
                "{name}: {range}, Apache's: {:?}",
                reference.get(name)
            ));
        }
    }
    for name in NEEDED {
        if ours.get(name).is_none_or(|range| range == "UNSUPPORTED") {
            wrong.push(format!("{name} is not there"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
