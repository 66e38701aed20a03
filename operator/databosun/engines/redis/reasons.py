"""Why Redis did not do what was asked, or did it otherwise; the words that stand in status."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reasons of faults, findings and notes. Never renamed; `docs/how-to/redis.md` says what to do about each."""

    ARTEFACT_CORRUPT = "ArtefactCorrupt"
    CLUSTER_UNSUPPORTED = "ClusterUnsupported"
    CONNECTION_LOST = "ConnectionLost"
    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECT_FAILED = "ConnectFailed"
    CONNECT_TIMEOUT = "ConnectTimeout"
    COUNTED_AS_REPLICA = "CountedAsReplica"
    DATABASE_ERROR = "DatabaseError"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    FINGERPRINTS_OFF = "FingerprintsOff"
    FORMAT_CHECK_FAILED = "FormatCheckFailed"
    FROM_MASTER = "FromMaster"
    HOOK_FAILED = "HookFailed"
    HOST_UNREACHABLE = "HostUnreachable"
    INCREMENTAL_UNSUPPORTED = "IncrementalUnsupported"
    LOGICAL_HAS_NO_LOG = "LogicalHasNoLog"
    MEMORY_TOO_SMALL = "MemoryTooSmall"
    MODULES_UNSUPPORTED = "ModulesUnsupported"
    NO_CHECKSUM = "NoChecksum"
    PERMISSION_DENIED = "PermissionDenied"
    PROTOCOL_ERROR = "ProtocolError"
    RDB_VERSION_UNSUPPORTED = "RdbVersionUnsupported"
    RECOVERY_FAILED = "RecoveryFailed"
    REPLICA_STALE = "ReplicaStale"
    SCRATCH_TOO_SMALL = "ScratchTooSmall"
    SERVER_NOT_READY = "ServerNotReady"
    SERVER_OUT_OF_RESOURCES = "ServerOutOfResources"
    SEVERAL_MASTERS = "SeveralMasters"
    SYSTEM_ERROR = "SystemError"
    TLS_FAILURE = "TLSFailure"
    TLS_NOT_OFFERED = "TLSNotOffered"
    TOOL_MISSING = "ToolMissing"
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    UNKNOWN_HOST = "UnknownHost"
    UNSUPPORTED_METHOD = "UnsupportedMethod"
    UNSUPPORTED_VERSION = "UnsupportedVersion"
    WHOLE_SERVER = "WholeServer"
    WRONG_PASSWORD = "WrongPassword"  # noqa: S105 - the name of a reason
