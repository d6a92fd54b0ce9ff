//! Pure: sessions: their ids, passwords and timeouts, and which of them have expired
//! (SessionTrackerImpl.java, ExpiryQueue.java).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::state::watches::ConnectionId;

/// Mixed into a session id to seed its password (ZooKeeperServer.superSecret).
const PASSWORD_SEED: i64 = 0xB341_5C00;

/// Length of a session password in bytes.
pub const PASSWORD_BYTES: usize = 16;

/// The password of a session: 16 bytes of `java.util.Random`, so that any server of any make
/// finds the same one.
pub fn password(session: i64) -> [u8; PASSWORD_BYTES] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = ((session ^ PASSWORD_SEED) as u64 ^ MULTIPLIER) & MASK;
    let mut bytes = [0; PASSWORD_BYTES];
    for chunk in bytes.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    bytes
}

/// The first session id that a server gives out: its id in the top byte, then the time.
pub fn first_id(server_id: u8, now_ms: i64) -> i64 {
    let id = ((now_ms << 24) as u64 >> 8) as i64 | (i64::from(server_id) << 56);
    if id == i64::MIN { id + 1 } else { id }
}

/// What the server knows of one session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Timeout it was created with, in milliseconds.
    pub timeout_ms: i32,
    /// Whether its creation has been applied.
    pub committed: bool,
    /// Whether its end has been decided: nothing more is done for it.
    pub closing: bool,
    /// The connection that speaks for it.
    pub connection: Option<ConnectionId>,
    expires_at: i64,
}

impl Session {
    /// When it expires unless it is touched, on the monotonic clock in milliseconds.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

/// All sessions, in buckets of one tick by the time they expire.
#[derive(Debug)]
pub struct Sessions {
    by_id: HashMap<i64, Session, foldhash::fast::RandomState>,
    buckets: BTreeMap<i64, BTreeSet<i64>>,
    next_id: i64,
    tick_ms: i64,
}

impl Sessions {
    /// No sessions yet; `first_id` is the first id to give out.
    pub fn new(tick_ms: i64, first_id: i64) -> Self {
        Self {
            by_id: HashMap::default(),
            buckets: BTreeMap::new(),
            next_id: first_id,
            tick_ms,
        }
    }

    /// A new session id, tracked from now on.
    pub fn create(&mut self, timeout_ms: i32, connection: ConnectionId, now_ms: i64) -> i64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.track(id, timeout_ms, now_ms);
        if let Some(session) = self.by_id.get_mut(&id) {
            session.connection = Some(connection);
        }
        id
    }

    /// Tracks a session with its full timeout.
    pub fn track(&mut self, id: i64, timeout_ms: i32, now_ms: i64) {
        self.by_id.entry(id).or_insert(Session {
            timeout_ms,
            committed: false,
            closing: false,
            connection: None,
            expires_at: i64::MIN,
        });
        self.touch(id, timeout_ms, now_ms);
    }

    /// The creation of a session has been applied.
    pub fn commit(&mut self, id: i64, timeout_ms: i32, now_ms: i64) {
        if !self.by_id.contains_key(&id) {
            self.track(id, timeout_ms, now_ms);
        }
        if let Some(session) = self.by_id.get_mut(&id) {
            session.committed = true;
            session.timeout_ms = timeout_ms;
        }
    }

    /// Moves the end of a session away; false if it is unknown or closing.
    pub fn touch(&mut self, id: i64, timeout_ms: i32, now_ms: i64) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else {
            return false;
        };
        if session.closing {
            return false;
        }
        let expires_at =
            (now_ms + i64::from(timeout_ms)) / self.tick_ms * self.tick_ms + self.tick_ms;
        if expires_at != session.expires_at {
            let old = std::mem::replace(&mut session.expires_at, expires_at);
            self.leave_bucket(id, old);
            self.buckets.entry(expires_at).or_default().insert(id);
        }
        true
    }

    fn leave_bucket(&mut self, id: i64, bucket: i64) {
        if let Some(ids) = self.buckets.get_mut(&bucket) {
            ids.remove(&id);
            if ids.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }

    /// A session.
    pub fn get(&self, id: i64) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// The connection that speaks for a session changes.
    pub fn set_connection(&mut self, id: i64, connection: Option<ConnectionId>) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.connection = connection;
        }
    }

    /// The end of a session has been decided.
    pub fn set_closing(&mut self, id: i64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.closing = true;
        }
    }

    /// A session has ended.
    pub fn remove(&mut self, id: i64) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.leave_bucket(id, session.expires_at);
        Some(session)
    }

    /// Takes the sessions whose time is over; the caller ends them.
    pub fn expired(&mut self, now_ms: i64) -> Vec<i64> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry()
            && *bucket.key() <= now_ms
        {
            expired.extend(bucket.remove());
        }
        expired.retain(|id| self.by_id.get(id).is_some_and(|session| !session.closing));
        for id in &expired {
            self.set_closing(*id);
        }
        expired
    }

    /// When the next session expires, unless it is touched.
    pub fn next_expiry(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    /// Gives every session its full timeout from now on, for a server that has just started.
    pub fn touch_all(&mut self, now_ms: i64) {
        let all: Vec<(i64, i32)> = self
            .by_id
            .iter()
            .map(|(id, s)| (*id, s.timeout_ms))
            .collect();
        for (id, timeout_ms) in all {
            self.touch(id, timeout_ms, now_ms);
        }
    }

    /// Ids and timeouts of the sessions whose creation has been applied, in order.
    pub fn committed(&self) -> Vec<(i64, i32)> {
        let mut sessions: Vec<(i64, i32)> = self
            .by_id
            .iter()
            .filter(|(_, session)| session.committed)
            .map(|(id, session)| (*id, session.timeout_ms))
            .collect();
        sessions.sort_unstable();
        sessions
    }

    /// How many sessions there are whose creation has been applied.
    pub fn committed_count(&self) -> usize {
        let committed = self.by_id.values().filter(|session| session.committed);
        committed.count()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Sessions by the time they expire at.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, &BTreeSet<i64>)> {
        self.buckets.iter().map(|(time, ids)| (*time, ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_expires_after_its_timeout_and_at_most_a_tick_later() {
        let mut sessions = Sessions::new(2000, 7);
        let id = sessions.create(4000, ConnectionId(1), 1999);
        assert_eq!(id, 7);
        assert_eq!(sessions.next_expiry(), Some(6000));
        assert!(sessions.touch(id, 4000, 2001));
        assert_eq!(sessions.next_expiry(), Some(8000));
        assert!(sessions.expired(7999).is_empty());
        assert_eq!(sessions.expired(8000), [7]);
        assert!(
            !sessions.touch(id, 4000, 8000),
            "a closing session is not revived"
        );
    }

    #[test]
    fn a_late_look_still_honours_touches_that_came_before_it() {
        let mut sessions = Sessions::new(1000, 1);
        let id = sessions.create(2000, ConnectionId(1), 0);
        assert!(sessions.touch(id, 2000, 60_000));
        assert!(sessions.expired(60_000).is_empty());
    }
}
