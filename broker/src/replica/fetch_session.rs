//! Pure: incremental fetch sessions, who keeps one, and what an incremental answer may leave out (KIP-227).
//!
//! A fetcher that opened a session names only what changed since its last request; the broker remembers the rest
//! and answers only with partitions that have something new. Rules as in Kafka's `FetchSession.scala`:
//! - (id 0, epoch 0) asks for a new session, epoch -1 for none; any id named beside these is closed;
//! - otherwise the epoch must be the one expected: 1, 2, ... `i32::MAX`, then 1 again;
//! - the cache has a fixed number of slots; a slot is taken from a session unused for long enough, or from a less
//!   valuable one (not a follower's, or with fewer partitions) that is old enough.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::wire::Uuid;

/// The session id that means "no session".
pub const NO_SESSION: i32 = 0;
/// The epoch that opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch that closes a session, or asks for none.
pub const FINAL_EPOCH: i32 = -1;
/// How long a session must have been unused, or have existed, before anybody may take its slot, in ms.
pub const MIN_EVICTION_MS: i64 = 120_000;

/// One partition that a fetcher wants to read, as it asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Interest {
    /// The topic's name; `None` when the request gave an id that this broker cannot resolve yet.
    pub topic: Option<ByteString>,
    /// The topic's id, zero when the request gave a name.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// The leader epoch the fetcher believes in, -1 for none.
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record the fetcher has, -1 for none.
    pub last_fetched_epoch: i32,
    /// The follower's log start offset, -1 from a consumer.
    pub log_start_offset: i64,
    /// The largest answer for this partition, in bytes.
    pub max_bytes: i32,
}

/// A partition that a request takes out of its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Forgotten {
    /// The topic's name, if known.
    pub topic: Option<ByteString>,
    /// The topic's id, zero when the request gave a name.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// What one request says about sessions.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The session's id, 0 for none.
    pub session_id: i32,
    /// The session's epoch.
    pub session_epoch: i32,
    /// Whether the request names topics by id (version 13 and up).
    pub uses_topic_ids: bool,
    /// Whether a follower sent it.
    pub is_follower: bool,
    /// The partitions named.
    pub interests: Vec<Interest>,
    /// The partitions taken out.
    pub forgotten: Vec<Forgotten>,
}

/// What to read for one request, and how to answer it.
#[derive(Debug)]
pub enum FetchContext {
    /// The session cannot be used: answer with this error alone.
    Failed(ErrorCode),
    /// No session: everything asked for is answered.
    Sessionless(Vec<Interest>),
    /// A full request; the answer may open a session.
    Full {
        /// What to read.
        interests: Vec<Interest>,
        /// Whether topics are named by id.
        uses_topic_ids: bool,
        /// Whether a follower asks.
        is_follower: bool,
    },
    /// A request within a session.
    Incremental {
        /// The session.
        session_id: i32,
        /// The epoch that the session must still have when the answer is made.
        expected_epoch: i32,
        /// What to read: all partitions of the session.
        interests: Vec<Interest>,
    },
}

impl FetchContext {
    /// What to read.
    pub fn interests(&self) -> &[Interest] {
        match self {
            Self::Failed(_) => &[],
            Self::Sessionless(interests)
            | Self::Full { interests, .. }
            | Self::Incremental { interests, .. } => interests,
        }
    }
}

/// What the sessions need to know about one partition's answer.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// The topic's name, if known.
    pub topic: Option<&'a ByteString>,
    /// The topic's id, zero when the request gave a name.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// Whether there are records.
    pub has_records: bool,
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start_offset: i64,
    /// Whether the partition failed.
    pub is_error: bool,
    /// Whether a preferred replica or a diverging epoch is told.
    pub is_redirect: bool,
}

/// The head of the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The error of the whole answer; with an error no partition is sent.
    pub error: ErrorCode,
    /// The session the client should go on with, 0 for none.
    pub session_id: i32,
}

/// The epoch after `epoch`.
pub fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        other => other + 1,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(Uuid, i32),
    Name(ByteString, i32),
}

fn key(topic: Option<&ByteString>, topic_id: Uuid, partition: i32) -> Key {
    match topic {
        Some(name) if topic_id == Uuid::ZERO => Key::Name(name.clone(), partition),
        _ => Key::Id(topic_id, partition),
    }
}

fn interest_key(interest: &Interest) -> Key {
    key(
        interest.topic.as_ref(),
        interest.topic_id,
        interest.partition,
    )
}

#[derive(Debug)]
struct Cached {
    key: Key,
    interest: Interest,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    /// Whether the answer says something new; remembers what it says.
    fn takes(&mut self, answer: &Answer<'_>) -> bool {
        let mut news = answer.has_records || answer.is_redirect;
        if self.high_watermark != answer.high_watermark {
            self.high_watermark = answer.high_watermark;
            news = true;
        }
        if self.log_start_offset != answer.log_start_offset {
            self.log_start_offset = answer.log_start_offset;
            news = true;
        }
        if answer.is_error {
            // An impossible value, so that the partition is sent again once the error is gone.
            self.high_watermark = -1;
            news = true;
        }
        news
    }
}

/// Partitions in the order in which they are read; whoever got data goes to the end.
#[derive(Debug, Default)]
struct Partitions {
    places: HashMap<Key, u64>,
    order: BTreeMap<u64, Cached>,
    next_place: u64,
}

impl Partitions {
    fn push(&mut self, cached: Cached) {
        self.places.insert(cached.key.clone(), self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut Cached> {
        self.order.get_mut(self.places.get(key)?)
    }

    fn remove(&mut self, key: &Key) -> Option<Cached> {
        self.order.remove(&self.places.remove(key)?)
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}

#[derive(Debug)]
struct Session {
    privileged: bool,
    uses_topic_ids: bool,
    created_ms: i64,
    last_used_ms: i64,
    epoch: i32,
    partitions: Partitions,
    /// The size under which the session stands in the eviction sets.
    counted_size: Option<usize>,
}

/// The order of value: consumers before followers, small before large.
type Value = (bool, usize, i32);

/// All sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    max_sessions: usize,
    eviction_ms: i64,
    sessions: HashMap<i32, Session>,
    last_used: BTreeSet<(i64, i32)>,
    evictable_by_all: BTreeSet<Value>,
    evictable_by_followers: BTreeSet<Value>,
}

impl FetchSessions {
    /// No sessions yet, and never more than `max_sessions` (`max.incremental.fetch.session.cache.slots`).
    pub fn new(max_sessions: usize, eviction_ms: i64) -> Self {
        Self {
            max_sessions,
            eviction_ms,
            sessions: HashMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_followers: BTreeSet::new(),
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Decides what a request wants to read. `resolve` gives the name of a topic id.
    pub fn open(
        &mut self,
        request: SessionRequest,
        now_ms: i64,
        resolve: impl Fn(Uuid) -> Option<ByteString>,
    ) -> FetchContext {
        let interests = without_duplicates(request.interests);
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            if request.session_id != NO_SESSION {
                self.remove(request.session_id);
            }
            if request.session_epoch == FINAL_EPOCH {
                return FetchContext::Sessionless(interests);
            }
            return FetchContext::Full {
                interests,
                uses_topic_ids: request.uses_topic_ids,
                is_follower: request.is_follower,
            };
        }

        let session_id = request.session_id;
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return FetchContext::Failed(ErrorCode::FetchSessionIdNotFound);
        };
        if session.epoch != request.session_epoch {
            return FetchContext::Failed(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return FetchContext::Failed(ErrorCode::FetchSessionTopicIdError);
        }
        session.update(&interests, &request.forgotten);
        if session.partitions.len() == 0 {
            self.remove(session_id);
            return FetchContext::Sessionless(interests);
        }
        session.epoch = next_epoch(session.epoch);
        let expected_epoch = session.epoch;
        let interests = session.interests(resolve);
        self.touch(session_id, now_ms);
        FetchContext::Incremental {
            session_id,
            expected_epoch,
            interests,
        }
    }

    /// Decides the head of the answer and drops from `answers` what the session lets out. A full request opens a
    /// session here if there is room; `random_id` gives candidates for its id.
    pub fn close<T>(
        &mut self,
        context: FetchContext,
        answers: &mut Vec<T>,
        describe: impl Fn(&T) -> Answer<'_>,
        now_ms: i64,
        random_id: impl FnMut() -> i32,
    ) -> Verdict {
        match context {
            FetchContext::Failed(error) => {
                answers.clear();
                Verdict {
                    error,
                    session_id: NO_SESSION,
                }
            }
            FetchContext::Sessionless(_) => Verdict {
                error: ErrorCode::None,
                session_id: NO_SESSION,
            },
            FetchContext::Full {
                interests,
                uses_topic_ids,
                is_follower,
            } => {
                let session_id = self.create(
                    NewSession {
                        privileged: is_follower,
                        uses_topic_ids,
                        size: answers.len(),
                    },
                    now_ms,
                    random_id,
                    || remember(interests, answers, describe),
                );
                Verdict {
                    error: ErrorCode::None,
                    session_id,
                }
            }
            FetchContext::Incremental {
                session_id,
                expected_epoch,
                ..
            } => self.close_incremental(session_id, expected_epoch, answers, describe),
        }
    }

    fn close_incremental<T>(
        &mut self,
        session_id: i32,
        expected_epoch: i32,
        answers: &mut Vec<T>,
        describe: impl Fn(&T) -> Answer<'_>,
    ) -> Verdict {
        let Some(session) = self.sessions.get_mut(&session_id) else {
            // Evicted while the request waited: what was read is still right for this client, whose next request
            // will learn that the session is gone.
            return Verdict {
                error: ErrorCode::None,
                session_id,
            };
        };
        if session.epoch != expected_epoch {
            answers.clear();
            return Verdict {
                error: ErrorCode::InvalidFetchSessionEpoch,
                session_id,
            };
        }
        answers.retain(|item| {
            let answer = describe(item);
            let key = key(answer.topic, answer.topic_id, answer.partition);
            let Some(cached) = session.partitions.get_mut(&key) else {
                return true;
            };
            let news = cached.takes(&answer);
            if news
                && answer.has_records
                && let Some(cached) = session.partitions.remove(&key)
            {
                session.partitions.push(cached);
            }
            news
        });
        Verdict {
            error: ErrorCode::None,
            session_id,
        }
    }

    fn create(
        &mut self,
        new: NewSession,
        now_ms: i64,
        mut random_id: impl FnMut() -> i32,
        partitions: impl FnOnce() -> Partitions,
    ) -> i32 {
        if self.sessions.len() >= self.max_sessions && !self.evict_for(&new, now_ms) {
            return NO_SESSION;
        }
        let mut id = random_id();
        while id <= NO_SESSION || self.sessions.contains_key(&id) {
            id = random_id();
        }
        self.sessions.insert(
            id,
            Session {
                privileged: new.privileged,
                uses_topic_ids: new.uses_topic_ids,
                created_ms: now_ms,
                last_used_ms: now_ms,
                epoch: next_epoch(INITIAL_EPOCH),
                partitions: partitions(),
                counted_size: None,
            },
        );
        self.touch(id, now_ms);
        id
    }

    /// Frees a slot for a new session if some other session is stale or worth less.
    fn evict_for(&mut self, new: &NewSession, now_ms: i64) -> bool {
        let Some(&(last_used_ms, oldest)) = self.last_used.first() else {
            return false;
        };
        if now_ms - last_used_ms > self.eviction_ms {
            return self.remove(oldest);
        }
        let candidates = if new.privileged {
            &self.evictable_by_followers
        } else {
            &self.evictable_by_all
        };
        match candidates.first() {
            Some(&victim) if (new.privileged, new.size, 0) >= victim => self.remove(victim.2),
            _ => false,
        }
    }

    fn remove(&mut self, id: i32) -> bool {
        let Some(session) = self.sessions.remove(&id) else {
            return false;
        };
        self.last_used.remove(&(session.last_used_ms, id));
        if let Some(size) = session.counted_size {
            self.evictable_by_all
                .remove(&(session.privileged, size, id));
            self.evictable_by_followers
                .remove(&(session.privileged, size, id));
        }
        true
    }

    fn touch(&mut self, id: i32, now_ms: i64) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        self.last_used.remove(&(session.last_used_ms, id));
        session.last_used_ms = now_ms;
        self.last_used.insert((now_ms, id));
        if let Some(size) = session.counted_size {
            self.evictable_by_all
                .remove(&(session.privileged, size, id));
            self.evictable_by_followers
                .remove(&(session.privileged, size, id));
        }
        let size = session.partitions.len();
        session.counted_size = Some(size);
        let value = (session.privileged, size, id);
        let is_old = now_ms - session.created_ms > self.eviction_ms;
        if is_old {
            self.evictable_by_all.insert(value);
        }
        if is_old || !session.privileged {
            self.evictable_by_followers.insert(value);
        }
    }
}

struct NewSession {
    privileged: bool,
    uses_topic_ids: bool,
    size: usize,
}

impl Session {
    fn update(&mut self, interests: &[Interest], forgotten: &[Forgotten]) {
        for interest in interests {
            let key = interest_key(interest);
            match self.partitions.get_mut(&key) {
                Some(cached) => {
                    let topic = cached
                        .interest
                        .topic
                        .take()
                        .or_else(|| interest.topic.clone());
                    cached.interest = Interest {
                        topic,
                        ..interest.clone()
                    };
                }
                None => self.partitions.push(Cached {
                    key,
                    interest: interest.clone(),
                    high_watermark: -1,
                    log_start_offset: -1,
                }),
            }
        }
        for gone in forgotten {
            self.partitions
                .remove(&key(gone.topic.as_ref(), gone.topic_id, gone.partition));
        }
    }

    fn interests(&mut self, resolve: impl Fn(Uuid) -> Option<ByteString>) -> Vec<Interest> {
        let mut interests = Vec::with_capacity(self.partitions.len());
        for cached in self.partitions.order.values_mut() {
            if cached.interest.topic.is_none() {
                cached.interest.topic = resolve(cached.interest.topic_id);
            }
            interests.push(cached.interest.clone());
        }
        interests
    }
}

/// What a new session remembers: each partition answered, as it was asked for and as it was answered.
fn remember<T>(
    interests: Vec<Interest>,
    answers: &[T],
    describe: impl Fn(&T) -> Answer<'_>,
) -> Partitions {
    let mut asked: HashMap<Key, Interest> = interests
        .into_iter()
        .map(|interest| (interest_key(&interest), interest))
        .collect();
    let mut partitions = Partitions::default();
    for item in answers {
        let answer = describe(item);
        let key = key(answer.topic, answer.topic_id, answer.partition);
        let Some(interest) = asked.remove(&key) else {
            continue;
        };
        partitions.push(Cached {
            key,
            interest,
            high_watermark: answer.high_watermark,
            log_start_offset: answer.log_start_offset,
        });
    }
    partitions
}

/// The last word on each partition, in the place of the first.
fn without_duplicates(interests: Vec<Interest>) -> Vec<Interest> {
    if interests.len() < 2 {
        return interests;
    }
    let mut places = HashMap::with_capacity(interests.len());
    let mut kept: Vec<Interest> = Vec::with_capacity(interests.len());
    for interest in interests {
        match places.entry(interest_key(&interest)) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let place: &usize = place.get();
                kept[*place] = interest;
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(interest);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Part {
        name: ByteString,
        partition: i32,
        bytes: usize,
        high_watermark: i64,
        error: bool,
    }

    fn part(partition: i32, bytes: usize, high_watermark: i64) -> Part {
        Part {
            name: "t".into(),
            partition,
            bytes,
            high_watermark,
            error: false,
        }
    }

    fn describe(part: &Part) -> Answer<'_> {
        Answer {
            topic: Some(&part.name),
            topic_id: Uuid::ZERO,
            partition: part.partition,
            has_records: part.bytes > 0,
            high_watermark: part.high_watermark,
            log_start_offset: 0,
            is_error: part.error,
            is_redirect: false,
        }
    }

    fn interest(partition: i32) -> Interest {
        Interest {
            topic: Some("t".into()),
            topic_id: Uuid::ZERO,
            partition,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 100,
        }
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> SessionRequest {
        SessionRequest {
            session_id,
            session_epoch,
            uses_topic_ids: false,
            is_follower: false,
            interests: partitions
                .iter()
                .map(|partition| interest(*partition))
                .collect(),
            forgotten: vec![],
        }
    }

    fn open_full(sessions: &mut FetchSessions, partitions: &[i32], id: i32, now_ms: i64) -> i32 {
        let context = sessions.open(request(0, 0, partitions), now_ms, |_| None);
        let mut answers: Vec<Part> = partitions.iter().map(|p| part(*p, 0, 10)).collect();
        sessions
            .close(context, &mut answers, describe, now_ms, || id)
            .session_id
    }

    fn partitions(context: &FetchContext) -> Vec<i32> {
        context
            .interests()
            .iter()
            .map(|interest| interest.partition)
            .collect()
    }

    #[test]
    fn an_incremental_answer_holds_only_news_and_rotates() {
        let mut sessions = FetchSessions::new(10, MIN_EVICTION_MS);
        let id = open_full(&mut sessions, &[0, 1, 2], 7, 0);
        assert_eq!(id, 7);

        let context = sessions.open(request(7, 1, &[]), 1, |_| None);
        assert_eq!(partitions(&context), [0, 1, 2]);
        let mut answers = vec![part(0, 5, 10), part(1, 0, 10), part(2, 0, 11)];
        let verdict = sessions.close(context, &mut answers, describe, 1, || 0);
        assert_eq!(
            verdict,
            Verdict {
                error: ErrorCode::None,
                session_id: 7
            }
        );
        let sent: Vec<i32> = answers.iter().map(|answer| answer.partition).collect();
        assert_eq!(sent, [0, 2]);

        let context = sessions.open(request(7, 2, &[]), 2, |_| None);
        assert_eq!(partitions(&context), [1, 2, 0]);
    }

    #[test]
    fn an_error_is_followed_by_a_full_word_on_the_partition() {
        let mut sessions = FetchSessions::new(10, MIN_EVICTION_MS);
        open_full(&mut sessions, &[0], 7, 0);
        for (epoch, error, expected) in [(1, true, 1), (2, false, 1), (3, false, 0)] {
            let context = sessions.open(request(7, epoch, &[]), 1, |_| None);
            let mut answers = vec![Part {
                error,
                ..part(0, 0, 10)
            }];
            sessions.close(context, &mut answers, describe, 1, || 0);
            assert_eq!(answers.len(), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn wrong_sessions_and_epochs_fail() {
        let mut sessions = FetchSessions::new(10, MIN_EVICTION_MS);
        open_full(&mut sessions, &[0], 7, 0);
        let failed = |context| match context {
            FetchContext::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        let unknown = sessions.open(request(8, 1, &[]), 1, |_| None);
        assert_eq!(failed(unknown), ErrorCode::FetchSessionIdNotFound);
        let early = sessions.open(request(7, 2, &[]), 1, |_| None);
        assert_eq!(failed(early), ErrorCode::InvalidFetchSessionEpoch);
        let mut ids = request(7, 1, &[]);
        ids.uses_topic_ids = true;
        let ids = sessions.open(ids, 1, |_| None);
        assert_eq!(failed(ids), ErrorCode::FetchSessionTopicIdError);
    }

    #[test]
    fn a_session_without_partitions_ends() {
        let mut sessions = FetchSessions::new(10, MIN_EVICTION_MS);
        open_full(&mut sessions, &[0], 7, 0);
        let mut last = request(7, 1, &[]);
        last.forgotten = vec![Forgotten {
            topic: Some("t".into()),
            topic_id: Uuid::ZERO,
            partition: 0,
        }];
        assert!(matches!(
            sessions.open(last, 1, |_| None),
            FetchContext::Sessionless(_)
        ));
        assert!(sessions.is_empty());
    }

    #[test]
    fn slots_go_to_whoever_is_worth_more() {
        let mut sessions = FetchSessions::new(1, 100);
        assert_eq!(open_full(&mut sessions, &[0, 1], 1, 0), 1);
        assert_eq!(
            open_full(&mut sessions, &[0, 1, 2], 2, 50),
            NO_SESSION,
            "too young"
        );
        sessions.open(request(1, 1, &[]), 101, |_| None);
        assert_eq!(
            open_full(&mut sessions, &[0], 3, 102),
            NO_SESSION,
            "smaller"
        );
        assert_eq!(open_full(&mut sessions, &[0, 1, 2], 4, 102), 4, "larger");
        assert_eq!(
            open_full(&mut sessions, &[0], 5, 203),
            5,
            "the other is stale"
        );
    }
}
