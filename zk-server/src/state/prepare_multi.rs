//! Pure: decides on a multi: all of its operations, or none.

use common::zk::code::{ErrorCode, OpCode};
use common::zk::multi::{MultiOp, MultiRequest};
use common::zk::txn::{ErrorTxn, MultiTxn, TxnBody};

use crate::state::prepare::Decision;

/// Decides on all operations under one zxid. If one fails, the changes of those before it are
/// taken back and the rest is not tried; the transaction then tells who failed, and is logged
/// as the real server logs it: the operations before the culprit as they would have been.
pub(super) fn decide(
    decision: &mut Decision<'_>,
    request: &MultiRequest,
) -> Result<TxnBody, ErrorCode> {
    if request.ops.iter().any(MultiOp::is_read) {
        return Err(ErrorCode::MarshallingError);
    }
    decision.db.pending.begin(&decision.db.tree);
    let mut txns = Vec::with_capacity(request.ops.len());
    let mut failed = false;
    for op in &request.ops {
        if failed {
            txns.push(error(ErrorCode::RuntimeInconsistency));
            continue;
        }
        match decide_one(decision, op) {
            Ok(body) => txns.push((op.op(), body)),
            // The real server trips over this one, and the multi as a whole is malformed.
            Err(ErrorCode::MarshallingError) => {
                decision.db.pending.roll_back();
                return Err(ErrorCode::MarshallingError);
            }
            Err(code) => {
                failed = true;
                decision.db.pending.roll_back();
                txns.push(error(code));
            }
        }
    }
    decision.db.pending.keep();
    Ok(TxnBody::Multi(MultiTxn { txns }))
}

fn error(code: ErrorCode) -> (OpCode, TxnBody) {
    (OpCode::Error, TxnBody::Error(ErrorTxn { err: code.code() }))
}

fn decide_one(decision: &mut Decision<'_>, op: &MultiOp) -> Result<TxnBody, ErrorCode> {
    match op {
        MultiOp::Create(r) => decision.create(OpCode::Create, r),
        MultiOp::Create2(r) => decision.create(OpCode::Create2, r),
        MultiOp::CreateContainer(r) => decision.create(OpCode::CreateContainer, r),
        MultiOp::CreateTtl(r) => decision.create_ttl(r),
        MultiOp::Delete(r) => decision.delete(r),
        MultiOp::SetData(r) => decision.set_data(r),
        MultiOp::Check(r) => decision.check(r),
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(ErrorCode::MarshallingError),
    }
}
