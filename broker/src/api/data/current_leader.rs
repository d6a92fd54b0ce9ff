//! Shell: where a partition's leader is, told with an error so that the client need not ask (KIP-951).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;

use crate::api::context::{RequestContext, Services};
use crate::metadata::cache::BrokerEndpoint;

/// A broker that clients should go to.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Its address on the listener that the request came in on.
    pub endpoint: BrokerEndpoint,
    /// Its rack, if it has one.
    pub rack: Option<ByteString>,
}

/// The leaders that one response tells of.
pub struct CurrentLeaders<'a> {
    services: &'a Arc<Services>,
    context: &'a RequestContext,
    nodes: BTreeMap<i32, Node>,
}

impl<'a> CurrentLeaders<'a> {
    /// None told yet.
    pub fn new(services: &'a Arc<Services>, context: &'a RequestContext) -> Self {
        Self {
            services,
            context,
            nodes: BTreeMap::new(),
        }
    }

    /// The leader and its epoch, -1 for unknown; its address goes into the response too, if it is alive.
    pub fn of(&mut self, topic: &ByteString, partition: i32) -> (i32, i32) {
        let snapshot = self.services.metadata.snapshot();
        let (leader, epoch) = match self.services.replicas.partition(topic, partition) {
            Some(hosted) => {
                let state = hosted.state.read();
                (state.leader().unwrap_or(-1), state.leader_epoch())
            }
            None => match snapshot.partition(topic, partition) {
                Some(known) => (known.leader, known.leader_epoch),
                None => (-1, -1),
            },
        };
        if let Some(broker) = snapshot.brokers.get(&leader)
            && let Some(endpoint) = broker.endpoint(&self.context.listener)
        {
            self.nodes.entry(leader).or_insert_with(|| Node {
                id: leader,
                endpoint: endpoint.clone(),
                rack: broker.rack.clone(),
            });
        }
        (leader, epoch)
    }

    /// The addresses of all leaders told.
    pub fn into_nodes(self) -> impl Iterator<Item = Node> {
        self.nodes.into_values()
    }
}
