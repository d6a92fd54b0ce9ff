//! Pure: questions to one transaction coordinator, while an earlier request to it is under way (`AddPartitionsToTxnManager.scala`).
//!
//! One request is under way at a time; what comes meanwhile goes out together with the next one. A request can hold one
//! question about a transactional id, so a newer one takes the place of an older one, unless its epoch is lower.

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

/// Whether partitions are part of a producer's open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Topics and partitions.
    pub partitions: Vec<(ByteString, i32)>,
}

/// Questions and who asked them.
#[derive(Debug)]
pub struct VerificationQueue<T> {
    waiting: Vec<(Question, T)>,
    is_under_way: bool,
}

impl<T> Default for VerificationQueue<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            is_under_way: false,
        }
    }
}

impl<T> VerificationQueue<T> {
    /// Adds a question. If two would be about one transactional id, answers the one that is refused, and why.
    pub fn add(&mut self, question: Question, asker: T) -> Option<(T, ErrorCode)> {
        let same = |(known, _): &(Question, T)| known.transactional_id == question.transactional_id;
        let Some(place) = self.waiting.iter().position(same) else {
            self.waiting.push((question, asker));
            return None;
        };
        let known_epoch = self.waiting[place].0.producer_epoch;
        if known_epoch > question.producer_epoch {
            return Some((asker, ErrorCode::InvalidProducerEpoch));
        }
        let error = if known_epoch < question.producer_epoch {
            ErrorCode::InvalidProducerEpoch
        } else {
            // The producer sent the batch again: the first try is to look like a lost connection.
            ErrorCode::NetworkException
        };
        let (_, replaced) = std::mem::replace(&mut self.waiting[place], (question, asker));
        Some((replaced, error))
    }

    /// What goes into the next request, if one may be sent; it is under way from now on.
    pub fn take_next(&mut self) -> Option<Vec<(Question, T)>> {
        if self.is_under_way || self.waiting.is_empty() {
            return None;
        }
        self.is_under_way = true;
        Some(std::mem::take(&mut self.waiting))
    }

    /// The request under way has ended.
    pub fn done(&mut self) {
        self.is_under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, epoch: i16) -> Question {
        Question {
            transactional_id: id.into(),
            producer_id: 1,
            producer_epoch: epoch,
            partitions: vec![("t".into(), 0)],
        }
    }

    #[test]
    fn questions_wait_for_the_request_under_way() {
        let mut queue = VerificationQueue::default();
        assert!(queue.take_next().is_none());
        queue.add(question("a", 0), 1);
        queue.add(question("b", 0), 2);
        assert_eq!(queue.take_next().unwrap().len(), 2);
        queue.add(question("a", 0), 3);
        assert!(queue.take_next().is_none());
        queue.done();
        assert_eq!(queue.take_next().unwrap(), [(question("a", 0), 3)]);
    }

    #[test]
    fn one_question_for_each_transactional_id() {
        let mut queue = VerificationQueue::default();
        assert_eq!(queue.add(question("a", 3), 1), None);
        assert_eq!(
            queue.add(question("a", 2), 2),
            Some((2, ErrorCode::InvalidProducerEpoch))
        );
        assert_eq!(
            queue.add(question("a", 3), 3),
            Some((1, ErrorCode::NetworkException))
        );
        assert_eq!(
            queue.add(question("a", 4), 4),
            Some((3, ErrorCode::InvalidProducerEpoch))
        );
        assert_eq!(queue.take_next().unwrap(), [(question("a", 4), 4)]);
    }
}
