//! Pure: one member of a group.
//!
//! Behaviour from Kafka's `MemberMetadata.scala` and `DelayedHeartbeat.scala`.

use bytes::Bytes;
use bytestring::ByteString;

use crate::coordinator::group::message::{JoinRequest, JoinedMember, MemberSummary, Protocol};
use crate::coordinator::topic_partition::detached;
use crate::coordinator::waiting::Ticket;

/// A member that joined without an id may wait this long for its join to be answered: it cannot
/// send heartbeats yet, and a client that went away cannot be noticed otherwise.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// A member, alive as long as its heartbeats arrive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Member id; a static member's changes when it returns.
    pub member_id: ByteString,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Client id.
    pub client_id: ByteString,
    /// Client address, as Java prints it.
    pub client_host: ByteString,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// Silence longer than this loses the membership.
    pub session_timeout_ms: i32,
    /// Supported protocols, best first.
    pub protocols: Vec<Protocol>,
    /// What the leader assigned.
    pub assignment: Bytes,
    /// Joined for the first time and not answered yet.
    pub is_new: bool,
    /// The join that waits for the rebalance to complete.
    pub awaiting_join: Option<Ticket>,
    /// The sync that waits for the leader's assignment.
    pub awaiting_sync: Option<Ticket>,
    /// When the session ends, on the monotonic clock; nobody counts while a rebalance is awaited.
    pub session_deadline_ms: Option<i64>,
}

impl Member {
    /// A member that asks to join for the first time.
    pub fn joining(member_id: ByteString, request: &JoinRequest, ticket: Ticket) -> Member {
        Member {
            member_id,
            group_instance_id: request.group_instance_id.as_ref().map(detached),
            client_id: detached(&request.client_id),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: detached_protocols(&request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            session_deadline_ms: None,
        }
    }

    /// Static members keep their place over a restart (KIP-345).
    pub fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    /// A member that waits for a rebalance need not send heartbeats, unless it is new: then the
    /// wait itself is limited.
    pub fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Subscription for a protocol; empty if the member doesn't support it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|p| p.name == *protocol)
            .map(|p| p.metadata.clone())
            .unwrap_or_default()
    }

    /// Same protocols in the same order with the same subscriptions.
    pub fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// As the leader sees it.
    pub fn joined(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// As an administrator sees it; subscription and assignment only with a protocol.
    pub fn summary(&self, protocol: Option<&str>) -> MemberSummary {
        MemberSummary {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|p| self.metadata(p)).unwrap_or_default(),
            assignment: protocol
                .map(|_| self.assignment.clone())
                .unwrap_or_default(),
        }
    }
}

/// Copies that do not keep the request frame in memory.
pub fn detached_protocols(protocols: &[Protocol]) -> Vec<Protocol> {
    protocols
        .iter()
        .map(|p| Protocol {
            name: detached(&p.name),
            metadata: Bytes::copy_from_slice(&p.metadata),
        })
        .collect()
}
