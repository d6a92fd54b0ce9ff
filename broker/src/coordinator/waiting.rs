//! Shell: requests that wait for an answer, by the ticket that stands for each of them in the pure
//! state machines.

use std::collections::HashMap;

use tokio::sync::oneshot;

/// Stands for a request that waits for its answer; never given out twice by one [`Waiting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Those who wait for answers of one kind.
#[derive(Debug)]
pub struct Waiting<R> {
    next: u64,
    senders: HashMap<Ticket, oneshot::Sender<R>>,
}

impl<R> Default for Waiting<R> {
    fn default() -> Self {
        Waiting {
            next: 0,
            senders: HashMap::new(),
        }
    }
}

impl<R> Waiting<R> {
    /// One more waits.
    pub fn enter(&mut self) -> (Ticket, oneshot::Receiver<R>) {
        let ticket = Ticket(self.next);
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        self.senders.insert(ticket, sender);
        (ticket, receiver)
    }

    /// Answers, if somebody still waits with this ticket.
    pub fn answer(&mut self, ticket: Ticket, reply: R) {
        if let Some(sender) = self.senders.remove(&ticket) {
            // Nobody listens any more if the connection is gone.
            let _ = sender.send(reply);
        }
    }

    /// Forgets a ticket: its request turned out to need no late answer.
    pub fn leave(&mut self, ticket: Ticket) {
        self.senders.remove(&ticket);
    }
}
