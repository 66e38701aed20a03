"""Reasons of PostgreSQL: its settings and grants, its log and its programs."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class PostgreSQLReasons:
    """Reasons of PostgreSQL: its settings and grants, its log and its programs."""

    NO_PG_HBA_ENTRY = Entry("NoPgHbaEntry", "Add the line that the message gives to pg_hba.conf and reload.")
    NO_REPLICATION_PRIVILEGE = Entry("NoReplicationPrivilege", "Run ALTER ROLE … REPLICATION, as the message gives it.")
    PERMISSION_DENIED = Entry("PermissionDenied", "Run the grant that the message gives.")
    ROW_LEVEL_SECURITY = Entry("RowLevelSecurity", "Run ALTER ROLE … BYPASSRLS: rows would be missing otherwise.")
    LARGE_OBJECTS_UNREADABLE = Entry(
        "LargeObjectsUnreadable", "Grant the role to read large objects, as the message gives it."
    )
    PG_BOUNCER = Entry("PgBouncer", "Point spec.connection at PostgreSQL itself: this pooler carries no replication.")
    POOLER = Entry("Pooler", "Point spec.connection at PostgreSQL itself: a pooler stands in between.")
    SETTINGS_HIDDEN = Entry(
        "SettingsHidden", "Grant pg_read_all_settings: settings that a restore needs cannot be read."
    )
    WAL_LEVEL_MINIMAL = Entry("WalLevelMinimal", "Set wal_level = replica and restart the server.")
    NO_WAL_SENDER = Entry("NoWalSender", "Raise max_wal_senders, or wait for others to end.")
    NO_TEMPORARY_SLOT = Entry(
        "NoTemporarySlot", "Raise max_replication_slots: WAL is not kept for the backup meanwhile."
    )
    WAL_REMOVED = Entry("WalRemoved", "Raise wal_keep_size or max_replication_slots: the server recycled WAL too soon.")
    FULL_PAGE_WRITES_OFF = Entry("FullPageWritesOff", "Set full_page_writes = on on the primary.")
    SUMMARIES_MISSING = Entry(
        "SummariesMissing", "Set summarize_wal = on and raise wal_summary_keep_time; a full is taken instead."
    )
    SUMMARIZE_WAL_OFF = Entry("SummarizeWalOff", "Set summarize_wal = on; a full is taken until then.")
    INCREMENTAL_UNSUPPORTED = Entry(
        "IncrementalUnsupported", "Nothing: a full is taken, since the server (before 17) has none."
    )
    SERVER_ZSTD_ABSENT = Entry(
        "ServerZstdAbsent", "Nothing: the agent compresses instead; the server was built without zstd."
    )
    CONTINUOUS_UNSUPPORTED = Entry(
        "ContinuousUnsupported", "Nothing: logs are not shipped; status.effective says what is done."
    )
    SLOT_UNBOUNDED = Entry("SlotUnbounded", "Set max_slot_wal_keep_size, or accept the risk with allowUnboundedSlot.")
    SLOT_IN_USE = Entry("SlotInUse", "Nothing: the server lets go of a lost archiver's slot within wal_sender_timeout.")
    SLOT_LOST = Entry(
        "SlotLost",
        "Raise max_slot_wal_keep_size: the server let go of log that was not archived; a full backup is taken.",
    )
    RETAINED_TOO_MUCH = Entry(
        "RetainedTooMuch",
        "See why the store or the network was too slow, or raise continuous.maxRetained; a full backup is taken.",
    )
    ARCHIVING = Entry("Archiving", "Nothing: the log is shipped, and no older than maxLag.")
    ARCHIVER_STARTING = Entry("ArchiverStarting", "Nothing: the archiver is being started.")
    NO_BASE = Entry("NoBase", "Nothing: a full backup is taken first, that the log can be replayed onto.")
    ARCHIVE_STALLED = Entry(
        "ArchiveStalled",
        "Look at the archiver's pod and log: the store is further behind than maxLag, and nothing says why.",
    )
    ARCHIVER_NOT_RUNNING = Entry(
        "ArchiverNotRunning", "See the message, and kubectl describe the Deployment that it names."
    )
    ARCHIVER_UNKNOWN = Entry(
        "ArchiverUnknown", "Wait: it cannot be told at the moment whether the log is wanted; it goes on."
    )
    ONE_DATABASE_ONLY = Entry(
        "OneDatabaseOnly",
        "Leave out connection.database, or set continuous.enabled: false: a log is always the whole server's.",
    )
    SLOT_DROPPED = Entry("SlotDropped", "Nothing: the replication slot of an archiver that is gone was removed.")
    SLOT_LEFT = Entry(
        "SlotLeft",
        "Drop the replication slot that the message names, on the host that it names: the server keeps log for it.",
    )
    LOG_EXPIRED = Entry("LogExpired", "Nothing: log that no recovery within the window needs was deleted.")
    LOG_NOT_EXPIRED = Entry(
        "LogNotExpired", "See the message: a part of the log could not be deleted; it is tried again."
    )
    NO_REPLICATION_SLOT = Entry("NoReplicationSlot", "Raise max_replication_slots of the server.")
    NO_PRIMARY = Entry(
        "NoPrimary", "Wait for the failover, or list the primary in spec.connection: only standbys answer."
    )
    ANOTHER_SERVER = Entry("AnotherServer", "Nothing: another server answers now; its log is archived by itself.")
    SOURCE_WENT_BACK = Entry(
        "SourceWentBack",
        "Find out who set the server back (a volume snapshot?): its log goes on in a new timeline, or in higher files.",
    )
    NO_PARENT = Entry("NoParent", "Nothing: a full is taken, since there is none to stand on.")
    CHAIN_FULL = Entry("ChainFull", "Nothing: the chain is as long as maxChain allows.")
    DATABASES_UNKNOWN = Entry(
        "DatabasesUnknown",
        "Nothing: the server was gone right after the backup, so a drill does not ask the copy for its databases.",
    )
    REPLICA_TOO_OLD = Entry(
        "ReplicaTooOld",
        "Nothing: the primary was read, since a backup of the replica would have begun before the shipped log.",
    )
    AUTO_METHOD = Entry("AutoMethod", "Nothing: says which method Auto chose, and why.")
    WHOLE_SERVER = Entry("WholeServer", "Nothing: the backup holds the whole server, though one database is named.")
    SNAPSHOT_PER_DATABASE = Entry("SnapshotPerDatabase", "Nothing: each database is dumped at an instant of its own.")
    SUBSCRIPTIONS_NOT_DUMPED = Entry(
        "SubscriptionsNotDumped", "Create subscriptions anew after a restore; a dump by this role has none."
    )
    PROMOTED = Entry("Promoted", "Nothing: the standby became primary in mid-backup; the run is tried again.")
    RECOVERY_CONFLICT = Entry("RecoveryConflict", "Raise max_standby_streaming_delay, or use hot_standby_feedback.")
    BINLOG_FORMAT = Entry(
        "BinlogFormat", "Set binlog_format to MIXED or ROW, so that the log restores what was written."
    )
    BINLOG_OFF = Entry(
        "BinlogOff", "Turn on log_bin in the server; until then each Incremental is a Full, and no log is shipped."
    )
    BINLOG_PURGED = Entry(
        "BinlogPurged", "Keep binary logs longer (binlog_expire_logs_seconds); a Full is taken instead."
    )
    DUMP_INCOMPLETE = Entry("DumpIncomplete", "Report it with the message: the dump lacks what the server has.")
    HISTORY_NOT_DUMPED = Entry("HistoryNotDumped", "Nothing: the history of system-versioned tables is in no dump.")
    NOT_TRANSACTIONAL = Entry(
        "NotTransactional", "Turn the tables into InnoDB, or set consistency: Partial in the policy."
    )
    DATA_VOLUME_UNREADABLE = Entry(
        "DataVolumeUnreadable",
        "Set spec.dataVolume.runAsUser to the user of the server's files, as the message names it.",
    )
    DATA_VOLUME_FOREIGN = Entry(
        "DataVolumeForeign",
        "Name the claim of this very server's data directory in spec.dataVolume: what lies in it is another's.",
    )
    DATA_VOLUME_UNUSED = Entry("DataVolumeUnused", "Wait for the server's pod: none that runs uses the claim.")
    DATA_VOLUME_EXCLUSIVE = Entry(
        "DataVolumeExclusive",
        "Use a claim that more than one pod of a node may mount (not ReadWriteOncePod), or method Logical.",
    )
    REDO_OVERWRITTEN = Entry(
        "RedoOverwritten", "Raise innodb_log_file_size: the server wrote more than that while its files were copied."
    )
    ENCRYPTED_AT_REST = Entry(
        "EncryptedAtRest", "Use method Logical: the server's files are of no use without its keys."
    )
    STORAGE_ENGINE_UNSUPPORTED = Entry(
        "StorageEngineUnsupported",
        "Use method Logical, or move the tables that the message names to InnoDB, into the data directory.",
    )
    MEMORY_TABLES = Entry(
        "MemoryTables", "Nothing: rows of MEMORY tables are in no file; a restored copy has them empty."
    )
    REPLICA_UNFIT = Entry("ReplicaUnfit", "Mend the replication, or grant SLAVE MONITOR so that its lag can be seen.")
    ACCOUNTS_LEFT = Entry(
        "AccountsLeft",
        "Drop or rename the accounts that the message names: nobody can log in to them, or they hold privileges on "
        "what is gone, which can be revoked.",
    )
    VIEW_INVALID = Entry("ViewInvalid", "Mend or drop the view that the message names: what it stands on is gone.")
    AUTH_UNSUPPORTED = Entry("AuthUnsupported", "Use an account that logs in by password, over the network.")
    BINLOG_UNREADABLE = Entry(
        "BinlogUnreadable", "See the message for the server's own words; a Full is taken where it must."
    )
    SCHEMA_CHANGED = Entry("SchemaChanged", "Nothing: tables changed as the backup began; the run is tried again.")
    FINGERPRINTS_OFF = Entry(
        "FingerprintsOff", "Nothing: the policy says fingerprints: false; drills cannot compare rows."
    )
    LOCK_TIMEOUT = Entry("LockTimeout", "Nothing: a table was locked too long; the run is tried again.")
    DEADLOCK = Entry("Deadlock", "Nothing: the run is tried again.")
    QUERY_CANCELED = Entry("QueryCanceled", "Check statement_timeout of the backup's role; the run is tried again.")
    SERVER_STOPPED = Entry("ServerStopped", "Nothing: the server stopped in mid-backup; the run is tried again.")
    SERVER_OUT_OF_RESOURCES = Entry(
        "ServerOutOfResources", "Look at the server: memory, disk or connections are at their end."
    )
    SERVER_STORAGE = Entry("ServerStorage", "Look at the server's disk and log: it could not read a file of its own.")
    DATA_CORRUPTED = Entry("DataCorrupted", "Act now: the server's own data is damaged; keep the older backups.")
    DATABASE_ERROR = Entry("DatabaseError", "See the message for the server's own words.")
    PROTOCOL_ERROR = Entry("ProtocolError", "Report it with the server's version: it said what was not expected.")
