"""Every reason that a condition, a failure or an Event of Databosun carries, each with what a person does about it.

A reason is never renamed: people and their alerts search for it. The reference lists them all from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self


class Reason(StrEnum):
    """One CamelCase word for what happened; `what_to_do` says what it means for a person."""

    what_to_do: str

    def __new__(cls, value: str, what_to_do: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.what_to_do = what_to_do
        return member

    # All is well, or goes its way.
    READY = "Ready", "Nothing: all is as the spec asks."
    SUCCEEDED = "Succeeded", "Nothing: the run did what was asked, and its result was checked."
    PENDING = "Pending", "Nothing: the run has not started yet; the message says what it waits for."
    RUNNING = "Running", "Nothing: status.progress says how far it is."
    RETRYING = "Retrying", "Nothing yet: the last attempt failed in a way that may pass, another one follows."
    SUSPENDED = "Suspended", "Nothing, or set spec.suspend to false to let new runs start."
    CONNECTED = "Connected", "Nothing: the database answered."
    VALIDATED = "Validated", "Nothing: the store did all that backups need."
    PROBING = "Probing", "Nothing: the database is being looked at."
    VALIDATING = "Validating", "Nothing: the store is being tried."
    ON_SCHEDULE = "OnSchedule", "Nothing: every slot was answered in time."
    NO_RUN = "NoRun", "Nothing: no run has finished yet."
    RECENT_BACKUP = "RecentBackup", "Nothing: the newest backup is recent enough."
    WITHIN_OBJECTIVE = "WithinObjective", "Nothing: the recovery objective is met."
    ALREADY_DONE = "AlreadyDone", "Nothing: the run's result was in the store already; it was read, not repeated."
    BACKUP_SUCCEEDED = "BackupSucceeded", "Nothing: a backup was taken and checked."

    # Spec and references.
    INVALID_SPEC = "InvalidSpec", "Correct the field that the message names; the API server could not refuse it."
    CONFLICT = "Conflict", "Two objects claim the same thing; change or delete one of the two that the message names."
    DATABASE_NOT_FOUND = "DatabaseNotFound", "Create the Database, or correct databaseRef or databaseSelector."
    DATABASE_REPLACED = "DatabaseReplaced", "The Database was created anew since; start another run for the new one."
    DATABASE_NOT_PROBED = "DatabaseNotProbed", "Wait: the database is looked at before its first backup."
    POLICY_NOT_FOUND = "PolicyNotFound", "Create the BackupPolicy, or correct policyRef."
    STORAGE_NOT_FOUND = "StorageNotFound", "Create the BackupStorage, or correct storageRef."
    STORAGE_NOT_READY = "StorageNotReady", "See the conditions of the BackupStorage that the message names."
    SECRET_MISSING = "SecretMissing", "Create the Secret, or the key in it, that the message names."
    NO_RUNNER_IMAGE = "NoRunnerImage", "Set spec.runner.image of the Database, or runners.images of the chart."
    BAD_SETTINGS = "BadSettings", "Correct the operator's setting that the message names (values of the chart)."
    REQUEST_TOO_LARGE = "RequestTooLarge", "Shorten what the message names: hooks, or a list of names."

    # How protected a database is.
    NO_POLICY = "NoPolicy", "Apply a BackupPolicy that names this Database or selects its labels."
    NO_SCHEDULE = "NoSchedule", "Give the policy a preset or schedules; the message says why it has none in force."
    NO_BACKUP = "NoBackup", "See the Backups of this Database: none has succeeded yet."
    OVERDUE = "Overdue", "See the newest Backups of this Database: no success for two intervals of its schedule."
    RUNS_FAILING = "RunsFailing", "See the newest Backups of the databases that the message names."
    RECOVERY_POINT_TOO_OLD = (
        "RecoveryPointTooOld",
        "See why backups or logs lag behind; a disaster now would cost more.",
    )
    OBJECTIVE_UNREACHABLE = (
        "ObjectiveUnreachable",
        "Back up more often, ship logs, or relax the objective (arithmetic given).",
    )
    NEVER_PROVEN = "NeverProven", "Let a RestoreDrill restore a backup; until then nobody knows that it can be done."
    UNVERIFIED = "Unverified", "The backup was found in the store, unsigned; sign manifests to tell forged ones apart."
    SIZE_FELL = "SizeFell", "Check that the source still holds all data: the backup is far smaller than the one before."

    # Schedules and runs.
    WAITING = "Waiting", "Nothing: another run holds the database or the storage; the message names it."
    TOO_EARLY = "TooEarly", "Nothing: the run may not start before the instant that was asked for."
    TOO_LATE = "TooLate", "Create the run anew with a later notAfter if it is still wanted."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "Raise spec.deadline, or find out from the log what took so long."
    START_DEADLINE_EXCEEDED = (
        "StartDeadlineExceeded",
        "See the message: no node fits, the image cannot be pulled, a volume hangs.",
    )
    NEVER_STARTED = "NeverStarted", "See the message for what it waited for; start another run when that is mended."
    NOT_STARTED = "NotStarted", "Nothing: an object restored or re-applied after its time is not run again."
    JOB_LOST = "JobLost", "Find out who deletes Jobs in this namespace; the run is tried again."
    JOB_FAILED = "JobFailed", "See the message of the Job; the run is tried again."
    ATTEMPT_TAKEN = (
        "AttemptTaken",
        "Nothing: an agent wrote into this attempt's folder before; the next attempt has its own.",
    )
    POD_REFUSED = "PodRefused", "Correct what the API server or an admission policy refuses in the pod."
    INVALID_IMAGE_NAME = "InvalidImageName", "Correct the runner image's name."
    ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull", "Bring the image to the node, or allow it to be pulled."
    DISRUPTED = "Disrupted", "Nothing: the pod was evicted, preempted or deleted; the run is tried again."
    UNRESPONSIVE = "Unresponsive", "Look at the node: the agent did not report by its deadline; the run is tried again."
    OUT_OF_MEMORY = "OutOfMemory", "Raise podTemplate.resources.limits.memory."
    NO_RESULT = "NoResult", "See the log of the pod: it ended without a word; the run is tried again."
    RESULT_UNREADABLE = "ResultUnreadable", "Nothing: the result is read from the store instead."
    INTERRUPTED = "Interrupted", "Nothing: the agent was told to stop and cleaned up; the run is tried again."
    ABORTED = "Aborted", "See the first failure in the log; this is what followed from it."
    BAD_REQUEST = "BadRequest", "Operator and agent are of different versions: set runner images of the same release."
    INTERNAL_ERROR = "InternalError", "Report it with the log: this is a fault of Databosun."
    FAILED = "Failed", "See the message."

    # Scratch, tools, hooks.
    SCRATCH_TOO_SMALL = "ScratchTooSmall", "Raise podTemplate.scratch.size to what the message asks for."
    SCRATCH_FULL = "ScratchFull", "Raise podTemplate.scratch.size."
    TOOL_MISSING = "ToolMissing", "Use a runner image that has the program named."
    TOOL_FAILED = "ToolFailed", "See the message for the program's own words; the run is tried again."
    TOOL_KILLED = "ToolKilled", "See the node's log for what killed it (memory?); the run is tried again."
    WRONG_TOOL_VERSION = "WrongToolVersion", "Use the runner image of the server's own major version."
    SYSTEM_ERROR = "SystemError", "See the message: the pod's file system or kernel refused something."
    HOOK_FAILED = "HookFailed", "Correct the hook that the message names, or set its onError to Continue."
    HOOK_TIMEOUT = "HookTimeout", "Raise the hook's timeout, or find out what it waits for."

    # Storage.
    STORAGE_UNREACHABLE = (
        "StorageUnreachable",
        "Check endpoint, DNS and network policies between the Jobs and the store.",
    )
    STORAGE_TLS_FAILURE = (
        "StorageTLSFailure",
        "Name the authority that signed the endpoint's certificate in s3.caSecretRef.",
    )
    STORAGE_CREDENTIALS_INVALID = (
        "StorageCredentialsInvalid",
        "Correct the Secret of s3.credentialsSecretRef, or its expired key.",
    )
    STORAGE_ACCESS_DENIED = "StorageAccessDenied", "Grant the action that the message names on bucket and prefix."
    STORAGE_REGION_WRONG = "StorageRegionWrong", "Set s3.region to the bucket's own."
    STORAGE_FULL = "StorageFull", "Make room in the store or raise its quota."
    STORAGE_FAILED = "StorageFailed", "See the message for the store's own words; the run is tried again."
    STORAGE_OWNED_BY_ANOTHER = (
        "StorageOwnedByAnother",
        "Use another prefix, or take over with adoptFrom and the id in the message.",
    )
    STORAGE_NOT_CONDITIONAL = (
        "StorageNotConditional",
        "Use a store that honours If-None-Match: without it backups could be overwritten.",
    )
    LOG_CONFLICT = (
        "LogConflict",
        "Find out who else writes this log, or whether the server was set back: the store has other bytes there.",
    )
    LOG_CORRUPT = (
        "LogCorrupt",
        "Take a full backup now, and find out what changed the object: no restore can cross that part of the log.",
    )
    LOG_UNREADABLE = "LogUnreadable", "Find out who wrote the object that the message names into the log's folder."
    OBJECT_LOCK_UNSUPPORTED = (
        "ObjectLockUnsupported",
        "Use a bucket made with object lock, or remove spec.immutability.",
    )
    NO_SUCH_BUCKET = "NoSuchBucket", "Create the bucket, or correct s3.bucket."
    OBJECT_MISSING = "ObjectMissing", "Find out who deletes in the bucket: something that a backup needs is gone."
    OBJECT_TOO_LARGE = "ObjectTooLarge", "Report it: volumes are kept below the limits of all stores."
    UPLOAD_CORRUPT = (
        "UploadCorrupt",
        "Suspect the network or the store: what was read back differs; the run is tried again.",
    )
    MANIFEST_INVALID = "ManifestInvalid", "Do not use this backup: its manifest cannot be read."
    MANIFEST_FORGED = (
        "ManifestForged",
        "Do not use this backup, and find out who wrote it: digest or signature is wrong.",
    )
    SIGNATURE_INVALID = (
        "SignatureInvalid",
        "Do not use this backup: no signature by spec.signing.publicKey vouches for it.",
    )
    SIGNING_KEY_INVALID = "SigningKeyInvalid", "Correct spec.signing: the key cannot be read, or is no Ed25519 key."
    FOREIGN_BACKUP = "ForeignBackup", "The folder in the store belongs to another backup; the message names both."
    EMPTY_BACKUP = "EmptyBackup", "Check what the backup's role can see: there was nothing to back up."
    FORMAT_CHECK_FAILED = (
        "FormatCheckFailed",
        "Nothing: the stream was not whole, so it was not taken for a backup; tried again.",
    )
    ENCRYPTION_FAILED = "EncryptionFailed", "See the message for the words of age; the run is tried again."
    ENCRYPTION_RECIPIENT_INVALID = (
        "EncryptionRecipientInvalid",
        "Correct encryption.age.recipients: a key cannot be read.",
    )
    NOT_DELETED = "NotDeleted", "See the message: the store kept what was to be deleted, such as a locked object."
    PARENT_MISSING = "ParentMissing", "Nothing: the next backup is a full, since the one to stand on is gone."

    # Reading backups back.
    ARTEFACT_CORRUPT = (
        "ArtefactCorrupt",
        "Take a full backup now, and find out what changed the object: this backup cannot be restored.",
    )
    ARTEFACT_MISSING = (
        "ArtefactMissing",
        "Take a full backup now, and find out who deletes in the storage: this backup is not whole.",
    )
    BACKUP_MISSING = "BackupMissing", "Choose another backup: this one, or one that it stands on, is not in the store."
    UNSAFE_ARCHIVE = (
        "UnsafeArchive",
        "Find out who writes to the storage: an archive names paths outside of its folder, as no server does.",
    )
    IDENTITY_MISSING = (
        "IdentityMissing",
        "Name the Secret of the age identity in encryption.age.identitySecretRefs.",
    )
    IDENTITY_WRONG = "IdentityWrong", "Add the identity of the recipient that the backup was encrypted to."

    # Retention and deletion.
    SAFETY_STOP = "SafetyStop", "A guard refused; the message names it. It is never tried again by itself."
    HELD = "Held", "Nothing, or release the legal hold: label databosun.io/hold, or spec.legalHold of the policy."
    LOCKED = "Locked", "Wait: object lock keeps the data until the instant in the message."
    NOTHING_TO_DELETE = "NothingToDelete", "Nothing: every backup is still needed."
    PLANNED = "Planned", "Look at status.pendingDeletions; hold what should stay before retention.grace is over."
    MASS_DELETION = (
        "MassDeletion",
        "Look at the plan; if it is right, create an Approval with its hash (kubectl bosun approve).",
    )
    DELETION_FAILED = "DeletionFailed", "See the message; the deletion is tried again."
    DATA_DELETED = "DataDeleted", "Nothing: the data went with the object, as its deletionPolicy says."
    DATA_RETAINED = (
        "DataRetained",
        "Nothing, or delete the folder in the store by hand: the object went, its data stays.",
    )
    SWEEP_FAILED = "SweepFailed", "See the message; what failed runs left stays until the next sweep."
    CATALOG_REBUILT = "CatalogRebuilt", "Nothing: Backup objects were made from what the store holds."
    CATALOG_NOT_REBUILT = "CatalogNotRebuilt", "Mend what the message names and ask for the rebuild again."

    # Connections to databases.
    UNSUPPORTED_ENGINE = "UnsupportedEngine", "Use an engine that this release serves; the message lists them."
    UNSUPPORTED_VERSION = "UnsupportedVersion", "Use a server version that this release serves; the message lists them."
    UNSUPPORTED_METHOD = "UnsupportedMethod", "Set spec.method to one that the engine has."
    UNKNOWN_HOST = "UnknownHost", "Correct spec.connection.host: the name does not resolve."
    DATABASE_UNREACHABLE = "DatabaseUnreachable", "See the message: no host of spec.connection answers."
    NO_DATABASE = "NoDatabase", "Give the backup's role CONNECT on at least one database."
    HOST_UNREACHABLE = "HostUnreachable", "Check the network and spec.connection.host."
    CONNECT_FAILED = "ConnectFailed", "See the message for the driver's own words."
    CONNECT_TIMEOUT = "ConnectTimeout", "Check network policies and firewalls between the Jobs and the database."
    CONNECTION_REFUSED = "ConnectionRefused", "Check that the server is up and listens, and spec.connection.port."
    CONNECTION_LOST = "ConnectionLost", "Nothing: the run is tried again; look at the server's log if it goes on."
    SERVER_NOT_READY = "ServerNotReady", "Wait for the server; it starts, stops or recovers."
    TOO_MANY_CONNECTIONS = "TooManyConnections", "Raise max_connections or the role's limit."
    WRONG_PASSWORD = "WrongPassword", "Correct user name or password in the Secret of credentialsSecretRef."
    NO_SUCH_ROLE = "NoSuchRole", "Create the role, or correct the user name in the Secret."
    NO_SUCH_DATABASE = "NoSuchDatabase", "Correct spec.connection.database."
    NO_CONNECT_PRIVILEGE = "NoConnectPrivilege", "Grant CONNECT on the database to the backup's role."
    TLS_NOT_OFFERED = "TLSNotOffered", "Turn on TLS in the server, or set tls.mode to Disable on a network you trust."
    TLS_FAILURE = (
        "TLSFailure",
        "Check spec.connection.tls: authority, host name in the certificate, client certificate.",
    )

    # PostgreSQL.
    NO_PG_HBA_ENTRY = "NoPgHbaEntry", "Add the line that the message gives to pg_hba.conf and reload."
    NO_REPLICATION_PRIVILEGE = "NoReplicationPrivilege", "Run ALTER ROLE … REPLICATION, as the message gives it."
    PERMISSION_DENIED = "PermissionDenied", "Run the grant that the message gives."
    ROW_LEVEL_SECURITY = "RowLevelSecurity", "Run ALTER ROLE … BYPASSRLS: rows would be missing otherwise."
    LARGE_OBJECTS_UNREADABLE = (
        "LargeObjectsUnreadable",
        "Grant the role to read large objects, as the message gives it.",
    )
    PG_BOUNCER = "PgBouncer", "Point spec.connection at PostgreSQL itself: this pooler carries no replication."
    POOLER = "Pooler", "Point spec.connection at PostgreSQL itself: a pooler stands in between."
    SETTINGS_HIDDEN = "SettingsHidden", "Grant pg_read_all_settings: settings that a restore needs cannot be read."
    WAL_LEVEL_MINIMAL = "WalLevelMinimal", "Set wal_level = replica and restart the server."
    NO_WAL_SENDER = "NoWalSender", "Raise max_wal_senders, or wait for others to end."
    NO_TEMPORARY_SLOT = "NoTemporarySlot", "Raise max_replication_slots: WAL is not kept for the backup meanwhile."
    WAL_REMOVED = "WalRemoved", "Raise wal_keep_size or max_replication_slots: the server recycled WAL too soon."
    FULL_PAGE_WRITES_OFF = "FullPageWritesOff", "Set full_page_writes = on on the primary."
    SUMMARIES_MISSING = (
        "SummariesMissing",
        "Set summarize_wal = on and raise wal_summary_keep_time; a full is taken instead.",
    )
    SUMMARIZE_WAL_OFF = "SummarizeWalOff", "Set summarize_wal = on; a full is taken until then."
    INCREMENTAL_UNSUPPORTED = (
        "IncrementalUnsupported",
        "Nothing: a full is taken, since the server (before 17) has none.",
    )
    SERVER_ZSTD_ABSENT = "ServerZstdAbsent", "Nothing: the agent compresses instead; the server was built without zstd."
    CONTINUOUS_UNSUPPORTED = (
        "ContinuousUnsupported",
        "Nothing: logs are not shipped; status.effective says what is done.",
    )
    SLOT_UNBOUNDED = "SlotUnbounded", "Set max_slot_wal_keep_size, or accept the risk with allowUnboundedSlot."
    SLOT_IN_USE = "SlotInUse", "Nothing: the server lets go of a lost archiver's slot within wal_sender_timeout."
    SLOT_LOST = (
        "SlotLost",
        "Raise max_slot_wal_keep_size: the server let go of log that was not archived; a full backup is taken.",
    )
    RETAINED_TOO_MUCH = (
        "RetainedTooMuch",
        "See why the store or the network was too slow, or raise continuous.maxRetained; a full backup is taken.",
    )
    ARCHIVING = "Archiving", "Nothing: the log is shipped, and no older than maxLag."
    ARCHIVER_STARTING = "ArchiverStarting", "Nothing: the archiver is being started."
    NO_BASE = "NoBase", "Nothing: a full backup is taken first, that the log can be replayed onto."
    ARCHIVE_STALLED = (
        "ArchiveStalled",
        "Look at the archiver's pod and log: the store is further behind than maxLag, and nothing says why.",
    )
    ARCHIVER_NOT_RUNNING = "ArchiverNotRunning", "See the message, and kubectl describe the Deployment that it names."
    ARCHIVER_UNKNOWN = "ArchiverUnknown", "Wait: it cannot be told at the moment whether the log is wanted; it goes on."
    ONE_DATABASE_ONLY = (
        "OneDatabaseOnly",
        "Leave out connection.database, or set continuous.enabled: false: a log is always the whole server's.",
    )
    SLOT_DROPPED = "SlotDropped", "Nothing: the replication slot of an archiver that is gone was removed."
    SLOT_LEFT = (
        "SlotLeft",
        "Drop the replication slot that the message names, on the host that it names: the server keeps log for it.",
    )
    LOG_EXPIRED = "LogExpired", "Nothing: log that no recovery within the window needs was deleted."
    LOG_NOT_EXPIRED = "LogNotExpired", "See the message: a part of the log could not be deleted; it is tried again."
    NO_REPLICATION_SLOT = "NoReplicationSlot", "Raise max_replication_slots of the server."
    NO_PRIMARY = "NoPrimary", "Wait for the failover, or list the primary in spec.connection: only standbys answer."
    ANOTHER_SERVER = "AnotherServer", "Nothing: another server answers now; its log is archived by itself."
    SOURCE_WENT_BACK = (
        "SourceWentBack",
        "Find out who set the server back (a volume snapshot?): its log goes on in a new timeline, or in higher files.",
    )
    NO_PARENT = "NoParent", "Nothing: a full is taken, since there is none to stand on."
    CHAIN_FULL = "ChainFull", "Nothing: the chain is as long as maxChain allows."
    DATABASES_UNKNOWN = (
        "DatabasesUnknown",
        "Nothing: the server was gone right after the backup, so a drill does not ask the copy for its databases.",
    )
    REPLICA_TOO_OLD = (
        "ReplicaTooOld",
        "Nothing: the primary was read, since a backup of the replica would have begun before the shipped log.",
    )
    AUTO_METHOD = "AutoMethod", "Nothing: says which method Auto chose, and why."
    WHOLE_SERVER = "WholeServer", "Nothing: the backup holds the whole server, though one database is named."
    SNAPSHOT_PER_DATABASE = "SnapshotPerDatabase", "Nothing: each database is dumped at an instant of its own."
    SUBSCRIPTIONS_NOT_DUMPED = (
        "SubscriptionsNotDumped",
        "Create subscriptions anew after a restore; a dump by this role has none.",
    )
    PROMOTED = "Promoted", "Nothing: the standby became primary in mid-backup; the run is tried again."
    RECOVERY_CONFLICT = "RecoveryConflict", "Raise max_standby_streaming_delay, or use hot_standby_feedback."
    BINLOG_FORMAT = "BinlogFormat", "Set binlog_format to MIXED or ROW, so that the log restores what was written."
    BINLOG_OFF = (
        "BinlogOff",
        "Turn on log_bin in the server; until then each Incremental is a Full, and no log is shipped.",
    )
    BINLOG_PURGED = "BinlogPurged", "Keep binary logs longer (binlog_expire_logs_seconds); a Full is taken instead."
    DUMP_INCOMPLETE = "DumpIncomplete", "Report it with the message: the dump lacks what the server has."
    HISTORY_NOT_DUMPED = "HistoryNotDumped", "Nothing: the history of system-versioned tables is in no dump."
    NOT_TRANSACTIONAL = "NotTransactional", "Turn the tables into InnoDB, or set consistency: Partial in the policy."
    DATA_VOLUME_UNREADABLE = (
        "DataVolumeUnreadable",
        "Set spec.dataVolume.runAsUser to the user of the server's files, as the message names it.",
    )
    DATA_VOLUME_FOREIGN = (
        "DataVolumeForeign",
        "Name the claim of this very server's data directory in spec.dataVolume: what lies in it is another's.",
    )
    DATA_VOLUME_UNUSED = "DataVolumeUnused", "Wait for the server's pod: none that runs uses the claim."
    DATA_VOLUME_EXCLUSIVE = (
        "DataVolumeExclusive",
        "Use a claim that more than one pod of a node may mount (not ReadWriteOncePod), or method Logical.",
    )
    REDO_OVERWRITTEN = (
        "RedoOverwritten",
        "Raise innodb_log_file_size: the server wrote more than that while its files were copied.",
    )
    ENCRYPTED_AT_REST = "EncryptedAtRest", "Use method Logical: the server's files are of no use without its keys."
    STORAGE_ENGINE_UNSUPPORTED = (
        "StorageEngineUnsupported",
        "Use method Logical, or move the tables that the message names to InnoDB, into the data directory.",
    )
    MEMORY_TABLES = "MemoryTables", "Nothing: rows of MEMORY tables are in no file; a restored copy has them empty."
    REPLICA_UNFIT = "ReplicaUnfit", "Mend the replication, or grant SLAVE MONITOR so that its lag can be seen."
    ACCOUNTS_LEFT = (
        "AccountsLeft",
        "Drop or rename the accounts that the message names: nobody can log in to them, or they hold privileges on "
        "what is gone, which can be revoked.",
    )
    VIEW_INVALID = "ViewInvalid", "Mend or drop the view that the message names: what it stands on is gone."
    AUTH_UNSUPPORTED = "AuthUnsupported", "Use an account that logs in by password, over the network."
    BINLOG_UNREADABLE = "BinlogUnreadable", "See the message for the server's own words; a Full is taken where it must."
    SCHEMA_CHANGED = "SchemaChanged", "Nothing: tables changed as the backup began; the run is tried again."
    FINGERPRINTS_OFF = "FingerprintsOff", "Nothing: the policy says fingerprints: false; drills cannot compare rows."
    LOCK_TIMEOUT = "LockTimeout", "Nothing: a table was locked too long; the run is tried again."
    DEADLOCK = "Deadlock", "Nothing: the run is tried again."
    QUERY_CANCELED = "QueryCanceled", "Check statement_timeout of the backup's role; the run is tried again."
    SERVER_STOPPED = "ServerStopped", "Nothing: the server stopped in mid-backup; the run is tried again."
    SERVER_OUT_OF_RESOURCES = (
        "ServerOutOfResources",
        "Look at the server: memory, disk or connections are at their end.",
    )
    SERVER_STORAGE = "ServerStorage", "Look at the server's disk and log: it could not read a file of its own."
    DATA_CORRUPTED = "DataCorrupted", "Act now: the server's own data is damaged; keep the older backups."
    DATABASE_ERROR = "DatabaseError", "See the message for the server's own words."
    PROTOCOL_ERROR = "ProtocolError", "Report it with the server's version: it said what was not expected."

    # Redis and Valkey.
    BACKLOG_OVERRUN = (
        "BacklogOverrun",
        "Raise repl-backlog-size: the server let go of commands that were not archived; a full backup is taken.",
    )
    BACKLOG_SMALL = "BacklogSmall", "Raise repl-backlog-size as the message says, or an outage soon leaves a gap."
    HISTORY_CHANGED = (
        "HistoryChanged",
        "Nothing: the server began a history of its own (no data at its start, or writes lost at a failover); a full"
        " backup is taken.",
    )
    CLUSTER_CHANGED = (
        "ClusterChanged",
        "Nothing: the shards of a Redis Cluster changed while they were copied; the run is tried again.",
    )
    CLUSTER_UNSUPPORTED = (
        "ClusterUnsupported",
        "Turn continuous off and take full backups often: this release archives no commands of a Redis Cluster, and has"
        " no rules for its keys.",
    )
    COUNTED_AS_REPLICA = (
        "CountedAsReplica",
        "List the replicas in spec.connection.hosts: of a watched master, a backup would count as one of them.",
    )
    FROM_MASTER = "FromMaster", "Nothing, or list a replica: the backup was taken from the master, which forks for it."
    KEYS_ASTRAY = (
        "KeysAstray",
        "Look at the cluster: keys lie at a shard that does not serve their slots, so that nobody can read them.",
    )
    MEMORY_TOO_SMALL = "MemoryTooSmall", "Raise podTemplate.resources.limits.memory: the copy is loaded into memory."
    MODULES_UNSUPPORTED = "ModulesUnsupported", "Nothing: this release backs up no data of modules."
    NO_CHECKSUM = "NoChecksum", "Set rdbchecksum yes: the server's stream carries no checksum of its own."
    RDB_VERSION_UNSUPPORTED = (
        "RdbVersionUnsupported",
        "Use a server version that this release serves; the message lists them.",
    )
    REPLICA_STALE = "ReplicaStale", "Look at the replica's link to its master; the run is tried again."
    SHARDS_APART = (
        "ShardsApart",
        "Nothing: the shards of a Redis Cluster have no common point in time; the message says how far theirs are"
        " apart.",
    )
    SEVERAL_MASTERS = "SeveralMasters", "List the nodes of one database only: several masters answer, or are watched."

    # Amazon RDS.
    BACKUP_RETENTION_OFF = (
        "BackupRetentionOff",
        "Set the backup retention period of the instance: between two snapshots nothing can be restored.",
    )
    CLOUD_CREDENTIALS_INVALID = (
        "CloudCredentialsInvalid",
        "Correct the Secret of spec.rds.credentialsSecretRef, or the IAM role of podTemplate.serviceAccountName.",
    )
    CLOUD_FAILED = "CloudFailed", "See the message for the words of AWS; the run is tried again."
    CLOUD_PERMISSION_DENIED = "CloudPermissionDenied", "Grant the IAM action that the message names to whom it names."
    CLOUD_QUOTA = "CloudQuota", "Keep fewer snapshots, or have the account's quota raised; the message says which."
    CLOUD_THROTTLED = "CloudThrottled", "Nothing: AWS asks the account for patience; the run is tried again."
    CLOUD_UNREACHABLE = "CloudUnreachable", "Check DNS and network policies between the Jobs and the API of AWS."
    DRILL_PLACE_MISSING = (
        "DrillPlaceMissing",
        "Name what a drill's instance needs: spec.rds.drill, and the login in spec.connection.",
    )
    DRILL_PLACE_UNSAFE = (
        "DrillPlaceUnsafe",
        "Correct what the message names in spec.rds.drill: a copy must not act, nor reach what production reaches.",
    )
    ENGINE_DIFFERS = "EngineDiffers", "Correct spec.rds: the instance is of another kind than it says."
    FOREIGN_SNAPSHOT = "ForeignSnapshot", "Find out who made or retagged the snapshot; Databosun does not touch it."
    INSTANCE_FAILED = "InstanceFailed", "See the message for the state that AWS calls the temporary instance's."
    INSTANCE_LEFT = "InstanceLeft", "Nothing: the next Job removes the temporary instance; look whether it is gone."
    INSTANCE_MISSING = (
        "InstanceMissing",
        "Correct spec.rds, or restore what was deleted: AWS knows nothing of that name in that region.",
    )
    INSTANCE_NOT_AVAILABLE = "InstanceNotAvailable", "Wait, or start the instance: AWS takes no snapshot of it now."
    INSTANCE_REMOVED = "InstanceRemoved", "Nothing: a temporary instance whose drill is over was removed."
    MANAGED_BY_CLOUD = (
        "ManagedByCloud",
        "Nothing: AWS does this part by itself; status.managed says how far it reaches.",
    )
    NOT_ENCRYPTED = (
        "NotEncrypted",
        "Restore an encrypted copy of the instance and move to it, or accept that it is not.",
    )
    SNAPSHOT_FAILED = (
        "SnapshotFailed",
        "Nothing: the next attempt takes another snapshot; see the message if it goes on.",
    )
    SNAPSHOT_MISSING = (
        "SnapshotMissing",
        "Act now: find out who deletes snapshots in the account; take a backup, delete the Backups that are named.",
    )
    SNAPSHOT_UNCLAIMED = (
        "SnapshotUnclaimed",
        "Delete the snapshots that are named, or rebuild the catalog: no Backup here is of them.",
    )
    VOLUME_UNSUPPORTED = "VolumeUnsupported", "Follow RESTORE.md: AWS restores its snapshots into instances alone."

    # MongoDB.
    NO_OPLOG = "NoOplog", "Start the server as a replica set (of one member is enough), or set consistency: Partial."
    NOT_COUNTED = "NotCounted", "Nothing: collections that are written to while they are read have no count to compare."
    OPLOG_OVERRUN = (
        "OplogOverrun",
        "Make the oplog larger, or back up more often: what follows on the last backup is gone; a Full is taken.",
    )
    OPLOG_DIVERGED = "OplogDiverged", "Nothing: what the last backup ended with was rolled back; a Full is taken."
    SHARDED_UNSUPPORTED = "ShardedUnsupported", "Nothing: this release serves no sharded cluster of MongoDB."

    # Recovery and proof.
    RECOVERY_FAILED = "RecoveryFailed", "See the message for the copy's own words: this backup does not come up."
    WRONG_ARCHITECTURE = "WrongArchitecture", "Run the Job on a node of the architecture that the message names."
    PRELOAD_MISSING = "PreloadMissing", "Name a runner image with that library in Database.spec.runner.image."
    TABLESPACE_CREATED = (
        "TablespaceCreated",
        "Restore from a backup taken after the tablespace was created; the log names a path that is not there.",
    )
    POINT_NOT_REACHED = "PointNotReached", "Choose a point that the log covers; the message says where recovery ended."
    FILES_DAMAGED = "FilesDamaged", "Do not use this backup: the message names the files that are not as they were."
    LOGICAL_HAS_NO_LOG = (
        "LogicalHasNoLog",
        "Choose a backup that a log is replayed onto: the message says which method.",
    )
    LOG_GAP = "LogGap", "Restore to a point outside the gap; the message offers the nearest ones."
    LOG_MISSING = "LogMissing", "Choose a point that needs no log, or turn on continuous: nothing was shipped."
    POINT_NOT_COVERED = "PointNotCovered", "Choose one of the nearest points that the message names."
    TARGET_NOT_EMPTY = "TargetNotEmpty", "Use an empty target, or ask for Replace with confirm: the message says which."
    TARGET_OLDER = "TargetOlder", "Restore into a server of the backup's major version, or a newer one."
    TARGET_BUSY = "TargetBusy", "Have the sessions that the message names end; the restore is tried again."
    TARGET_IS_ONE_DATABASE = (
        "TargetIsOneDatabase",
        "Choose that one database (spec.selection), or a target whose connection names none.",
    )
    TABLE_IN_USE = "TableInUse", "See the message for what uses the table, and for the ways that there are."
    NO_SUCH_TABLE = (
        "NoSuchTable",
        "Name the table with its schema: at that point, or now, the database has no such table.",
    )
    NO_SUCH_SCHEMA = "NoSuchSchema", "Create the schema at the target, or restore the whole database."
    PREPARED_TRANSACTIONS = "PreparedTransactions", "Commit or roll back the prepared transactions that are named."
    BRIDGE_UNSUPPORTED = "BridgeUnsupported", "Restore into a volume: the engine has no way into a running server."
    STAGED = "Staged", "Look at what was staged; then kubectl bosun restore --promote NAME, or let its time pass."
    NOT_PROMOTED = (
        "NotPromoted",
        "Of a restore, nothing: nobody consented in time, and what was staged was removed. Of a failover: see who is"
        " primary now, and why the candidate was not made it.",
    )
    TARGET_REFUSES = "TargetRefuses", "See the message for the server's own words: what is restored does not fit there."
    EVIDENCE_INVALID = "EvidenceInvalid", "Do not rely on this evidence: digest, chain or signature is wrong."

    # Restores and drills.
    PASSED = "Passed", "Nothing: the backup restored and every check passed, or the failover met its objectives."
    CHOSEN = "Chosen", "Nothing: the backup is chosen and written down; the Job starts next."
    DRILL_PASSED = "DrillPassed", "Nothing: a drill restored a backup of this database."
    DRILL_FAILED = (
        "DrillFailed",
        "Act now: see the run that the message names. A backup that does not restore is none; keep the older ones.",
    )
    DRILL_PARTIAL = "DrillPartial", "See what the message names: the backup restored, and something was found."
    DRILL_REFUSED = "DrillRefused", "Put right what the message names; the next drill tries again."
    DRILL_ERROR = "DrillError", "See the message: Databosun or the cluster failed, the backup may be as good as before."
    CONTROL_NOTICED = "ControlNoticed", "Nothing: a drill noticed the damage that it had done to a copy on purpose."
    DRILL_OVERDUE = "DrillOverdue", "Find out why no drill passes: see the Database's drill runs and what they say."
    PROOF_TOO_OLD = "ProofTooOld", "Find out why drills do not run, or do not pass: see the Database's drill runs."
    NEVER_MEASURED = "NeverMeasured", "Nothing, or start a drill: only one that restores measures the time it takes."
    RESTORE_TOO_SLOW = (
        "RestoreTooSlow",
        "Shorten chains, give the drill's pods faster disks and more CPU, or agree on another objective.",
    )
    DRILL_NOT_FOUND = "DrillNotFound", "Create the RestoreDrill, or correct drillRef."
    BACKUP_NOT_FOUND = "BackupNotFound", "Name a Backup of the same namespace that has succeeded."
    BACKUP_GONE = "BackupGone", "Start another run: the chosen backup was deleted meanwhile."
    IN_USE = "InUse", "Nothing: a drill or a restore reads it; it is deleted afterwards."
    PRODUCTION_VOLUME = "ProductionVolume", "Restore into a volume of its own: the named one is a database's own."
    ANSWERED = "Answered", "Read the answer in the status; it is gone a day after the question."
    RESTORED = "Restored", "Follow the steps in status.handOver."
    RESTORE_FAILED = "RestoreFailed", "See the message: it says why, and in which state the target is."
    RESTORE_REFUSED = "RestoreRefused", "Put right what the message names; nothing was touched."
    DRILLS_FAILING = "DrillsFailing", "See the drill runs of the databases that the message names."

    # Failover tests.
    FAILOVER_PLANNED = "FailoverPlanned", "Look at status.plan; approve it (kubectl bosun approve --failover) if asked."
    AWAITING_APPROVAL = (
        "AwaitingApproval",
        "Look at status.plan; if it is right, approve it: kubectl bosun approve NAME, with --failover,"
        " --lifecycle or --erasure.",
    )
    OUTSIDE_WINDOW = (
        "OutsideWindow",
        "Nothing: the run waits for a window, which the message names. The waitFor of a failover test must reach it.",
    )
    COOLDOWN = "Cooldown", "Nothing: it waits until spec.cooldown is over since the primary was moved last."
    NOT_APPROVED = "NotApproved", "Nothing, or start another one: nobody approved the plan in time; nothing was done."
    PRIMARY_ENDED = "PrimaryEnded", "Nothing: a forced failover has the primary's pod deleted, and waits for another."
    FAULT_DONE = (
        "FaultDone",
        "Nothing: a fault was done to the primary's pod, as the plan has it; who writes is looked at.",
    )
    GUARD_FAILED = "GuardFailed", "Put right what the message names; nothing was moved."
    NO_CANDIDATE = "NoCandidate", "See the message and status.topologyBefore for why no replica could take over."
    PLAN_CHANGED = (
        "PlanChanged",
        "Look at the new plan: what was found is not what was approved; nothing was done. Approve it if it is right.",
    )
    SETTLING = "Settling", "Nothing yet: what a switch may have left behind is being put in order."
    NOT_SETTLED = "NotSettled", "Act now: look at the database. The message says what a test may have left behind."
    TEST_NOT_FOUND = "TestNotFound", "Create the FailoverTest, or correct testRef; databaseRef must be the test's own."
    NO_PROVIDER = "NoProvider", "Say in Database.spec.replication what decides over the primary."
    PROVIDER_UNSUPPORTED = "ProviderUnsupported", "Test it by hand: this release switches by the providers named only."
    WRITES_LOST = (
        "WritesLost",
        "Make replication synchronous or agree on a loss; keep the ledger: it says which writes are gone.",
    )
    SPLIT_BRAIN = "SplitBrain", "Act now: two nodes took writes at once. Fence the old primary, then compare the two."
    DOWNTIME_EXCEEDED = "DowntimeExceeded", "See the timeline for what it waited for, or agree on another objective."
    NOT_REJOINED = (
        "NotRejoined",
        "Act now: the old primary does not follow the new one; until it does nothing may fail.",
    )
    SWITCH_FAILED = "SwitchFailed", "See the message for what the provider said, and who is primary now."
    NO_BASELINE = "NoBaseline", "Let the writers write: see what they were told, in status.clients and the evidence."
    NOT_READ_BACK = "NotReadBack", "Test again: not all writes could be looked for afterwards, so nothing is proven."
    PROBE_STALLED = "ProbeStalled", "Give the test's pod more CPU (podTemplate.resources), and test again."
    WINDOW_CLOSED = (
        "WindowClosed",
        "Start another test: its window, its consent or its plan was over; nothing was moved.",
    )
    SETTLED = "Settled", "See the run: its agent was lost, and what it may have left was put in order."
    MODE_UNSUPPORTED = "ModeUnsupported", "Set spec.mode to one that the message names."
    PROVIDER_UNREACHABLE = "ProviderUnreachable", "See why Database.spec.replication.endpoints do not answer."
    PROVIDER_REFUSED = "ProviderRefused", "See the message for the provider's own words."
    TOPOLOGY_CHANGED = "TopologyChanged", "Start another test once the nodes are at rest; nothing was moved."
    NOT_ENDED = "NotEnded", "See the message for why the operator did nothing to the primary; nothing was moved."
    NOT_ANSWERED = "NotAnswered", "See why the operator did not answer its agent, and who is primary now."
    FAULT_UNSEEN = "FaultUnseen", "See that the fault is done to the database's own container, and test again."
    NOT_CAUGHT_UP = "NotCaughtUp", "Find out why the candidate lags, and test again; nothing was moved."
    FAILOVER_PASSED = "FailoverPassed", "Nothing: the database failed over within the objectives."
    FAILOVER_FAILED = (
        "FailoverFailed",
        "See status.result and the evidence of the run: what was lost, how long no write was taken, and why.",
    )
    FAILOVER_REFUSED = "FailoverRefused", "Put right what the message names; nothing was moved."
    FAILOVER_ABORTED = "FailoverAborted", "See the message: the test was given up on the way, and put in order."
    FAILOVER_INCONCLUSIVE = "FailoverInconclusive", "See the message: what was measured proves neither; test again."
    TEST_FAILING = "TestFailing", "See the run that the message names: the database does not fail over as it should."

    # Checks of a recovered copy.
    CANARY_MISSING = (
        "CanaryMissing",
        "Find out why the known value is not in the backup: it may be of another database.",
    )
    CHECK_FAILED = "CheckFailed", "See the message for what was found and expected."
    CONTROL_PASSED = "ControlPassed", "Do not trust drills until this is understood: damage was not noticed. Report it."
    DATA_DAMAGED = "DataDamaged", "Act now: the backup holds damaged pages; look at the source, keep older backups."
    EXTENSION_MISSING = "ExtensionMissing", "Name a runner image that has the extensions in Database.spec.runner.image."
    NOTHING_CHECKED = "NothingChecked", "Ask for a level, or checks, that this backup can answer."
    PROGRAM_FAILED = "ProgramFailed", "See what the check's program said; correct it, or find out what it found."
    QUERY_FAILED = "QueryFailed", "Correct the check's query, or find out why the copy cannot answer it."
    ROW_COUNT_WRONG = "RowCountWrong", "Find out who emptied or filled the table; keep the backups before that."
    ROWS_DIFFER = "RowsDiffer", "Do not use this backup: its rows are not those of its own snapshot."
    SCHEMA_DIFFERS = "SchemaDiffers", "Do not use this backup: its definitions are not those of its own snapshot."
    STALE = "Stale", "Find out why the backup's data are that old: the writer, or the backups, have stopped."
    COLLATION_MISMATCH = (
        "CollationMismatch",
        "Reindex after a restore: the runner sorts texts otherwise than the server.",
    )

    # Lifecycles.
    LIFECYCLE_POLICY_NOT_FOUND = "LifecyclePolicyNotFound", "Create the LifecyclePolicy, or correct policyRef."
    APPROVED = "Approved", "Nothing: an Approval names the plan, until the instant in the message."
    NO_PLAN = "NoPlan", "Nothing, or start a dry run: the plan is not known until one has looked."
    PLAN_GREW = "PlanGrew", "See whether the rule is right: it matches more than maxPercent; raise that if it is."
    PLAN_CLEAN = "PlanClean", "Nothing: every rule may run."
    DRY_RUN_ONLY = "DryRunOnly", "Set spec.mode of the LifecyclePolicy to Enforce, if its plan is to be carried out."
    RULES_REFUSED = "RulesRefused", "See status.plan: it says of every rule why it may not run."
    RULES_FAILED = "RulesFailed", "See status.rules: it says of every rule what stopped it; the others ran."
    BLOCKED_BY_HOLD = "BlockedByHold", "Nothing, or take the hold out of spec.holds once it is over."
    BACKUP_TOO_OLD = "BackupTooOld", "See why no backup succeeded of late; nothing is deleted without one."
    FALLING_BEHIND = (
        "FallingBehind",
        "Give the runs more time or rows (timeBudget, maxRowsPerRun), run them more often, or use partitions.",
    )
    KEEPING_UP = "KeepingUp", "Nothing: at least as many rows go as become eligible."
    LIFECYCLE_DONE = "LifecycleDone", "Nothing: the run did what the plan says, and its audit is in the store."
    LOOKED = "Looked", "Look at status.plan: it says what the rules would do."
    RULE_NOT_READABLE = (
        "RuleNotReadable",
        "Correct the rule's or the hold's condition; the message has the server's words.",
    )
    TABLE_NOT_FOUND = "TableNotFound", "Correct target.table of the rule, or grant the login to see the table."
    COLUMN_NOT_FOUND = "ColumnNotFound", "Correct the column that the message names."
    NOT_A_TABLE = "NotATable", "Name the table that the rows lie in."
    ROWS_HIDDEN = "RowsHidden", "Run ALTER ROLE … BYPASSRLS: the rule could not see all rows otherwise."
    NO_PRIMARY_KEY = "NoPrimaryKey", "Give the table a primary key: rows are taken by it."
    NO_AGE = "NoAge", "Name a column with a date or an instant in match.column."
    NOT_SOFT_DELETED = "NotSoftDeleted", "Name the column that is empty in live rows and says when one was deleted."
    FOREIGN_KEY_CYCLE = "ForeignKeyCycle", "Delete such rows by hand, or change the foreign key."
    FOREIGN_KEY_REFUSES = "ForeignKeyRefuses", "Set foreignKeys to ChildrenFirst, or remove the rows that refer."
    CASCADE_NOT_ALLOWED = "CascadeNotAllowed", "List the table in allow.cascades of the rule, if its rows may go along."
    TRIGGER_NOT_ALLOWED = "TriggerNotAllowed", "List the trigger in allow.triggers of the rule, if it may fire."
    NO_MARK_COLUMN = "NoMarkColumn", "Add the column that the message names, empty, of type timestamptz."
    KEY_NOT_MASKABLE = "KeyNotMaskable", "Leave the column out: keys and computed columns cannot be overwritten."
    MASK_DOES_NOT_FIT = "MaskDoesNotFit", "Use another method for the column."
    TOO_MANY_CALLS = "TooManyCalls", "Write the condition on columns, so that people can see what it comes to."
    ACTION_UNSUPPORTED = "ActionUnsupported", "Use an action that the message lists: the engine has no other."
    IDLE_TIME_UNKNOWN = (
        "IdleTimeUnknown",
        "See the message: list the Sentinels among the hosts, wait until this master is one for long enough, or use no"
        " LFU policy; or say Expire instead.",
    )
    INDEX_CLASH = "IndexClash", "See the message: another index is in the way of the one that deletes by age."
    ARCHIVE_UNSUPPORTED = "ArchiveUnsupported", "Use Delete: what lies there cannot be compared with what was archived."
    CONDITION_REFUSED = (
        "ConditionRefused",
        "Write one expression on the table's own columns: no semicolon, variable or SQL in a comment; texts in quotes."
        " Of MongoDB one filter in Extended JSON, without operators that run something.",
    )
    VOLATILE_CONDITION = "VolatileCondition", "Write a condition that answers the same each time: no random()."
    # Objects that move to other classes of storage.
    TRANSITION_CONFLICT = (
        "TransitionConflict",
        "See the message's arithmetic: leave the step out, make it later, or change the policy or drill that it names.",
    )
    TRANSITION_UNSUPPORTED = (
        "TransitionUnsupported",
        "Use a BackupStorage with a bucket, and backups that lie in it: a folder and a cloud's snapshots do not move.",
    )
    BUCKET_RULE_CONFLICT = (
        "BucketRuleConflict",
        "Change the bucket's rule that the message names: it deletes or moves what is Databosun's, or bears its ID.",
    )
    BUCKET_RULES_DIFFER = (
        "BucketRulesDiffer",
        "Compare the bucket's lifecycle rules with those in the run's audit, and put right what others lost.",
    )
    TAG_REFUSED = "TagRefused", "See the message: the store does not keep tags, or the object has ten of others."
    OBJECT_ARCHIVED = (
        "ObjectArchived",
        "Say spec.thaw in the Restore, or take a newer backup: objects of this one lie in an archive class.",
    )
    # Erasures.
    ERASED = "Erased", "Nothing: no row with the subject is left; the receipt is in the store."
    ERASURE_PLANNED = "ErasurePlanned", "Look at status.plan; if it is right: kubectl bosun approve --erasure NAME."
    ERASURE_FAILED = "ErasureFailed", "See the message: what was committed stays done; make another request to go on."
    ERASURE_REFUSED = "ErasureRefused", "Put right what the message names, and make another request."
    ERASURE_KEY_MISSING = (
        "ErasureKeyMissing",
        "Give the BackupStorage its spec.erasure.keySecretRef, and the Secret the key of then. A Restore goes without"
        " by spec.erasures: Skip, and then holds who was erased since.",
    )
    ERASURE_KEY_WRONG = (
        "ErasureKeyWrong",
        "Put the key back into the Secret that erasures were hashed with: with another nobody is found again.",
    )
    ERASURE_KEY_WEAK = "ErasureKeyWeak", "Use a key of at least 32 random bytes, such as of openssl rand -hex 32."
    ERASURE_UNKNOWN = (
        "ErasureUnknown",
        "Bring the entries that the message names back into the store: the ledger lost them, or it is another's.",
    )
    ERASURE_NOT_REPEATABLE = (
        "ErasureNotRepeatable",
        "See the message for the rule that does not fit the restored data; restore another backup, or set"
        " spec.erasures: Skip and erase by hand.",
    )
    BACKUPS_ELSEWHERE = (
        "BackupsElsewhere",
        "Let the backups that the message names expire or delete them: the ledger of erasures lies in one storage.",
    )
    SUBJECT_STAYS = "SubjectStays", "List the column that holds the subject's key among those that are overwritten."
    SUBJECT_DOES_NOT_FIT = (
        "SubjectDoesNotFit",
        "Write the subject's key as the server writes it, or correct the column.",
    )
    SUBJECT_LEFT = (
        "SubjectLeft",
        "Find out who writes rows of the subject, and make another request: some were there at the end.",
    )
    EXPORTED = "Exported", "Nothing: status.folder has the person's rows until status.expiresTime; hand them over."
    NOT_PARTITIONED = "NotPartitioned", "Use Delete or Archive: DropPartition needs partitions by range of the column."

    # The API server.
    NOT_FOUND = "NotFound", "Nothing: the object is gone; all is looked at again."
    RESOURCE_ABSENT = "ResourceAbsent", "Install the CRDs (chart databosun-crds)."
    ALREADY_EXISTS = "AlreadyExists", "Nothing: what was to be created is there already."
    NAME_TAKEN = (
        "NameTaken",
        "Delete or rename the foreign object that the message names; give a drill or a restore a new name.",
    )
    LIST_EXPIRED = "ListExpired", "Nothing: the list is started again."
    API_THROTTLED = "ApiThrottled", "Nothing: the API server asks for patience."
    API_UNAVAILABLE = "ApiUnavailable", "Look at the API server if it goes on."
    API_UNREACHABLE = "ApiUnreachable", "Look at the network to the API server if it goes on."
    QUOTA_EXCEEDED = "QuotaExceeded", "Raise the ResourceQuota, or wait until others are gone."
    NAMESPACE_TERMINATING = "NamespaceTerminating", "Nothing: the namespace is being deleted; data in the store stays."
    FORBIDDEN = "Forbidden", "Install the chart's RBAC again: the operator lacks the right that the message names."
    ADMISSION_REFUSED = "AdmissionRefused", "See the message of the webhook or policy that refused."
    INVALID_OBJECT = "InvalidObject", "Correct what the message names, such as a podTemplate that the cluster refuses."
    NO_KUBECONFIG = "NoKubeconfig", "Set KUBECONFIG, or run inside a cluster."
    LEASE_NOT_FRESH = "LeaseNotFresh", "Nothing: deletions wait until this operator is sure to be the only one."


WHAT_TO_DO: Mapping[Reason, str] = MappingProxyType({reason: reason.what_to_do for reason in Reason})
"""The table of the reference."""
