//! Pure: identities, ACLs and stats (`zookeeper.jute`, module `org.apache.zookeeper.data`).

use bytes::BytesMut;
use bytestring::ByteString;

use crate::zk::jute::{JuteError, Reader, Record, records};

/// What an ACL entry allows (`ZooDefs.Perms`).
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 1 << 1;
    /// Create children.
    pub const CREATE: i32 = 1 << 2;
    /// Delete children.
    pub const DELETE: i32 = 1 << 3;
    /// Set the ACL.
    pub const ADMIN: i32 = 1 << 4;
    /// All of them.
    pub const ALL: i32 = READ | WRITE | CREATE | DELETE | ADMIN;
}

/// Who: an identity of an authentication scheme. Null parts read as empty, which no scheme
/// accepts either; the reader notes a null id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Id {
    /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl`, ...
    pub scheme: ByteString,
    /// The scheme's name for it, such as `anyone` or `user:hash`.
    pub id: ByteString,
}

impl Id {
    /// An identity of `scheme`.
    pub fn new(scheme: impl Into<ByteString>, id: impl Into<ByteString>) -> Self {
        Self {
            scheme: scheme.into(),
            id: id.into(),
        }
    }

    /// `world:anyone`.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            scheme: ByteString::from_static("world"),
            id: ByteString::from_static("anyone"),
        }
    }

    /// `auth:`, which a server replaces by the client's own identities.
    #[must_use]
    pub fn creator() -> Self {
        Self {
            scheme: ByteString::from_static("auth"),
            id: ByteString::new(),
        }
    }
}

impl Record for Id {
    const MIN_BYTES: usize = 8;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let scheme = reader.read::<Option<ByteString>>()?.unwrap_or_default();
        let id = reader.read::<Option<ByteString>>()?;
        if id.is_none() {
            reader.note_null();
        }
        Ok(Self {
            scheme,
            id: id.unwrap_or_default(),
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        self.scheme.encode(out);
        self.id.encode(out);
    }
}

/// One entry of an ACL: what somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    /// Who.
    pub id: Id,
}

impl Acl {
    /// An entry that gives `id` the bits `perms`.
    #[must_use]
    pub fn new(perms: i32, id: Id) -> Self {
        Self { perms, id }
    }

    /// `world:anyone` may do everything (`ZooDefs.Ids.OPEN_ACL_UNSAFE`).
    #[must_use]
    pub fn open() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, Id::anyone())]
    }

    /// `world:anyone` may read (`ZooDefs.Ids.READ_ACL_UNSAFE`).
    #[must_use]
    pub fn read_only() -> Vec<Acl> {
        vec![Acl::new(perms::READ, Id::anyone())]
    }

    /// The creator's identities may do everything (`ZooDefs.Ids.CREATOR_ALL_ACL`).
    #[must_use]
    pub fn creator_all() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, Id::creator())]
    }
}

impl Record for Acl {
    const MIN_BYTES: usize = 4 + Id::MIN_BYTES;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(Self {
            perms: reader.read()?,
            id: reader.read()?,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        self.perms.encode(out);
        self.id.encode(out);
    }
}

records! {
    /// What clients are told of a node.
    #[derive(Copy)]
    pub struct Stat {
        /// Zxid that created it.
        pub czxid: i64,
        /// Zxid that last set its data.
        pub mzxid: i64,
        /// When it was created, wall clock in ms.
        pub ctime: i64,
        /// When its data was last set, wall clock in ms.
        pub mtime: i64,
        /// How often its data was set.
        pub version: i32,
        /// How often its children changed.
        pub cversion: i32,
        /// How often its ACL was set.
        pub aversion: i32,
        /// The owning session, or the mark of a container or TTL node; 0 if persistent.
        pub ephemeral_owner: i64,
        /// Bytes of data.
        pub data_length: i32,
        /// Number of children.
        pub num_children: i32,
        /// Zxid that last created or deleted a child.
        pub pzxid: i64,
    }

    /// What a server keeps of a node on disk: a [`Stat`] without what can be counted.
    #[derive(Copy)]
    pub struct StatPersisted {
        /// Zxid that created it.
        pub czxid: i64,
        /// Zxid that last set its data.
        pub mzxid: i64,
        /// When it was created, wall clock in ms.
        pub ctime: i64,
        /// When its data was last set, wall clock in ms.
        pub mtime: i64,
        /// How often its data was set.
        pub version: i32,
        /// How often children were created.
        pub cversion: i32,
        /// How often its ACL was set.
        pub aversion: i32,
        /// The owning session, or the mark of a container or TTL node; 0 if persistent.
        pub ephemeral_owner: i64,
        /// Zxid that last created or deleted a child.
        pub pzxid: i64,
    }

    /// One identity of a connection, as whoAmI tells it.
    pub struct ClientInfo {
        /// The authentication scheme.
        pub auth_scheme: ByteString,
        /// The user, or what the scheme has instead (an address for `ip`).
        pub user: ByteString,
    }
}
