//! Shell: requests that no client library sends, answered as Apache's server answers them.

use common::zk::code::{ErrorCode, OpCode};
use common::zk::jute::Reader as JuteReader;
use common::zk::request::RequestHeader;

use crate::pipeline::commit::Commit;
use crate::pipeline::reply;
use crate::pipeline::run::Pipeline;
use crate::state::odd::{self, Odd, OddAnswer};
use crate::state::request::WriteBody;
use crate::state::watches::ConnectionId;

/// Bytes of a request's header.
const HEADER_BYTES: usize = 8;

impl<C: Commit> Pipeline<C> {
    /// Takes a request that does not decode, or holds a null where something must be.
    pub(super) fn odd(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        op: OpCode,
        reader: &mut JuteReader,
        now: i64,
    ) {
        reader.rewind(HEADER_BYTES);
        let xid = header.xid;
        if op == OpCode::CreateSession {
            let body = match reader.read::<i32>() {
                Ok(timeout_ms) => WriteBody::CreateSession(timeout_ms),
                Err(_) => WriteBody::Failed(op, ErrorCode::MarshallingError),
            };
            return self.write(id, xid, op, body, now);
        }
        let extended = self.db.options.tree.extended_types;
        match odd::look_again(op, reader, extended) {
            Odd::Request(request) if op.is_write() => {
                self.write(id, xid, op, WriteBody::Client(request), now);
            }
            Odd::Request(request) => self.enqueue_read(id, xid, op, Ok(request), now),
            Odd::Failed(error) => self.write(id, xid, op, WriteBody::Failed(op, error), now),
            Odd::Answer(answer) => self.enqueue_read(id, xid, op, Err(Box::new(answer)), now),
            Odd::AnswerAndGap(answer) => {
                self.db.next_zxid();
                self.enqueue_read(id, xid, op, Err(Box::new(answer)), now);
            }
        }
    }

    /// Completes the reply that begins at `start` in what the client is sent. Returns its length.
    pub(super) fn put_odd_answer(
        &mut self,
        id: ConnectionId,
        start: usize,
        answer: &OddAnswer,
    ) -> u64 {
        let Some(begun) = self.clients.get(id).map(|client| client.out.len()) else {
            return 0;
        };
        if let Some(first) = &answer.first {
            // What fails in it is not what the client is told.
            let _ = self.read(id, first);
        }
        let Some(client) = self.clients.get_mut(id) else {
            return 0;
        };
        if !answer.keep {
            client.out.truncate(begun);
        }
        client.out.extend_from_slice(answer.record);
        reply::end_odd_reply(start, answer.error, &mut client.out)
    }
}
