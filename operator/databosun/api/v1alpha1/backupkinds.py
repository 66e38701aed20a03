"""The kinds that say what is backed up, when, and where to."""

from __future__ import annotations

from databosun.api.v1alpha1.backup import BackupSpec, BackupStatus
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupPolicyStatus
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec, BackupStorageStatus
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.databasestatus import DatabaseStatus
from databosun.api.v1alpha1.kind import AGE, MESSAGE, READY, Column, Kind, condition

DATABASE = Kind(
    kind="Database",
    plural="databases",
    short_name="bdb",
    description="Where a database is, how to log in, how much it matters. Its status answers: could we recover now?",
    spec=DatabaseSpec,
    status=DatabaseStatus,
    name_limit=40,
    columns=(
        Column("Engine", ".spec.engine"),
        Column("Version", ".status.engineVersion"),
        Column("Tier", ".spec.tier", "integer"),
        Column(
            "Protected",
            condition("Protected"),
            description="Whether the newest backup is younger than two schedule intervals and no log is missing.",
        ),
        Column(
            "RPO",
            ".status.recovery.latest",
            "date",
            description="Age of the newest instant that can be restored: what a disaster right now would cost.",
        ),
        Column("RPO-Met", condition("RPOMet")),
        Column("Last-Proven", ".status.lastProven.at", "date"),
        Column("RTO", ".status.lastProven.rto", description="Time to restore, as the last drill measured it."),
        READY,
        Column("Host", ".spec.connection['host','hosts']", wide=True),
        Column("Last-Backup", ".status.lastBackup.at", "date", wide=True),
        Column("Earliest", ".status.recovery.earliest", "date", wide=True),
        Column(
            "Log",
            condition("ContinuousHealthy", "reason"),
            wide=True,
            description="How the shipping of its log fares.",
        ),
        MESSAGE,
        AGE,
    ),
)

BACKUP_STORAGE = Kind(
    kind="BackupStorage",
    plural="backupstorages",
    short_name="bst",
    description="A bucket or volume that takes backups, with its encryption, signing and immutability.",
    spec=BackupStorageSpec,
    status=BackupStorageStatus,
    name_limit=40,
    columns=(
        Column("Place", ".spec['s3.bucket','volume.claimName']", description="Bucket or claim."),
        Column("Objects", ".status.usage.objects", "integer"),
        Column("Size", ".status.usage.human"),
        Column("Validated", ".status.lastValidatedTime", "date", description="When it last passed."),
        READY,
        Column("Endpoint", ".spec.s3.endpoint", wide=True),
        Column("Prefix", ".spec.s3.prefix", wide=True),
        Column("Owner", ".status.owner.clusterId", wide=True),
        MESSAGE,
        AGE,
    ),
)

BACKUP_POLICY = Kind(
    kind="BackupPolicy",
    plural="backuppolicies",
    short_name="bpol",
    description="What to back up, when, and how long to keep it.",
    spec=BackupPolicySpec,
    status=BackupPolicyStatus,
    name_limit=40,
    columns=(
        Column("Preset", ".spec.preset"),
        Column("Databases", ".status.databases.matched", "integer"),
        Column("Protected", ".status.databases.protected", "integer"),
        Column("Failing", ".status.databases.failing", "integer"),
        Column("Last-Success", ".status.lastSuccessfulTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        Column("Suspended", ".spec.suspend", "boolean"),
        READY,
        Column("Storage", ".spec.storageRef.name", wide=True),
        Column("Backups", ".status.backups.total", "integer", wide=True),
        Column("Proven", ".status.backups.proven", "integer", wide=True),
        Column("Size", ".status.backups.human", wide=True),
        Column("To-Delete", ".status.pendingDeletions.count", "integer", wide=True),
        MESSAGE,
        AGE,
    ),
)

BACKUP = Kind(
    kind="Backup",
    plural="backups",
    short_name="bbk",
    description="One backup: a record, never edited. Deleting a policy deletes no backups.",
    spec=BackupSpec,
    status=BackupStatus,
    name_limit=57,
    selectable=(".spec.databaseRef.name", ".spec.policyRef.name", ".spec.schedule", ".status.phase"),
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Type", ".status.type", description="What is really taken."),
        Column("Method", ".status.method", description="How it is really taken."),
        Column("Phase", ".status.phase"),
        Column("Size", ".status.size.human", description="Stored size: compressed and encrypted."),
        Column("Duration", ".status.duration"),
        Column("Proven", ".status.proven.level", description="How deep the best drill looked that it passed."),
        Column("Expires", ".status.expiresAt"),
        AGE,
        Column("Storage", ".spec.storageRef.name", wide=True),
        Column("Position", ".status.position['lsn','gtid','optime','offset']", wide=True),
        Column("Message", condition("Ready", "message"), wide=True),
    ),
)
