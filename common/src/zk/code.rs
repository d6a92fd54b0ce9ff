//! Pure: operation and error codes (`ZooDefs.java`, `KeeperException.java`).

/// Declares a C-like enum over the wire's ints.
macro_rules! codes {
    ($(#[$meta:meta])* pub enum $name:ident {
        $( $(#[$variant_meta:meta])* $variant:ident = $value:literal $text:literal ),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$variant_meta])* $variant = $value ),* }

        impl $name {
            /// Every code there is.
            pub const ALL: &'static [$name] = &[ $( $name::$variant ),* ];

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> i32 {
                self as i32
            }

            /// What a code on the wire means, if anything.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $( $value => Some($name::$variant), )*
                    _ => None,
                }
            }

            /// The name that ZooKeeper prints.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( $name::$variant => $text ),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

codes! {
    /// What a request or a logged transaction does.
    pub enum OpCode {
        /// A watch event.
        Notification = 0 "notification",
        /// Create a node.
        Create = 1 "create",
        /// Delete a node.
        Delete = 2 "delete",
        /// Look whether a node exists.
        Exists = 3 "exists",
        /// Read data.
        GetData = 4 "getData",
        /// Write data.
        SetData = 5 "setData",
        /// Read an ACL.
        GetAcl = 6 "getACL",
        /// Write an ACL.
        SetAcl = 7 "setACL",
        /// List children.
        GetChildren = 8 "getChildren",
        /// Catch up with the leader.
        Sync = 9 "sync",
        /// Keep a session alive.
        Ping = 11 "ping",
        /// List children, with the stat.
        GetChildren2 = 12 "getChildren2",
        /// Compare a version.
        Check = 13 "check",
        /// Several writes or none.
        Multi = 14 "multi",
        /// Create a node, answer with its stat.
        Create2 = 15 "create2",
        /// Change the ensemble.
        Reconfig = 16 "reconfig",
        /// Ask whether a watch is there.
        CheckWatches = 17 "checkWatches",
        /// Take watches off.
        RemoveWatches = 18 "removeWatches",
        /// Create a node that goes when its last child went.
        CreateContainer = 19 "createContainer",
        /// The server's own removal of an empty container or outdated TTL node.
        DeleteContainer = 20 "deleteContainer",
        /// Create a node with a time to live.
        CreateTtl = 21 "createTTL",
        /// Several reads.
        MultiRead = 22 "multiRead",
        /// Authenticate.
        Auth = 100 "auth",
        /// Set watches again after a reconnect.
        SetWatches = 101 "setWatches",
        /// A step of a SASL exchange.
        Sasl = 102 "sasl",
        /// List this session's ephemeral nodes.
        GetEphemerals = 103 "getEphemerals",
        /// Count a node's descendants.
        GetAllChildrenNumber = 104 "getAllChildrenNumber",
        /// Set watches again after a reconnect, persistent ones too.
        SetWatches2 = 105 "setWatches2",
        /// Add a persistent watch.
        AddWatch = 106 "addWatch",
        /// Tell this connection's identities.
        WhoAmI = 107 "whoAmI",
        /// A failed operation or transaction.
        Error = -1 "error",
        /// A session begins.
        CreateSession = -10 "createSession",
        /// A session ends.
        CloseSession = -11 "closeSession",
    }
}

codes! {
    /// Why an operation failed; 0 if it did not.
    pub enum ErrorCode {
        /// No error.
        Ok = 0 "ok",
        /// Something is wrong in the server.
        SystemError = -1 "SystemError",
        /// Something was found that cannot be; in a multi: an operation after the one that failed.
        RuntimeInconsistency = -2 "RuntimeInconsistency",
        /// Data is not what it must be.
        DataInconsistency = -3 "DataInconsistency",
        /// The connection went away; nobody knows whether the operation took place.
        ConnectionLoss = -4 "ConnectionLoss",
        /// The request could not be read.
        MarshallingError = -5 "MarshallingError",
        /// The server does not have this operation.
        Unimplemented = -6 "Unimplemented",
        /// Too late.
        OperationTimeout = -7 "OperationTimeout",
        /// Arguments that cannot be.
        BadArguments = -8 "BadArguments",
        /// The session is not known.
        UnknownSession = -12 "Unknown error UNKNOWNSESSION",
        /// The new ensemble has no quorum in touch with the leader.
        NewConfigNoQuorum = -13 "NewConfigNoQuorum",
        /// Another reconfiguration goes on.
        ReconfigInProgress = -14 "ReconfigInProgress",
        /// Not used by the server.
        ApiError = -100 "APIError",
        /// No such node.
        NoNode = -101 "NoNode",
        /// Not allowed.
        NoAuth = -102 "NoAuth",
        /// Another version than the one expected.
        BadVersion = -103 "BadVersion",
        /// An ephemeral node has no children.
        NoChildrenForEphemerals = -108 "NoChildrenForEphemerals",
        /// The node is already there.
        NodeExists = -110 "NodeExists",
        /// The node has children.
        NotEmpty = -111 "Directory not empty",
        /// The server has ended the session.
        SessionExpired = -112 "Session expired",
        /// Not used by the server.
        InvalidCallback = -113 "Invalid callback",
        /// An ACL that cannot be.
        InvalidAcl = -114 "InvalidACL",
        /// Authentication failed.
        AuthFailed = -115 "AuthFailed",
        /// The session went on at another server.
        SessionMoved = -118 "Session moved",
        /// A write to a server that only reads.
        NotReadOnly = -119 "Not a read-only call",
        /// An ephemeral node of a session that only one server knows.
        EphemeralOnLocalSession = -120 "Ephemeral node on local session",
        /// No such watch.
        NoWatcher = -121 "No such watcher",
        /// Too late.
        RequestTimeout = -122 "Unknown error REQUESTTIMEOUT",
        /// Reconfiguration is switched off.
        ReconfigDisabled = -123 "Reconfig is disabled",
        /// The session was ended for want of SASL authentication.
        SessionClosedRequireSaslAuth = -124
            "Session closed because client failed to authenticate",
        /// Over the quota.
        QuotaExceeded = -125 "Quota has exceeded",
        /// The server had too much to do, and did nothing.
        ThrottledOp = -127 "Op throttled due to high load",
    }
}

impl OpCode {
    /// Whether a logged transaction or a request of this type changes the tree.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Create2
                | Self::CreateContainer
                | Self::CreateTtl
                | Self::Delete
                | Self::DeleteContainer
                | Self::SetData
                | Self::SetAcl
                | Self::Check
                | Self::Multi
                | Self::Reconfig
                | Self::CreateSession
                | Self::CloseSession
        )
    }
}
