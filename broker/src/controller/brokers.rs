//! Pure: brokers that appear, disappear and change (the broker events of `KafkaController.scala`).

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::context::{LiveBroker, PartitionPhase, Replica, ReplicaPhase};
use crate::controller::effects::Effect;
use crate::controller::machine::{Machine, Step};

impl Machine {
    pub(super) fn brokers_changed(&mut self, brokers: Vec<LiveBroker>) {
        let now: BTreeMap<i32, LiveBroker> = brokers
            .into_iter()
            .map(|broker| (broker.registration.id, broker))
            .collect();
        let mut new = Vec::new();
        let mut bounced = Vec::new();
        for (id, broker) in &now {
            match self.context.brokers.get(id) {
                None => new.push(broker.clone()),
                Some(known) if broker.epoch > known.epoch => bounced.push(broker.clone()),
                Some(_) => {}
            }
        }
        let known = self.context.brokers.keys().copied();
        let dead: Vec<i32> = known.filter(|id| !now.contains_key(id)).collect();
        let ids = |of: &[LiveBroker]| of.iter().map(|b| b.registration.id).collect::<Vec<_>>();
        let bounced_ids = ids(&bounced);
        tracing::info!(new = ?ids(&new), ?dead, bounced = ?bounced_ids, "brokers changed");
        for broker in &new {
            self.effects.push(Effect::OpenChannel(broker.clone()));
        }
        for broker in &bounced {
            self.effects
                .push(Effect::CloseChannel(broker.registration.id));
            self.effects.push(Effect::OpenChannel(broker.clone()));
        }
        for broker in &dead {
            self.effects.push(Effect::CloseChannel(*broker));
        }
        self.then([
            Step::BrokerStartup(new),
            Step::BrokerFailure(bounced_ids),
            Step::BrokerStartup(bounced),
            Step::BrokerFailure(dead),
        ]);
    }

    pub(super) fn broker_startup(&mut self, brokers: Vec<LiveBroker>) {
        if brokers.is_empty() {
            return;
        }
        let ids: Vec<i32> = brokers
            .iter()
            .map(|broker| broker.registration.id)
            .collect();
        for broker in brokers {
            self.context.offline_dirs.remove(&broker.registration.id);
            self.context.brokers.insert(broker.registration.id, broker);
        }
        let mut others = self.context.registered_ids();
        others.retain(|id| !ids.contains(id));
        let replicas = self.context.replicas_on(&ids);
        let topics = replicas
            .iter()
            .map(|replica| replica.partition.topic.clone());
        let waiting: BTreeSet<String> = topics
            .filter(|topic| self.context.is_queued_for_deletion(topic))
            .collect();
        self.then([
            Step::Metadata(others, Vec::new()),
            Step::Metadata(ids, self.context.partitions_with_leaders()),
            Step::Replicas(replicas, ReplicaPhase::Online),
            Step::TriggerOnline(None),
        ]);
        if !waiting.is_empty() {
            self.context
                .deletion_ineligible
                .retain(|topic| !waiting.contains(topic));
            // After the four steps above.
            self.steps.insert(4, Step::ResumeDeletions);
        }
    }

    pub(super) fn broker_failure(&mut self, brokers: &[i32]) {
        if brokers.is_empty() {
            return;
        }
        for broker in brokers {
            self.context.brokers.remove(broker);
            self.context.offline_dirs.remove(broker);
            self.context.shutting_down.remove(broker);
        }
        let replicas = self.context.replicas_on(brokers);
        self.then([Step::ReplicasOffline(replicas)]);
    }

    pub(super) fn replicas_offline(&mut self, replicas: Vec<Replica>) {
        let (deleted, kept): (Vec<_>, Vec<_>) = replicas.into_iter().partition(|replica| {
            self.context
                .is_queued_for_deletion(&replica.partition.topic)
        });
        let leaderless = self.context.partitions_with_offline_leader();
        self.elections.clear();
        let tell_who_lives = kept.is_empty();
        self.then([
            Step::Partitions(leaderless, PartitionPhase::Offline),
            Step::TriggerOnline(None),
            Step::Replicas(kept, ReplicaPhase::Offline),
            Step::DeletionFailed(deleted),
        ]);
        if tell_who_lives {
            self.steps.insert(4, Step::MetadataUnlessElected);
        }
    }

    pub(super) fn broker_modified(&mut self, broker: LiveBroker) {
        let Some(known) = self.context.brokers.get_mut(&broker.registration.id) else {
            return;
        };
        let (old, new) = (&known.registration, &broker.registration);
        if old.endpoints != new.endpoints || old.features != new.features {
            tracing::info!(broker = new.id, "broker changed its registration");
            known.registration = broker.registration;
            self.then([Step::MetadataToAll(Vec::new())]);
        }
    }
}
