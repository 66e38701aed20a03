"""The metrics of what is protected, and where: Databases, BackupPolicies, BackupStorages."""

from __future__ import annotations

from typing import Final

from databosun.runtime.families import Family

_DATABASE = ("namespace", "database")
_POLICY = ("namespace", "policy")
_PROTECTION = ("namespace", "policy", "database")
_STORAGE = ("namespace", "storage")

# --- Of each Database ---

DATABASE_INFO: Final = Family(
    "databosun_database_info",
    "gauge",
    "1 for each Database; the labels say what it is. Version is empty until the server was looked at.",
    (*_DATABASE, "engine", "version", "tier", "environment"),
)
DATABASE_PROTECTED: Final = Family(
    "databosun_database_protected",
    "gauge",
    "1 where the condition Protected is True: policies cover the Database and its backups meet the objectives. Else 0.",
    _DATABASE,
)
DATABASE_REACHABLE: Final = Family(
    "databosun_database_reachable",
    "gauge",
    "1 where the last look at the server succeeded, 0 where it failed.",
    _DATABASE,
)
RECOVERY_POINT: Final = Family(
    "databosun_database_recovery_point_timestamp_seconds",
    "gauge",
    "The newest instant that can be restored from storage alone; its age is the data that would be lost now. "
    "0 while there is none.",
    _DATABASE,
)
CONTINUOUS_HEALTHY: Final = Family(
    "databosun_database_continuous_healthy",
    "gauge",
    "1 where the log is shipped, no older than maxLag, onto a backup; 0 where it is not. No series where no policy "
    "asks for it, where the spec rules it out, and while an archiver starts.",
    _DATABASE,
)
LOG_GAPS: Final = Family(
    "databosun_database_log_gaps",
    "gauge",
    "Stretches of the log that are in no store, as the archiver counts them. No series where there is none.",
    _DATABASE,
)
RPO_OBJECTIVE: Final = Family(
    "databosun_database_rpo_objective_seconds", "gauge", "The longest acceptable span of lost writes.", _DATABASE
)
RTO_OBJECTIVE: Final = Family(
    "databosun_database_rto_objective_seconds", "gauge", "The longest acceptable time to restore.", _DATABASE
)
PROVEN: Final = Family(
    "databosun_database_proven",
    "gauge",
    "1 where the condition Proven is True: a drill restored a backup of late, and none has failed since. Else 0.",
    _DATABASE,
)
LAST_PROVEN: Final = Family(
    "databosun_database_last_proven_timestamp_seconds",
    "gauge",
    "When the newest drill ended that proved a backup of the Database. 0 while there is none.",
    _DATABASE,
)
DRILL_FAILED: Final = Family(
    "databosun_database_drill_failed",
    "gauge",
    "1 where the newest drill that said anything about a backup of the Database failed. Else 0.",
    _DATABASE,
)
DRILL_OVERDUE: Final = Family(
    "databosun_database_drill_overdue",
    "gauge",
    "1 where a RestoreDrill covers the Database, and none has passed within one and a half of its intervals. Else 0.",
    _DATABASE,
)
DRILLS: Final = Family(
    "databosun_database_drills",
    "gauge",
    "RestoreDrills that cover the Database and are not suspended.",
    _DATABASE,
)
RTO_MEASURED: Final = Family(
    "databosun_database_rto_seconds",
    "gauge",
    "The time to restore that the newest passed drill measured. No series while none has.",
    _DATABASE,
)
RESTORE_ESTIMATE: Final = Family(
    "databosun_database_restore_estimate_seconds",
    "gauge",
    "How long a restore of the newest backup would take now, reckoned from that drill. No series while none passed.",
    _DATABASE,
)
FAILOVER_DOWNTIME: Final = Family(
    "databosun_database_failover_downtime_seconds",
    "gauge",
    "The longest time without an acknowledged write in the newest failover test that moved the primary. No series "
    "while none has.",
    _DATABASE,
)
FAILOVER_LOST: Final = Family(
    "databosun_database_failover_lost_writes",
    "gauge",
    "Acknowledged writes that were gone after that test. No series while none has measured any.",
    _DATABASE,
)
BACKUP_SIZE: Final = Family(
    "databosun_backup_size_bytes", "gauge", "Stored size of the Database's newest successful backup.", _DATABASE
)

# --- Of each Database under each BackupPolicy ---

LAST_SUCCESS: Final = Family(
    "databosun_backup_last_success_timestamp_seconds",
    "gauge",
    "When the newest successful backup of the Database by the policy was complete. 0 while there is none.",
    _PROTECTION,
)
CONSECUTIVE_FAILURES: Final = Family(
    "databosun_backup_consecutive_failures", "gauge", "Runs that failed since the newest success.", _PROTECTION
)
MISSED_SLOTS: Final = Family(
    "databosun_backup_missed_slots_total",
    "counter",
    "Slots of the schedules that no run answered, as the status counts them.",
    _PROTECTION,
)

# --- Of each BackupPolicy ---

EXPECTED_INTERVAL: Final = Family(
    "databosun_backup_expected_interval_seconds",
    "gauge",
    "The longest time between two slots of the policy's schedules. No series while the policy is suspended.",
    _POLICY,
)
RETENTION_BLOCKED: Final = Family(
    "databosun_retention_blocked",
    "gauge",
    "1 where the condition RetentionHealthy is False: nothing expires until a person has looked. Else 0.",
    _POLICY,
)
POLICY_BACKUPS: Final = Family("databosun_policy_backups", "gauge", "Successful backups of the policy.", _POLICY)
POLICY_PROVEN: Final = Family("databosun_policy_backups_proven", "gauge", "Those that a drill restored.", _POLICY)
POLICY_HELD: Final = Family("databosun_policy_backups_held", "gauge", "Those under a legal hold.", _POLICY)
POLICY_BYTES: Final = Family("databosun_policy_stored_bytes", "gauge", "What they take in the storage.", _POLICY)
PENDING_DELETIONS: Final = Family(
    "databosun_policy_pending_deletions", "gauge", "Backups that retention is about to delete.", _POLICY
)

# --- Of each BackupStorage ---

STORAGE_REACHABLE: Final = Family(
    "databosun_storage_reachable", "gauge", "1 where the last validation succeeded, 0 where it failed.", _STORAGE
)
LAST_VALIDATED: Final = Family(
    "databosun_storage_last_validated_timestamp_seconds",
    "gauge",
    "When writing, reading and deleting in the storage was last tried with success. 0 while it never was.",
    _STORAGE,
)

OF_PROTECTION: Final = (
    DATABASE_INFO,
    DATABASE_PROTECTED,
    DATABASE_REACHABLE,
    RECOVERY_POINT,
    CONTINUOUS_HEALTHY,
    LOG_GAPS,
    RPO_OBJECTIVE,
    RTO_OBJECTIVE,
    PROVEN,
    LAST_PROVEN,
    DRILL_FAILED,
    DRILL_OVERDUE,
    DRILLS,
    RTO_MEASURED,
    RESTORE_ESTIMATE,
    FAILOVER_DOWNTIME,
    FAILOVER_LOST,
    BACKUP_SIZE,
    LAST_SUCCESS,
    CONSECUTIVE_FAILURES,
    MISSED_SLOTS,
    EXPECTED_INTERVAL,
    RETENTION_BLOCKED,
    POLICY_BACKUPS,
    POLICY_PROVEN,
    POLICY_HELD,
    POLICY_BYTES,
    PENDING_DELETIONS,
    STORAGE_REACHABLE,
    LAST_VALIDATED,
)
