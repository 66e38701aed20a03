"""Reasons of recovery: restores, drills, and the checks of a recovered copy."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class ProvingReasons:
    """Reasons of recovery: restores, drills, and the checks of a recovered copy."""

    # Recovery and proof.
    RECOVERY_FAILED = Entry("RecoveryFailed", "See the message for the copy's own words: this backup does not come up.")
    WRONG_ARCHITECTURE = Entry("WrongArchitecture", "Run the Job on a node of the architecture that the message names.")
    PRELOAD_MISSING = Entry("PreloadMissing", "Name a runner image with that library in Database.spec.runner.image.")
    TABLESPACE_CREATED = Entry(
        "TablespaceCreated",
        "Restore from a backup taken after the tablespace was created; the log names a path that is not there.",
    )
    POINT_NOT_REACHED = Entry(
        "PointNotReached", "Choose a point that the log covers; the message says where recovery ended."
    )
    FILES_DAMAGED = Entry(
        "FilesDamaged", "Do not use this backup: the message names the files that are not as they were."
    )
    LOGICAL_HAS_NO_LOG = Entry(
        "LogicalHasNoLog", "Choose a backup that a log is replayed onto: the message says which method."
    )
    LOG_GAP = Entry("LogGap", "Restore to a point outside the gap; the message offers the nearest ones.")
    LOG_MISSING = Entry("LogMissing", "Choose a point that needs no log, or turn on continuous: nothing was shipped.")
    POINT_NOT_COVERED = Entry("PointNotCovered", "Choose one of the nearest points that the message names.")
    TARGET_NOT_EMPTY = Entry(
        "TargetNotEmpty", "Use an empty target, or ask for Replace with confirm: the message says which."
    )
    TARGET_OLDER = Entry("TargetOlder", "Restore into a server of the backup's major version, or a newer one.")
    TARGET_BUSY = Entry("TargetBusy", "Have the sessions that the message names end; the restore is tried again.")
    TARGET_IS_ONE_DATABASE = Entry(
        "TargetIsOneDatabase", "Choose that one database (spec.selection), or a target whose connection names none."
    )
    TABLE_IN_USE = Entry("TableInUse", "See the message for what uses the table, and for the ways that there are.")
    NO_SUCH_TABLE = Entry(
        "NoSuchTable", "Name the table with its schema: at that point, or now, the database has no such table."
    )
    NO_SUCH_SCHEMA = Entry("NoSuchSchema", "Create the schema at the target, or restore the whole database.")
    PREPARED_TRANSACTIONS = Entry(
        "PreparedTransactions", "Commit or roll back the prepared transactions that are named."
    )
    BRIDGE_UNSUPPORTED = Entry(
        "BridgeUnsupported", "Restore into a volume: the engine has no way into a running server."
    )
    STAGED = Entry(
        "Staged", "Look at what was staged; then kubectl bosun restore --promote NAME, or let its time pass."
    )
    NOT_PROMOTED = Entry(
        "NotPromoted",
        "Of a restore, nothing: nobody consented in time, and what was staged was removed. Of a failover: see who is"
        " primary now, and why the candidate was not made it.",
    )
    TARGET_REFUSES = Entry(
        "TargetRefuses", "See the message for the server's own words: what is restored does not fit there."
    )
    EVIDENCE_INVALID = Entry("EvidenceInvalid", "Do not rely on this evidence: digest, chain or signature is wrong.")

    # Restores and drills.
    PASSED = Entry("Passed", "Nothing: the backup restored and every check passed, or the failover met its objectives.")
    CHOSEN = Entry("Chosen", "Nothing: the backup is chosen and written down; the Job starts next.")
    DRILL_PASSED = Entry("DrillPassed", "Nothing: a drill restored a backup of this database.")
    DRILL_FAILED = Entry(
        "DrillFailed",
        "Act now: see the run that the message names. A backup that does not restore is none; keep the older ones.",
    )
    DRILL_PARTIAL = Entry("DrillPartial", "See what the message names: the backup restored, and something was found.")
    DRILL_REFUSED = Entry("DrillRefused", "Put right what the message names; the next drill tries again.")
    DRILL_ERROR = Entry(
        "DrillError", "See the message: Databosun or the cluster failed, the backup may be as good as before."
    )
    CONTROL_NOTICED = Entry(
        "ControlNoticed", "Nothing: a drill noticed the damage that it had done to a copy on purpose."
    )
    DRILL_OVERDUE = Entry(
        "DrillOverdue", "Find out why no drill passes: see the Database's drill runs and what they say."
    )
    PROOF_TOO_OLD = Entry(
        "ProofTooOld", "Find out why drills do not run, or do not pass: see the Database's drill runs."
    )
    NEVER_MEASURED = Entry(
        "NeverMeasured", "Nothing, or start a drill: only one that restores measures the time it takes."
    )
    RESTORE_TOO_SLOW = Entry(
        "RestoreTooSlow",
        "Shorten chains, give the drill's pods faster disks and more CPU, or agree on another objective.",
    )
    DRILL_NOT_FOUND = Entry("DrillNotFound", "Create the RestoreDrill, or correct drillRef.")
    BACKUP_NOT_FOUND = Entry("BackupNotFound", "Name a Backup of the same namespace that has succeeded.")
    BACKUP_GONE = Entry("BackupGone", "Start another run: the chosen backup was deleted meanwhile.")
    IN_USE = Entry("InUse", "Nothing: a drill or a restore reads it; it is deleted afterwards.")
    PRODUCTION_VOLUME = Entry(
        "ProductionVolume", "Restore into a volume of its own: the named one is a database's own."
    )
    ANSWERED = Entry("Answered", "Read the answer in the status; it is gone a day after the question.")
    RESTORED = Entry("Restored", "Follow the steps in status.handOver.")
    RESTORE_FAILED = Entry("RestoreFailed", "See the message: it says why, and in which state the target is.")
    RESTORE_REFUSED = Entry("RestoreRefused", "Put right what the message names; nothing was touched.")
    DRILLS_FAILING = Entry("DrillsFailing", "See the drill runs of the databases that the message names.")

    # Checks of a recovered copy.
    CANARY_MISSING = Entry(
        "CanaryMissing", "Find out why the known value is not in the backup: it may be of another database."
    )
    CHECK_FAILED = Entry("CheckFailed", "See the message for what was found and expected.")
    CONTROL_PASSED = Entry(
        "ControlPassed", "Do not trust drills until this is understood: damage was not noticed. Report it."
    )
    DATA_DAMAGED = Entry(
        "DataDamaged", "Act now: the backup holds damaged pages; look at the source, keep older backups."
    )
    EXTENSION_MISSING = Entry(
        "ExtensionMissing", "Name a runner image that has the extensions in Database.spec.runner.image."
    )
    NOTHING_CHECKED = Entry("NothingChecked", "Ask for a level, or checks, that this backup can answer.")
    PROGRAM_FAILED = Entry("ProgramFailed", "See what the check's program said; correct it, or find out what it found.")
    QUERY_FAILED = Entry("QueryFailed", "Correct the check's query, or find out why the copy cannot answer it.")
    ROW_COUNT_WRONG = Entry("RowCountWrong", "Find out who emptied or filled the table; keep the backups before that.")
    ROWS_DIFFER = Entry("RowsDiffer", "Do not use this backup: its rows are not those of its own snapshot.")
    SCHEMA_DIFFERS = Entry(
        "SchemaDiffers", "Do not use this backup: its definitions are not those of its own snapshot."
    )
    STALE = Entry("Stale", "Find out why the backup's data are that old: the writer, or the backups, have stopped.")
    COLLATION_MISMATCH = Entry(
        "CollationMismatch", "Reindex after a restore: the runner sorts texts otherwise than the server."
    )
