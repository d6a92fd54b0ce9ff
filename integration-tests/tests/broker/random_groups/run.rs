//! Shell: plays the random scripts, and compares what is left of them.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytestring::ByteString;
use integration_tests::environment;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools;
use integration_tests::talk::Talk;
use integration_tests::wait::until;
use kafka_wire::message::Request;
use kafka_wire::messages::delete_groups::DeleteGroupsRequest;
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use kafka_wire::messages::list_groups::ListGroupsRequest;
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_wire::messages::sync_group::SyncGroupRequest;

use super::answers::{Ids, Tidy, dumped};
use super::script::{Actor, Group, OFFSETS_PARTITIONS, Pair, Script, Waiting};

const CONFIG: &str = "offsets.topic.num.partitions=4\ngroup.max.size=3\n\
                      transaction.partition.verification.enable=false\n";
/// Steps of a script, unless TANDEM_STEPS says otherwise.
const STEPS: u64 = 300;
/// How long one broker may be behind the other.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Apache's may be behind before it is taken to have forgotten a request.
const FORGOTTEN: Duration = Duration::from_secs(3);
/// How long both must be silent to count as having nothing more to say.
const SILENCE: Duration = Duration::from_millis(3);

struct Duel {
    script: Script,
    addresses: Pair<std::net::SocketAddr>,
    talks: Vec<Pair<Talk>>,
    /// For requests that are answered at once.
    desk: Pair<Talk>,
    ids: Pair<Ids>,
    named: usize,
    given_up: Vec<ByteString>,
    forgotten: usize,
    answered: usize,
    story: Vec<String>,
}

fn connect(addresses: &Pair<std::net::SocketAddr>) -> Result<Pair<Talk>> {
    let talk = |side: usize| Ok::<_, anyhow::Error>(Talk::with(addresses[side])?.named("client"));
    Ok([talk(0)?, talk(1)?])
}

impl Duel {
    fn begin(seed: u64, addresses: Pair<std::net::SocketAddr>) -> Result<Duel> {
        let script = Script::new(seed);
        let mut talks = Vec::new();
        for _ in &script.actors {
            talks.push(connect(&addresses)?);
        }
        Ok(Duel {
            script,
            desk: connect(&addresses)?,
            addresses,
            talks,
            ids: Pair::default(),
            named: 0,
            given_up: Vec::new(),
            forgotten: 0,
            answered: 0,
            story: Vec::new(),
        })
    }

    fn failed(&self, what: &str) -> anyhow::Error {
        let from = self.story.len().saturating_sub(25);
        anyhow::anyhow!("{what}\nafter:\n{}", self.story[from..].join("\n"))
    }

    /// Asks both at the desk; the answers must be the same, at once or, of what is done in the
    /// background, after a while.
    fn ask<R>(&mut self, version: i16, requests: &Pair<R>) -> Result<()>
    where
        R: Request + Debug,
        R::Response: Tidy + Debug,
    {
        self.story
            .push(format!("{} v{version} {:?}", R::NAME, requests[0]));
        let started = Instant::now();
        loop {
            let mut texts = Vec::new();
            for (side, request) in requests.iter().enumerate() {
                let answer = self.desk[side].ask(version, request)?;
                texts.push(answer.map_or("closed".to_owned(), |mut answer| {
                    answer.tidy(&self.ids[side]);
                    format!("{answer:?}")
                }));
            }
            if texts[0] == texts[1] {
                self.answered += 1;
                self.story.push(format!("   {}", texts[0]));
                return Ok(());
            }
            let is_read = matches!(R::API_KEY, 9 | 15 | 16);
            if !is_read || started.elapsed() > Duration::from_secs(10) {
                let what = format!("Apache's: {}\nours:     {}", texts[0], texts[1]);
                return Err(self.failed(&what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// No member of the actor's group has joined: a join that is accepted is answered soon.
    fn is_empty(&mut self, actor: usize) -> Result<bool> {
        let group = self.script.actors[actor].group;
        let request = DescribeGroupsRequest {
            groups: vec![self.script.groups[group].name.clone()],
            include_authorized_operations: false,
        };
        let answer = self.desk[0].ask(0, &request)?.context("closed")?;
        let state = &answer.groups.first().context("no group")?.group_state;
        Ok(**state == *"Empty" || **state == *"Dead")
    }

    fn start_join(&mut self, actor: usize) -> Result<()> {
        let is_empty = self.is_empty(actor)?;
        let (version, requests) = self.script.join(actor);
        self.start(actor, version, &requests, Waiting::Join(version))?;
        if is_empty {
            let started = Instant::now();
            while !self.talks[actor][0].is_answered(SILENCE)?
                || !self.talks[actor][1].is_answered(SILENCE)?
            {
                if started.elapsed() > PATIENCE {
                    return Err(self.failed("a join of an empty group is not answered"));
                }
            }
        }
        Ok(())
    }

    fn start<R: Request + Debug>(
        &mut self,
        actor: usize,
        version: i16,
        requests: &Pair<R>,
        waiting: Waiting,
    ) -> Result<()> {
        let name = R::NAME;
        self.story
            .push(format!("actor {actor} {name} v{version} {:?}", requests[0]));
        for (side, request) in requests.iter().enumerate() {
            self.talks[actor][side].send(version, request)?;
        }
        self.script.actors[actor].waiting = Some(waiting);
        Ok(())
    }

    /// Reads what has been answered, until both are silent.
    fn collect(&mut self) -> Result<()> {
        loop {
            let mut joins = Vec::new();
            let mut progress = false;
            for actor in 0..self.talks.len() {
                let Some(waiting) = self.script.actors[actor].waiting else {
                    continue;
                };
                if !self.is_answered(actor)? {
                    continue;
                }
                progress = true;
                self.script.actors[actor].waiting = None;
                match waiting {
                    Waiting::Join(version) => {
                        let [a, b] = &mut self.talks[actor];
                        let first = a.answer::<JoinGroupRequest>(version)?;
                        let second = b.answer::<JoinGroupRequest>(version)?;
                        let pair = first.zip(second).context("closed instead of a join")?;
                        joins.push((actor, [pair.0, pair.1]));
                    }
                    Waiting::Sync(version) => self.finish_sync(actor, version)?,
                }
            }
            self.finish_joins(joins)?;
            if !progress {
                return Ok(());
            }
        }
    }

    fn is_answered(&mut self, actor: usize) -> Result<bool> {
        let mut answered = [false; 2];
        let started = Instant::now();
        loop {
            for (done, talk) in answered.iter_mut().zip(&self.talks[actor]) {
                *done = *done || talk.is_answered(SILENCE)?;
            }
            match answered {
                [true, true] => return Ok(true),
                [false, false] => return Ok(false),
                [false, true] if started.elapsed() > FORGOTTEN => {
                    self.forgotten_by_apaches(actor)?;
                    return Ok(false);
                }
                _ if started.elapsed() > PATIENCE => {
                    return Err(self.failed(&format!("only Apache's answers actor {actor}")));
                }
                _ => {}
            }
        }
    }

    /// Apache's broker never answers a sync whose member is removed, nor a join or sync that is
    /// followed by another one of the same member. Ours ends these waits; the client goes on with
    /// new connections.
    fn forgotten_by_apaches(&mut self, actor: usize) -> Result<()> {
        let waiting = self.script.actors[actor].waiting.take();
        let talk = &mut self.talks[actor][1];
        let error = match waiting.context("nothing is awaited")? {
            Waiting::Join(version) => talk
                .answer::<JoinGroupRequest>(version)?
                .map(|a| a.error_code),
            Waiting::Sync(version) => talk
                .answer::<SyncGroupRequest>(version)?
                .map(|a| a.error_code),
        };
        let is_ended = match waiting {
            Some(Waiting::Sync(_)) => matches!(error, Some(25 | 27)),
            _ => matches!(error, Some(27)),
        };
        if !is_ended {
            return Err(self.failed(&format!("only ours answers actor {actor}: {error:?}")));
        }
        self.forgotten += 1;
        self.story
            .push(format!("   actor {actor}: forgotten by Apache's"));
        self.talks[actor] = connect(&self.addresses)?;
        Ok(())
    }

    fn finish_sync(&mut self, actor: usize, version: i16) -> Result<()> {
        let mut texts = Vec::new();
        let mut error = 0;
        for side in 0..2 {
            let answer = self.talks[actor][side].answer::<SyncGroupRequest>(version)?;
            let answer = answer.context("closed instead of a sync")?;
            error = answer.error_code;
            texts.push(format!("{answer:?}"));
        }
        self.answered += 1;
        self.story.push(format!("   actor {actor}: {}", texts[0]));
        if texts[0] != texts[1] {
            let what = format!("Apache's: {}\nours:     {}", texts[0], texts[1]);
            return Err(self.failed(&what));
        }
        if error == 0 {
            self.script.actors[actor].needs_sync = false;
        }
        Ok(())
    }

    fn finish_joins(&mut self, mut joins: Vec<(usize, Pair<JoinGroupResponse>)>) -> Result<()> {
        for (actor, answers) in &joins {
            let ids: Pair<ByteString> =
                [answers[0].member_id.clone(), answers[1].member_id.clone()];
            if !self.ids[0].knows(&ids[0]) && Ids::uuid(&ids[0]).is_some() {
                let name = format!("#{}", self.named);
                self.named += 1;
                for (known, id) in self.ids.iter_mut().zip(&ids) {
                    known.insert(id, &name);
                }
                let group = self.script.actors[*actor].group;
                self.script.groups[group].known.push(ids);
            }
        }
        let raw: Vec<_> = joins.iter().map(|(_, answers)| answers.clone()).collect();
        for (_, answers) in &mut joins {
            for (answer, ids) in answers.iter_mut().zip(&self.ids) {
                answer.tidy(ids);
            }
        }
        if let Some(group) = self.chance_decided(&joins) {
            return self.retire(group);
        }
        for ((actor, answers), raw) in joins.iter().zip(raw) {
            self.answered += 1;
            self.story
                .push(format!("   actor {actor}: {:?}", answers[0]));
            if answers[0] != answers[1] {
                let what = format!("Apache's: {:?}\nours:     {:?}", answers[0], answers[1]);
                return Err(self.failed(&what));
            }
            self.joined(*actor, &answers[0], &raw);
        }
        Ok(())
    }

    /// A leader that went is followed by any other member, as the broker's hash table has it: if the
    /// two followed differently, the group cannot be compared any further.
    fn chance_decided(&self, joins: &[(usize, Pair<JoinGroupResponse>)]) -> Option<usize> {
        for (actor, [first, second]) in joins {
            if first.error_code != 0 || second.error_code != 0 || first.leader == second.leader {
                continue;
            }
            let group = self.script.actors[*actor].group;
            let before = self.script.groups[group].leader.as_ref()?;
            let mut members = joins.iter().flat_map(|(_, answers)| &answers[0].members);
            if members.all(|member| member.member_id != *before) {
                return Some(group);
            }
        }
        None
    }

    fn retire(&mut self, group: usize) -> Result<()> {
        self.given_up.push(self.script.groups[group].name.clone());
        let letter = if group == 0 { 'g' } else { 'h' };
        self.story.push(format!("group {group} is given up"));
        self.script.groups[group] = Group {
            name: format!("{letter}-{}", self.given_up.len()).into(),
            ..Group::default()
        };
        for number in 0..self.script.actors.len() {
            let actor = &mut self.script.actors[number];
            if actor.group == group {
                *actor = Actor {
                    group,
                    instance: actor.instance.take(),
                    ..Actor::default()
                };
                self.talks[number] = connect(&self.addresses)?;
            }
        }
        Ok(())
    }

    fn joined(&mut self, actor: usize, answer: &JoinGroupResponse, raw: &Pair<JoinGroupResponse>) {
        let state = &mut self.script.actors[actor];
        let own = [raw[0].member_id.clone(), raw[1].member_id.clone()];
        match answer.error_code {
            0 | 79 => state.member = own,
            25 | 81 | 82 => state.member = Pair::default(),
            _ => {}
        }
        if answer.error_code != 0 {
            return;
        }
        state.generation = answer.generation_id;
        state.protocol = answer.protocol_name.clone();
        state.needs_sync = true;
        state.crew.clear();
        for member in &raw[0].members {
            let name = self.ids[0].name(&member.member_id);
            let other = raw[1]
                .members
                .iter()
                .find(|m| self.ids[1].name(&m.member_id) == name);
            if let Some(other) = other {
                state
                    .crew
                    .push([member.member_id.clone(), other.member_id.clone()]);
            }
        }
        self.script.groups[state.group].leader = Some(answer.leader.clone());
    }

    fn step(&mut self) -> Result<()> {
        let count = self.script.actors.len() as u64;
        let actor = self.script.random.below(count) as usize;
        let is_idle = self.script.actors[actor].waiting.is_none();
        let kind = self.script.random.below(100);
        if is_idle && self.script.actors[actor].needs_sync && self.script.chance(50) {
            let (version, requests) = self.script.sync(actor);
            return self.start(actor, version, &requests, Waiting::Sync(version));
        }
        match kind {
            0..=39 if is_idle => self.start_join(actor),
            40..=46 if is_idle => {
                let (version, requests) = self.script.sync(actor);
                self.start(actor, version, &requests, Waiting::Sync(version))
            }
            0..=53 => {
                let (version, requests) = self.script.heartbeat(actor);
                self.ask(version, &requests)
            }
            54..=60 => {
                let (version, requests) = self.script.leave(actor);
                self.ask(version, &requests)
            }
            61..=69 => {
                let (version, requests) = self.script.commit(actor);
                self.ask(version, &requests)
            }
            70..=77 => {
                let (version, requests) = self.script.commit_in_transaction(actor);
                self.ask(version, &requests)
            }
            78..=82 => {
                let (version, requests) = self.script.marker();
                self.ask(version, &requests)
            }
            83..=88 => {
                let (version, requests) = self.script.fetch(actor);
                self.ask(version, &requests)
            }
            89..=92 => {
                let groups = vec![self.script.any_group(actor)];
                self.describe(kind as i16 % 6, groups)
            }
            93..=95 => self.list(),
            96..=97 => {
                let groups_names = vec![self.script.any_group(actor); 2];
                let request = DeleteGroupsRequest { groups_names };
                self.ask((kind % 3) as i16, &[request.clone(), request])
            }
            _ => {
                let requests = self.script.forget(actor);
                self.ask(0, &requests)
            }
        }
    }

    fn describe(&mut self, version: i16, groups: Vec<ByteString>) -> Result<()> {
        let request = DescribeGroupsRequest {
            groups,
            include_authorized_operations: version >= 3,
        };
        self.ask(version, &[request.clone(), request])
    }

    fn list(&mut self) -> Result<()> {
        let states_filter = match self.script.random.below(4) {
            0 => vec!["Stable".into(), "Empty".into()],
            1 => vec!["PreparingRebalance".into(), "nonsense".into()],
            2 => vec!["CompletingRebalance".into()],
            _ => Vec::new(),
        };
        let version = if states_filter.is_empty() { 3 } else { 4 };
        // A group that was given up may stand differently.
        if !self.given_up.is_empty() {
            return Ok(());
        }
        let request = ListGroupsRequest { states_filter };
        self.ask(version, &[request.clone(), request])
    }

    /// Everything that clients can see of the groups now.
    fn compare_all(&mut self) -> Result<()> {
        let names: Vec<ByteString> = self.script.groups.iter().map(|g| g.name.clone()).collect();
        self.describe(5, names.clone())?;
        for require_stable in [false, true] {
            let group = |name: &ByteString| OffsetFetchRequestGroup {
                group_id: name.clone(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            };
            let request = OffsetFetchRequest {
                groups: names.iter().map(group).collect(),
                require_stable,
                ..OffsetFetchRequest::default()
            };
            self.ask(8, &[request.clone(), request])?;
        }
        Ok(())
    }
}

/// Makes the topics, and waits until groups are coordinated.
fn prepare(talk: &mut Talk) -> Result<()> {
    new_topics::create(talk, &[NewTopic::new("t", 3), NewTopic::new("u", 3)])?;
    ready(talk)
}

fn ready(talk: &mut Talk) -> Result<()> {
    let find = FindCoordinatorRequest {
        key: "g-0".into(),
        ..FindCoordinatorRequest::default()
    };
    // Ids of which each partition has some.
    let everywhere = DescribeGroupsRequest {
        groups: (0..40).map(|n| format!("probe-{n}").into()).collect(),
        include_authorized_operations: false,
    };
    until("coordinators", || {
        let found = talk.ask(0, &find)?.context("closed")?;
        let described = talk.ask(0, &everywhere)?.context("closed")?;
        Ok(found.error_code == 0 && described.groups.iter().all(|g| g.error_code == 0))
    })?;
    Ok(())
}

fn dump(
    broker: &Broker,
    partition: i32,
    ids: &Ids,
    given_up: &[ByteString],
) -> Result<Vec<String>> {
    let directory = format!("__consumer_offsets-{partition}");
    let file = broker
        .log_directory()
        .join(directory)
        .join("00000000000000000000.log");
    let file = file.display().to_string();
    let arguments = ["--offsets-decoder", "--files", file.as_str()];
    let finished = stock_tools::run("kafka.tools.DumpLogSegments", &arguments)?;
    // The tool gives up where a leader assigned nothing to a member; both dumps end there.
    let gave_up = finished.stderr.contains("parsing consumer protocol");
    ensure!(
        gave_up || (finished.code == 0 && !finished.stdout.contains("rror")),
        "the dump of partition {partition} failed: {} {}",
        finished.stdout,
        finished.stderr
    );
    let lines = dumped(&finished.stdout, ids, given_up);
    Ok(lines)
}

fn compare_dumps(brokers: &Pair<Broker>, duel: &Duel) -> Result<usize> {
    let mut count = 0;
    for partition in 0..OFFSETS_PARTITIONS {
        let first = dump(&brokers[0], partition, &duel.ids[0], &duel.given_up)?;
        let second = dump(&brokers[1], partition, &duel.ids[1], &duel.given_up)?;
        for (number, (a, b)) in first.iter().zip(&second).enumerate() {
            ensure!(
                a == b,
                "partition {partition}, line {number}\nApache's: {a}\nours:     {b}"
            );
        }
        ensure!(first.len() == second.len(), "one log is longer");
        count += first.len();
    }
    Ok(count)
}

/// One script; then both brokers are stopped, and each continues where the other one was.
fn play(seed: u64) -> Result<String> {
    let zookeepers = [
        ZooKeeper::start(Maker::Ours)?,
        ZooKeeper::start(Maker::Ours)?,
    ];
    let mut brokers = [
        Broker::prepare(Maker::Apache, &zookeepers[0].connect(), CONFIG)?,
        Broker::prepare(Maker::Ours, &zookeepers[1].connect(), CONFIG)?,
    ];
    for broker in &mut brokers {
        broker.start_again()?;
        prepare(&mut Talk::with(broker.address())?)?;
    }
    let addresses = [brokers[0].address(), brokers[1].address()];
    let mut duel = Duel::begin(seed, addresses)?;
    for step in 0..environment::number("TANDEM_STEPS", STEPS)? {
        let done = duel.step().and_then(|()| duel.collect());
        done.with_context(|| format!("seed {seed}, step {step}"))?;
    }
    duel.compare_all().context("at the end of the script")?;
    for broker in &mut brokers {
        broker.stop()?;
    }
    let records = compare_dumps(&brokers, &duel).with_context(|| format!("seed {seed}"))?;
    for (broker, maker) in brokers.iter_mut().zip([Maker::Ours, Maker::Apache]) {
        broker.hand_over_to(maker);
        broker.start_again()?;
        ready(&mut Talk::with(broker.address())?)?;
    }
    duel.desk = connect(&addresses)?;
    let compared = duel.compare_all();
    compared.with_context(|| format!("seed {seed}, after both changed places"))?;
    let (answered, retired, forgotten) = (duel.answered, duel.given_up.len(), duel.forgotten);
    Ok(format!(
        "seed {seed}: {answered} answers, {records} records, {retired} groups given up, \
         {forgotten} requests forgotten by Apache's"
    ))
}

#[test]
fn random_scripts_of_group_requests_are_answered_as_by_apaches_broker() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    for seed in seed..seed + environment::number("TANDEM_ROUNDS", 1)? {
        match play(seed) {
            Ok(summary) => println!("{summary}"),
            Err(error) => bail!("{error:?}"),
        }
    }
    Ok(())
}
