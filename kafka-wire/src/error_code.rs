//! Pure: Kafka's error codes with their names, exceptions and default texts
//! (`common/protocol/Errors.java`).
//!
//! The texts travel in responses and are printed by clients, so they are Kafka's.

use std::fmt;

macro_rules! error_codes {
    ($($variant:ident $code:literal $name:literal $exception:literal $retriable:literal
        $text:literal;)*) => {
        /// A Kafka error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $name, "` (", $code, ")")]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// The error with this code, if 3.7.1 knows it.
            #[must_use]
            pub fn known(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The constant's name, e.g. `TOPIC_ALREADY_EXISTS`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The simple name of the Java exception; empty for no error.
            #[must_use]
            pub fn exception(self) -> &'static str {
                match self {
                    $(Self::$variant => $exception,)*
                }
            }

            /// Whether a client may try again without a change of its request.
            #[must_use]
            pub fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => $retriable,)*
                }
            }

            /// The text that Kafka sends or prints unless a better one is known.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The error with this code; like Kafka, one that is not known is `UnknownServerError`.
    #[must_use]
    pub fn from_code(code: i16) -> Self {
        Self::known(code).unwrap_or(Self::UnknownServerError)
    }

    /// Whether this is success.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::None
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

error_codes! {
    UnknownServerError -1 "UNKNOWN_SERVER_ERROR" "UnknownServerException" false
        "The server experienced an unexpected error when processing the request.";
    None 0 "NONE" "" false
        "";
    OffsetOutOfRange 1 "OFFSET_OUT_OF_RANGE" "OffsetOutOfRangeException" false
        "The requested offset is not within the range of offsets maintained by the server.";
    CorruptMessage 2 "CORRUPT_MESSAGE" "CorruptRecordException" true
        "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.";
    UnknownTopicOrPartition 3 "UNKNOWN_TOPIC_OR_PARTITION" "UnknownTopicOrPartitionException" true
        "This server does not host this topic-partition.";
    InvalidFetchSize 4 "INVALID_FETCH_SIZE" "InvalidFetchSizeException" false
        "The requested fetch size is invalid.";
    LeaderNotAvailable 5 "LEADER_NOT_AVAILABLE" "LeaderNotAvailableException" true
        "There is no leader for this topic-partition as we are in the middle of a leadership election.";
    NotLeaderOrFollower 6 "NOT_LEADER_OR_FOLLOWER" "NotLeaderOrFollowerException" true
        "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.";
    RequestTimedOut 7 "REQUEST_TIMED_OUT" "TimeoutException" true
        "The request timed out.";
    BrokerNotAvailable 8 "BROKER_NOT_AVAILABLE" "BrokerNotAvailableException" false
        "The broker is not available.";
    ReplicaNotAvailable 9 "REPLICA_NOT_AVAILABLE" "ReplicaNotAvailableException" true
        "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.";
    MessageTooLarge 10 "MESSAGE_TOO_LARGE" "RecordTooLargeException" false
        "The request included a message larger than the max message size the server will accept.";
    StaleControllerEpoch 11 "STALE_CONTROLLER_EPOCH" "ControllerMovedException" false
        "The controller moved to another broker.";
    OffsetMetadataTooLarge 12 "OFFSET_METADATA_TOO_LARGE" "OffsetMetadataTooLarge" false
        "The metadata field of the offset request was too large.";
    NetworkException 13 "NETWORK_EXCEPTION" "NetworkException" true
        "The server disconnected before a response was received.";
    CoordinatorLoadInProgress 14 "COORDINATOR_LOAD_IN_PROGRESS" "CoordinatorLoadInProgressException" true
        "The coordinator is loading and hence can't process requests.";
    CoordinatorNotAvailable 15 "COORDINATOR_NOT_AVAILABLE" "CoordinatorNotAvailableException" true
        "The coordinator is not available.";
    NotCoordinator 16 "NOT_COORDINATOR" "NotCoordinatorException" true
        "This is not the correct coordinator.";
    InvalidTopicException 17 "INVALID_TOPIC_EXCEPTION" "InvalidTopicException" false
        "The request attempted to perform an operation on an invalid topic.";
    RecordListTooLarge 18 "RECORD_LIST_TOO_LARGE" "RecordBatchTooLargeException" false
        "The request included message batch larger than the configured segment size on the server.";
    NotEnoughReplicas 19 "NOT_ENOUGH_REPLICAS" "NotEnoughReplicasException" true
        "Messages are rejected since there are fewer in-sync replicas than required.";
    NotEnoughReplicasAfterAppend 20 "NOT_ENOUGH_REPLICAS_AFTER_APPEND" "NotEnoughReplicasAfterAppendException" true
        "Messages are written to the log, but to fewer in-sync replicas than required.";
    InvalidRequiredAcks 21 "INVALID_REQUIRED_ACKS" "InvalidRequiredAcksException" false
        "Produce request specified an invalid value for required acks.";
    IllegalGeneration 22 "ILLEGAL_GENERATION" "IllegalGenerationException" false
        "Specified group generation id is not valid.";
    InconsistentGroupProtocol 23 "INCONSISTENT_GROUP_PROTOCOL" "InconsistentGroupProtocolException" false
        "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.";
    InvalidGroupId 24 "INVALID_GROUP_ID" "InvalidGroupIdException" false
        "The configured groupId is invalid.";
    UnknownMemberId 25 "UNKNOWN_MEMBER_ID" "UnknownMemberIdException" false
        "The coordinator is not aware of this member.";
    InvalidSessionTimeout 26 "INVALID_SESSION_TIMEOUT" "InvalidSessionTimeoutException" false
        "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).";
    RebalanceInProgress 27 "REBALANCE_IN_PROGRESS" "RebalanceInProgressException" false
        "The group is rebalancing, so a rejoin is needed.";
    InvalidCommitOffsetSize 28 "INVALID_COMMIT_OFFSET_SIZE" "InvalidCommitOffsetSizeException" false
        "The committing offset data size is not valid.";
    TopicAuthorizationFailed 29 "TOPIC_AUTHORIZATION_FAILED" "TopicAuthorizationException" false
        "Topic authorization failed.";
    GroupAuthorizationFailed 30 "GROUP_AUTHORIZATION_FAILED" "GroupAuthorizationException" false
        "Group authorization failed.";
    ClusterAuthorizationFailed 31 "CLUSTER_AUTHORIZATION_FAILED" "ClusterAuthorizationException" false
        "Cluster authorization failed.";
    InvalidTimestamp 32 "INVALID_TIMESTAMP" "InvalidTimestampException" false
        "The timestamp of the message is out of acceptable range.";
    UnsupportedSaslMechanism 33 "UNSUPPORTED_SASL_MECHANISM" "UnsupportedSaslMechanismException" false
        "The broker does not support the requested SASL mechanism.";
    IllegalSaslState 34 "ILLEGAL_SASL_STATE" "IllegalSaslStateException" false
        "Request is not valid given the current SASL state.";
    UnsupportedVersion 35 "UNSUPPORTED_VERSION" "UnsupportedVersionException" false
        "The version of API is not supported.";
    TopicAlreadyExists 36 "TOPIC_ALREADY_EXISTS" "TopicExistsException" false
        "Topic with this name already exists.";
    InvalidPartitions 37 "INVALID_PARTITIONS" "InvalidPartitionsException" false
        "Number of partitions is below 1.";
    InvalidReplicationFactor 38 "INVALID_REPLICATION_FACTOR" "InvalidReplicationFactorException" false
        "Replication factor is below 1 or larger than the number of available brokers.";
    InvalidReplicaAssignment 39 "INVALID_REPLICA_ASSIGNMENT" "InvalidReplicaAssignmentException" false
        "Replica assignment is invalid.";
    InvalidConfig 40 "INVALID_CONFIG" "InvalidConfigurationException" false
        "Configuration is invalid.";
    NotController 41 "NOT_CONTROLLER" "NotControllerException" true
        "This is not the correct controller for this cluster.";
    InvalidRequest 42 "INVALID_REQUEST" "InvalidRequestException" false
        "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
    UnsupportedForMessageFormat 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT" "UnsupportedForMessageFormatException" false
        "The message format version on the broker does not support the request.";
    PolicyViolation 44 "POLICY_VIOLATION" "PolicyViolationException" false
        "Request parameters do not satisfy the configured policy.";
    OutOfOrderSequenceNumber 45 "OUT_OF_ORDER_SEQUENCE_NUMBER" "OutOfOrderSequenceException" false
        "The broker received an out of order sequence number.";
    DuplicateSequenceNumber 46 "DUPLICATE_SEQUENCE_NUMBER" "DuplicateSequenceException" false
        "The broker received a duplicate sequence number.";
    InvalidProducerEpoch 47 "INVALID_PRODUCER_EPOCH" "InvalidProducerEpochException" false
        "Producer attempted to produce with an old epoch.";
    InvalidTxnState 48 "INVALID_TXN_STATE" "InvalidTxnStateException" false
        "The producer attempted a transactional operation in an invalid state.";
    InvalidProducerIdMapping 49 "INVALID_PRODUCER_ID_MAPPING" "InvalidPidMappingException" false
        "The producer attempted to use a producer id which is not currently assigned to its transactional id.";
    InvalidTransactionTimeout 50 "INVALID_TRANSACTION_TIMEOUT" "InvalidTxnTimeoutException" false
        "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).";
    ConcurrentTransactions 51 "CONCURRENT_TRANSACTIONS" "ConcurrentTransactionsException" true
        "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.";
    TransactionCoordinatorFenced 52 "TRANSACTION_COORDINATOR_FENCED" "TransactionCoordinatorFencedException" false
        "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.";
    TransactionalIdAuthorizationFailed 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" "TransactionalIdAuthorizationException" false
        "Transactional Id authorization failed.";
    SecurityDisabled 54 "SECURITY_DISABLED" "SecurityDisabledException" false
        "Security features are disabled.";
    OperationNotAttempted 55 "OPERATION_NOT_ATTEMPTED" "OperationNotAttemptedException" false
        "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.";
    KafkaStorageError 56 "KAFKA_STORAGE_ERROR" "KafkaStorageException" true
        "Disk error when trying to access log file on the disk.";
    LogDirNotFound 57 "LOG_DIR_NOT_FOUND" "LogDirNotFoundException" false
        "The user-specified log directory is not found in the broker config.";
    SaslAuthenticationFailed 58 "SASL_AUTHENTICATION_FAILED" "SaslAuthenticationException" false
        "SASL Authentication failed.";
    UnknownProducerId 59 "UNKNOWN_PRODUCER_ID" "UnknownProducerIdException" false
        "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception.";
    ReassignmentInProgress 60 "REASSIGNMENT_IN_PROGRESS" "ReassignmentInProgressException" false
        "A partition reassignment is in progress.";
    DelegationTokenAuthDisabled 61 "DELEGATION_TOKEN_AUTH_DISABLED" "DelegationTokenDisabledException" false
        "Delegation Token feature is not enabled.";
    DelegationTokenNotFound 62 "DELEGATION_TOKEN_NOT_FOUND" "DelegationTokenNotFoundException" false
        "Delegation Token is not found on server.";
    DelegationTokenOwnerMismatch 63 "DELEGATION_TOKEN_OWNER_MISMATCH" "DelegationTokenOwnerMismatchException" false
        "Specified Principal is not valid Owner/Renewer.";
    DelegationTokenRequestNotAllowed 64 "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" "UnsupportedByAuthenticationException" false
        "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.";
    DelegationTokenAuthorizationFailed 65 "DELEGATION_TOKEN_AUTHORIZATION_FAILED" "DelegationTokenAuthorizationException" false
        "Delegation Token authorization failed.";
    DelegationTokenExpired 66 "DELEGATION_TOKEN_EXPIRED" "DelegationTokenExpiredException" false
        "Delegation Token is expired.";
    InvalidPrincipalType 67 "INVALID_PRINCIPAL_TYPE" "InvalidPrincipalTypeException" false
        "Supplied principalType is not supported.";
    NonEmptyGroup 68 "NON_EMPTY_GROUP" "GroupNotEmptyException" false
        "The group is not empty.";
    GroupIdNotFound 69 "GROUP_ID_NOT_FOUND" "GroupIdNotFoundException" false
        "The group id does not exist.";
    FetchSessionIdNotFound 70 "FETCH_SESSION_ID_NOT_FOUND" "FetchSessionIdNotFoundException" true
        "The fetch session ID was not found.";
    InvalidFetchSessionEpoch 71 "INVALID_FETCH_SESSION_EPOCH" "InvalidFetchSessionEpochException" true
        "The fetch session epoch is invalid.";
    ListenerNotFound 72 "LISTENER_NOT_FOUND" "ListenerNotFoundException" true
        "There is no listener on the leader broker that matches the listener on which metadata request was processed.";
    TopicDeletionDisabled 73 "TOPIC_DELETION_DISABLED" "TopicDeletionDisabledException" false
        "Topic deletion is disabled.";
    FencedLeaderEpoch 74 "FENCED_LEADER_EPOCH" "FencedLeaderEpochException" true
        "The leader epoch in the request is older than the epoch on the broker.";
    UnknownLeaderEpoch 75 "UNKNOWN_LEADER_EPOCH" "UnknownLeaderEpochException" true
        "The leader epoch in the request is newer than the epoch on the broker.";
    UnsupportedCompressionType 76 "UNSUPPORTED_COMPRESSION_TYPE" "UnsupportedCompressionTypeException" false
        "The requesting client does not support the compression type of given partition.";
    StaleBrokerEpoch 77 "STALE_BROKER_EPOCH" "StaleBrokerEpochException" false
        "Broker epoch has changed.";
    OffsetNotAvailable 78 "OFFSET_NOT_AVAILABLE" "OffsetNotAvailableException" true
        "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.";
    MemberIdRequired 79 "MEMBER_ID_REQUIRED" "MemberIdRequiredException" false
        "The group member needs to have a valid member id before actually entering a consumer group.";
    PreferredLeaderNotAvailable 80 "PREFERRED_LEADER_NOT_AVAILABLE" "PreferredLeaderNotAvailableException" true
        "The preferred leader was not available.";
    GroupMaxSizeReached 81 "GROUP_MAX_SIZE_REACHED" "GroupMaxSizeReachedException" false
        "The consumer group has reached its max size.";
    FencedInstanceId 82 "FENCED_INSTANCE_ID" "FencedInstanceIdException" false
        "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.";
    EligibleLeadersNotAvailable 83 "ELIGIBLE_LEADERS_NOT_AVAILABLE" "EligibleLeadersNotAvailableException" true
        "Eligible topic partition leaders are not available.";
    ElectionNotNeeded 84 "ELECTION_NOT_NEEDED" "ElectionNotNeededException" true
        "Leader election not needed for topic partition.";
    NoReassignmentInProgress 85 "NO_REASSIGNMENT_IN_PROGRESS" "NoReassignmentInProgressException" false
        "No partition reassignment is in progress.";
    GroupSubscribedToTopic 86 "GROUP_SUBSCRIBED_TO_TOPIC" "GroupSubscribedToTopicException" false
        "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.";
    InvalidRecord 87 "INVALID_RECORD" "InvalidRecordException" false
        "This record has failed the validation on broker and hence will be rejected.";
    UnstableOffsetCommit 88 "UNSTABLE_OFFSET_COMMIT" "UnstableOffsetCommitException" true
        "There are unstable offsets that need to be cleared.";
    ThrottlingQuotaExceeded 89 "THROTTLING_QUOTA_EXCEEDED" "ThrottlingQuotaExceededException" true
        "The throttling quota has been exceeded.";
    ProducerFenced 90 "PRODUCER_FENCED" "ProducerFencedException" false
        "There is a newer producer with the same transactionalId which fences the current one.";
    ResourceNotFound 91 "RESOURCE_NOT_FOUND" "ResourceNotFoundException" false
        "A request illegally referred to a resource that does not exist.";
    DuplicateResource 92 "DUPLICATE_RESOURCE" "DuplicateResourceException" false
        "A request illegally referred to the same resource twice.";
    UnacceptableCredential 93 "UNACCEPTABLE_CREDENTIAL" "UnacceptableCredentialException" false
        "Requested credential would not meet criteria for acceptability.";
    InconsistentVoterSet 94 "INCONSISTENT_VOTER_SET" "InconsistentVoterSetException" false
        "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters";
    InvalidUpdateVersion 95 "INVALID_UPDATE_VERSION" "InvalidUpdateVersionException" false
        "The given update version was invalid.";
    FeatureUpdateFailed 96 "FEATURE_UPDATE_FAILED" "FeatureUpdateFailedException" false
        "Unable to update finalized features due to an unexpected server error.";
    PrincipalDeserializationFailure 97 "PRINCIPAL_DESERIALIZATION_FAILURE" "PrincipalDeserializationException" false
        "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.";
    SnapshotNotFound 98 "SNAPSHOT_NOT_FOUND" "SnapshotNotFoundException" false
        "Requested snapshot was not found";
    PositionOutOfRange 99 "POSITION_OUT_OF_RANGE" "PositionOutOfRangeException" false
        "Requested position is not greater than or equal to zero, and less than the size of the snapshot.";
    UnknownTopicId 100 "UNKNOWN_TOPIC_ID" "UnknownTopicIdException" true
        "This server does not host this topic ID.";
    DuplicateBrokerRegistration 101 "DUPLICATE_BROKER_REGISTRATION" "DuplicateBrokerRegistrationException" false
        "This broker ID is already in use.";
    BrokerIdNotRegistered 102 "BROKER_ID_NOT_REGISTERED" "BrokerIdNotRegisteredException" false
        "The given broker ID was not registered.";
    InconsistentTopicId 103 "INCONSISTENT_TOPIC_ID" "InconsistentTopicIdException" true
        "The log's topic ID did not match the topic ID in the request";
    InconsistentClusterId 104 "INCONSISTENT_CLUSTER_ID" "InconsistentClusterIdException" false
        "The clusterId in the request does not match that found on the server";
    TransactionalIdNotFound 105 "TRANSACTIONAL_ID_NOT_FOUND" "TransactionalIdNotFoundException" false
        "The transactionalId could not be found";
    FetchSessionTopicIdError 106 "FETCH_SESSION_TOPIC_ID_ERROR" "FetchSessionTopicIdException" true
        "The fetch session encountered inconsistent topic ID usage";
    IneligibleReplica 107 "INELIGIBLE_REPLICA" "IneligibleReplicaException" false
        "The new ISR contains at least one ineligible replica.";
    NewLeaderElected 108 "NEW_LEADER_ELECTED" "NewLeaderElectedException" false
        "The AlterPartition request successfully updated the partition state but the leader has changed.";
    OffsetMovedToTieredStorage 109 "OFFSET_MOVED_TO_TIERED_STORAGE" "OffsetMovedToTieredStorageException" false
        "The requested offset is moved to tiered storage.";
    FencedMemberEpoch 110 "FENCED_MEMBER_EPOCH" "FencedMemberEpochException" false
        "The member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin.";
    UnreleasedInstanceId 111 "UNRELEASED_INSTANCE_ID" "UnreleasedInstanceIdException" false
        "The instance ID is still used by another member in the consumer group. That member must leave first.";
    UnsupportedAssignor 112 "UNSUPPORTED_ASSIGNOR" "UnsupportedAssignorException" false
        "The assignor or its version range is not supported by the consumer group.";
    StaleMemberEpoch 113 "STALE_MEMBER_EPOCH" "StaleMemberEpochException" false
        "The member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API.";
    MismatchedEndpointType 114 "MISMATCHED_ENDPOINT_TYPE" "MismatchedEndpointTypeException" false
        "The request was sent to an endpoint of the wrong type.";
    UnsupportedEndpointType 115 "UNSUPPORTED_ENDPOINT_TYPE" "UnsupportedEndpointTypeException" false
        "This endpoint type is not supported yet.";
    UnknownControllerId 116 "UNKNOWN_CONTROLLER_ID" "UnknownControllerIdException" false
        "This controller ID is not known.";
    UnknownSubscriptionId 117 "UNKNOWN_SUBSCRIPTION_ID" "UnknownSubscriptionIdException" false
        "Client sent a push telemetry request with an invalid or outdated subscription ID.";
    TelemetryTooLarge 118 "TELEMETRY_TOO_LARGE" "TelemetryTooLargeException" false
        "Client sent a push telemetry request larger than the maximum size the broker will accept.";
    InvalidRegistration 119 "INVALID_REGISTRATION" "InvalidRegistrationException" false
        "The controller has considered the broker registration to be invalid.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names() {
        assert_eq!(ErrorCode::from_code(36), ErrorCode::TopicAlreadyExists);
        assert_eq!(
            ErrorCode::TopicAlreadyExists.exception(),
            "TopicExistsException"
        );
        assert_eq!(ErrorCode::from_code(-1).to_string(), "UNKNOWN_SERVER_ERROR");
        assert_eq!(ErrorCode::from_code(12_000), ErrorCode::UnknownServerError);
        assert!(ErrorCode::NotController.is_retriable());
        assert!(!ErrorCode::None.is_retriable());
    }
}
