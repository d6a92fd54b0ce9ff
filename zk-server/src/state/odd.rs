//! Pure: what becomes of requests that no client library sends: records that are cut off, and
//! records that hold null where something must be.
//!
//! Apache's server reads nulls without a word and trips over them later, each time at another
//! place, so that the answer depends on how far it got. Only requests that do not decode, or that
//! decode with a null in them, come here.

use bytes::Bytes;
use bytestring::ByteString;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::data::{Acl, Id};
use common::zk::jute::{JuteError, Reader};
use common::zk::multi::{MultiHeader, MultiOp, MultiRequest};
use common::zk::request::{
    AddWatchRequest, CreateMode, CreateRequest, CreateTtlRequest, PathRequest, Request,
    SetAclRequest, SetWatches2,
};

use crate::state::permission::NULL_ID;
use crate::state::prepare;
use crate::state::znode::ExtendedTypes;

/// A null string as an answer's record.
const NULL: &[u8] = &[0xff; 4];

/// What a request comes to after all.
#[derive(Debug, PartialEq, Eq)]
pub enum Odd {
    /// The real server takes it as this.
    Request(Request),
    /// A write that fails; the failure is logged under a zxid.
    Failed(ErrorCode),
    /// It is answered in its turn, and nothing is logged.
    Answer(OddAnswer),
    /// The same, and a zxid is lost.
    AnswerAndGap(OddAnswer),
}

/// An answer that is not what its operation's answers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddAnswer {
    /// A read that is done first.
    pub first: Option<Request>,
    /// Whether the record of that read's answer goes out.
    pub keep: bool,
    /// The error in the header.
    pub error: ErrorCode,
    /// A record of its own.
    pub record: &'static [u8],
}

impl OddAnswer {
    /// The answer to what cannot be read.
    pub const MALFORMED: Self = Self {
        first: None,
        keep: false,
        error: ErrorCode::MarshallingError,
        record: &[],
    };

    /// Does a part and then fails.
    fn after(first: Request, keep: bool) -> Self {
        Self {
            first: Some(first),
            keep,
            ..Self::MALFORMED
        }
    }
}

/// Looks again at a request of type `op` whose record begins where `reader` is. `extended` tells
/// whether znodes may have a time to live.
pub fn look_again(op: OpCode, reader: &mut Reader, extended: ExtendedTypes) -> Odd {
    match again(op, reader, extended) {
        Ok(odd) => odd,
        // The real server reads this one before it takes a zxid.
        Err(_) if op.is_write() && op != OpCode::Reconfig => {
            Odd::Failed(ErrorCode::MarshallingError)
        }
        Err(_) => Odd::Answer(OddAnswer::MALFORMED),
    }
}

fn again(op: OpCode, reader: &mut Reader, extended: ExtendedTypes) -> Result<Odd, JuteError> {
    Ok(match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
            let create = NullableCreate::read(reader)?;
            match create.request() {
                Some(request) => Odd::Request(match op {
                    OpCode::Create => Request::Create(request),
                    OpCode::Create2 => Request::Create2(request),
                    _ => Request::CreateContainer(request),
                }),
                None => without_path(create.flags, -1, extended),
            }
        }
        OpCode::CreateTtl => {
            let create = NullableCreate::read(reader)?;
            let ttl_ms = reader.read()?;
            match create.request_with_ttl(ttl_ms) {
                Some(request) => Odd::Request(Request::CreateTtl(request)),
                None => without_path(create.flags, ttl_ms, extended),
            }
        }
        OpCode::SetAcl => {
            let path = reader.read::<Option<ByteString>>()?;
            let acl = nullable_acl(reader)?.unwrap_or_default();
            let version = reader.read()?;
            match path {
                Some(path) => Odd::Request(Request::SetAcl(SetAclRequest { path, acl, version })),
                None => Odd::Failed(ErrorCode::BadArguments),
            }
        }
        OpCode::SetData => {
            let _path = reader.read::<Option<ByteString>>()?;
            let _data = reader.read::<Option<Bytes>>()?;
            reader.read::<i32>()?;
            Odd::Failed(ErrorCode::BadArguments)
        }
        OpCode::Check => {
            let _path = reader.read::<Option<ByteString>>()?;
            reader.read::<i32>()?;
            Odd::Failed(ErrorCode::BadArguments)
        }
        OpCode::Sync => {
            let _path = reader.read::<Option<ByteString>>()?;
            Odd::Answer(OddAnswer {
                error: ErrorCode::Ok,
                record: NULL,
                ..OddAnswer::MALFORMED
            })
        }
        OpCode::GetEphemerals => {
            let path = reader.read::<Option<ByteString>>()?.unwrap_or_default();
            Odd::Request(Request::GetEphemerals(PathRequest { path }))
        }
        OpCode::AddWatch => {
            let path = reader.read::<Option<ByteString>>()?.unwrap_or_default();
            let mode = reader.read()?;
            Odd::Request(Request::AddWatch(AddWatchRequest { path, mode }))
        }
        OpCode::SetWatches | OpCode::SetWatches2 => set_watches(op, reader)?,
        OpCode::Multi => multi(reader)?,
        OpCode::MultiRead => multi_read(reader)?,
        _ => return Err(JuteError::NullString),
    })
}

/// A create whose parts may be null.
struct NullableCreate {
    path: Option<ByteString>,
    data: Option<Bytes>,
    acl: Option<Vec<Acl>>,
    flags: i32,
}

impl NullableCreate {
    fn read(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(Self {
            path: reader.read()?,
            data: reader.read()?,
            acl: nullable_acl(reader)?,
            flags: reader.read()?,
        })
    }

    fn request(&self) -> Option<CreateRequest> {
        Some(CreateRequest {
            path: self.path.clone()?,
            data: self.data.clone(),
            acl: self.acl.clone().unwrap_or_default(),
            flags: self.flags,
        })
    }

    fn request_with_ttl(&self, ttl_ms: i64) -> Option<CreateTtlRequest> {
        let CreateRequest {
            path,
            data,
            acl,
            flags,
        } = self.request()?;
        Some(CreateTtlRequest {
            path,
            data,
            acl,
            flags,
            ttl_ms,
        })
    }
}

/// A create without a path fails by its flags, if they are wrong too.
fn without_path(flags: i32, ttl_ms: i64, extended: ExtendedTypes) -> Odd {
    let mode = CreateMode::from_flags(flags).ok_or(ErrorCode::BadArguments);
    let checked = mode.and_then(|mode| prepare::check_mode(mode, ttl_ms, extended));
    Odd::Failed(checked.err().unwrap_or(ErrorCode::MarshallingError))
}

/// An ACL in which ids that are null stand as [`NULL_ID`].
fn nullable_acl(reader: &mut Reader) -> Result<Option<Vec<Acl>>, JuteError> {
    let count = reader.read::<i32>()?;
    if count == -1 {
        return Ok(None);
    }
    let mut acl = Vec::new();
    for _ in 0..count {
        let perms = reader.read()?;
        let scheme = reader.read::<Option<ByteString>>()?.unwrap_or_default();
        let id = reader.read::<Option<ByteString>>()?;
        let id = id.unwrap_or(ByteString::from_static(NULL_ID));
        acl.push(Acl::new(perms, Id { scheme, id }));
    }
    Ok(Some(acl))
}

/// Sets the watches up to the first null.
fn set_watches(op: OpCode, reader: &mut Reader) -> Result<Odd, JuteError> {
    let relative_zxid = reader.read()?;
    let count = if op == OpCode::SetWatches { 3 } else { 5 };
    let mut lists: [Vec<ByteString>; 5] = Default::default();
    let mut stopped = false;
    for (number, list) in lists.iter_mut().enumerate().take(count) {
        let length = reader.read::<i32>()?;
        let mut paths = Vec::new();
        let mut whole = length != -1;
        for _ in 0..length.max(0) {
            match reader.read::<Option<ByteString>>()? {
                Some(path) => {
                    if whole {
                        paths.push(path);
                    }
                }
                // A lasting watch needs no znode, so nothing is looked up by its path.
                None if number >= 3 => paths.push(ByteString::new()),
                None => whole = false,
            }
        }
        if !stopped {
            *list = paths;
        }
        stopped |= !whole;
    }
    let [data, exist, child, persistent, persistent_recursive] = lists;
    let request = Request::SetWatches2(SetWatches2 {
        relative_zxid,
        data,
        exist,
        child,
        persistent,
        persistent_recursive,
    });
    Ok(if stopped {
        Odd::Answer(OddAnswer::after(request, false))
    } else {
        Odd::Request(request)
    })
}

/// One operation of a multi.
enum NullableOp {
    Op(MultiOp),
    /// Its path is null; whether it is a read.
    WithoutPath(bool),
    /// Its ACL is null, which ends the reading.
    WithoutAcl,
}

fn multi_op(kind: i32, reader: &mut Reader) -> Result<NullableOp, JuteError> {
    let op = OpCode::from_code(kind);
    let start = reader.position();
    let path_is_null = |reader: &mut Reader| -> Result<bool, JuteError> {
        Ok(reader.read::<Option<ByteString>>()?.is_none())
    };
    match op {
        Some(OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
            let mut create = NullableCreate::read(reader)?;
            let ttl = op == Some(OpCode::CreateTtl);
            let ttl_ms = if ttl { Some(reader.read()?) } else { None };
            if !ttl && CreateMode::from_flags(create.flags).is_none() {
                return Err(JuteError::CreateFlags(create.flags));
            }
            if !ttl && create.acl.is_none() {
                return Ok(NullableOp::WithoutAcl);
            }
            let Some(path) = create.path.take() else {
                return Ok(NullableOp::WithoutPath(false));
            };
            MultiOp::from_create(
                kind,
                path,
                create.data,
                create.acl.unwrap_or_default(),
                create.flags,
                ttl_ms,
            )
            .map(NullableOp::Op)
        }
        Some(OpCode::Delete | OpCode::Check) if path_is_null(reader)? => {
            reader.read::<i32>()?;
            Ok(NullableOp::WithoutPath(false))
        }
        Some(OpCode::SetData) if path_is_null(reader)? => {
            reader.read::<Option<Bytes>>()?;
            reader.read::<i32>()?;
            Ok(NullableOp::WithoutPath(false))
        }
        Some(OpCode::GetData | OpCode::GetChildren) if path_is_null(reader)? => {
            reader.read::<bool>()?;
            Ok(NullableOp::WithoutPath(true))
        }
        _ => {
            reader.rewind(start);
            MultiOp::decode(kind, reader).map(NullableOp::Op)
        }
    }
}

/// The operations of a multi, none if one has a null ACL, behind which nothing is read.
fn multi_ops(reader: &mut Reader) -> Result<Option<Vec<NullableOp>>, JuteError> {
    let mut ops = Vec::new();
    let mut kind = None;
    loop {
        let header: MultiHeader = reader.read()?;
        if header.done {
            return Ok(Some(ops));
        }
        let op = multi_op(header.kind, reader)?;
        let is_read = match &op {
            NullableOp::WithoutAcl => return Ok(None),
            NullableOp::WithoutPath(is_read) => *is_read,
            NullableOp::Op(op) => op.is_read(),
        };
        if *kind.get_or_insert(is_read) != is_read {
            return Err(JuteError::MixedMulti);
        }
        ops.push(op);
    }
}

/// A multi that is malformed before the real server has taken a zxid, or after it has but before
/// the zxid was put into a transaction; its answer holds no results.
fn multi(reader: &mut Reader) -> Result<Odd, JuteError> {
    let empty = || OddAnswer::after(Request::MultiRead(MultiRequest::default()), true);
    let mut ops: Vec<MultiOp> = Vec::new();
    let mut without_path = false;
    let Some(nullable) = multi_ops(reader)? else {
        return Ok(Odd::Answer(empty()));
    };
    for op in nullable {
        match op {
            NullableOp::Op(op) => ops.push(op),
            _ => without_path = true,
        }
    }
    Ok(if without_path {
        Odd::AnswerAndGap(empty())
    } else {
        Odd::Request(Request::Multi(MultiRequest { ops }))
    })
}

/// Reads up to the first null; the results until then go out with the error.
fn multi_read(reader: &mut Reader) -> Result<Odd, JuteError> {
    let mut ops = Vec::new();
    let mut stopped = false;
    let Some(nullable) = multi_ops(reader)? else {
        return Ok(Odd::Answer(OddAnswer::MALFORMED));
    };
    for op in nullable {
        match op {
            NullableOp::Op(op) if !stopped && op.is_read() => ops.push(op),
            NullableOp::Op(op) if op.is_read() => {}
            _ => stopped = true,
        }
    }
    let request = Request::MultiRead(MultiRequest { ops });
    Ok(if stopped {
        Odd::Answer(OddAnswer::after(request, true))
    } else {
        Odd::Request(request)
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use common::zk::jute::Record;

    use super::*;

    fn odd(op: OpCode, put: impl FnOnce(&mut BytesMut)) -> Odd {
        let mut out = BytesMut::new();
        put(&mut out);
        look_again(op, &mut Reader::new(out.freeze()), ExtendedTypes::Off)
    }

    #[test]
    fn a_null_path_fails_where_the_real_server_trips() {
        let null = |out: &mut BytesMut| {
            None::<Bytes>.encode(out);
            out.extend_from_slice(&[0; 40]);
        };
        assert_eq!(
            odd(OpCode::Delete, null),
            Odd::Failed(ErrorCode::MarshallingError)
        );
        assert_eq!(
            odd(OpCode::SetData, null),
            Odd::Failed(ErrorCode::BadArguments)
        );
        assert_eq!(
            odd(OpCode::Create, null),
            Odd::Failed(ErrorCode::MarshallingError)
        );
        assert_eq!(
            odd(OpCode::GetData, null),
            Odd::Answer(OddAnswer::MALFORMED)
        );
    }

    #[test]
    fn watches_before_a_null_are_set() {
        let answer = odd(OpCode::SetWatches, |out| {
            7_i64.encode(out);
            vec![ByteString::from("/a")].encode(out);
            out.extend_from_slice(NULL);
            vec![ByteString::from("/b")].encode(out);
        });
        let request = Request::SetWatches2(SetWatches2 {
            relative_zxid: 7,
            data: vec!["/a".into()],
            ..SetWatches2::default()
        });
        assert_eq!(answer, Odd::Answer(OddAnswer::after(request, false)));
    }

    #[test]
    fn cut_off_records_are_malformed() {
        assert_eq!(
            odd(OpCode::Multi, |_| {}),
            Odd::Failed(ErrorCode::MarshallingError)
        );
        assert_eq!(
            odd(OpCode::Reconfig, |_| {}),
            Odd::Answer(OddAnswer::MALFORMED)
        );
    }
}
