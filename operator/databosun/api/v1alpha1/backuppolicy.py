"""BackupPolicy: what to back up, when, and how long to keep it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import LabelSelector, LocalRef, Model, PodTemplate, Sized
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import (
    Cron,
    Duration,
    Identifier,
    PositiveDuration,
    Quantity,
    ShortName,
    Text,
    Time,
    TimeZone,
    first,
)
from databosun.api.v1alpha1.schema import FREE_FORM, UNIQUE, WHOLE, cel, one_each, rules


class BackupType(StrEnum):
    """What one backup holds."""

    FULL = "Full"
    INCREMENTAL = "Incremental"
    DIFFERENTIAL = "Differential"


class Method(StrEnum):
    """How a backup is taken."""

    AUTO = "Auto"
    PHYSICAL = "Physical"
    LOGICAL = "Logical"
    SNAPSHOT = "Snapshot"


class DeletionPolicy(StrEnum):
    """What becomes of the data when a person deletes a Backup object."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Schedule(Model):
    """One row of the timetable."""

    name: ShortName = Field(description="Its name, unique in the policy; stands in the Backups it starts.")
    type: BackupType = Field(
        default=BackupType.FULL,
        description="Full: everything. Incremental: what changed since the backup before. Differential: since the last"
        " full.",
    )
    cron: Cron = Field(
        description="When, in five fields: minute, hour, day of month, month, day of week; in spec.timeZone. Names"
        " (MON, JAN), lists, ranges, steps, L (last day), LW (last weekday), MON#2 (second Monday) and 5L (last"
        " Friday) work."
    )
    max_chain: Annotated[int, Field(ge=1, le=8)] = Field(
        default=8,
        description="Incrementals in a row; the next is then taken against the full. Shorter chains restore faster and"
        " need less scratch.",
    )


class Continuous(Model):
    """Continuous shipping of the database's log (WAL, binlog, oplog), for recovery to any point in time."""

    enabled: bool = Field(default=True, description="False switches it off where the preset would ask for it.")
    max_lag: PositiveDuration = Field(
        default="1m",
        description="Longest that a write may wait until it is in the store; beyond it the policy is not healthy.",
    )
    max_retained: Quantity = Field(
        default="10Gi",
        description="Most log that the server may keep back for the archiver. Beyond it the archiver lets go, the gap"
        " is recorded and a full backup is taken: production's disk comes first.",
    )
    allow_unbounded_slot: bool = Field(
        default=False, description="Accept a PostgreSQL server whose max_slot_wal_keep_size sets no limit of its own."
    )
    synchronous: bool = Field(
        default=False,
        description="Let the server wait for the store with each commit: no write is ever lost, each takes longer.",
    )


_COUNT = Field(ge=0, le=10000)


class Retention(Model):
    """How long backups are kept. A backup is kept while any rule, hold, lock or dependent backup needs it; the newest
    successful and the newest proven one are always kept."""

    keep_last: Annotated[int, Field(ge=1, le=10000)] | None = Field(
        default=None, description="Keep this many of the newest backups, whatever their age."
    )
    daily: Annotated[int, _COUNT] | None = Field(
        default=None,
        description="Keep one backup (the first full, else the first) of each of the newest days that have one, this"
        " many days. 0 is no rule.",
    )
    weekly: Annotated[int, _COUNT] | None = Field(
        default=None, description="The same for weeks, which start on Monday."
    )
    monthly: Annotated[int, _COUNT] | None = Field(default=None, description="The same for months.")
    yearly: Annotated[int, _COUNT] | None = Field(default=None, description="The same for years.")
    recovery_window: PositiveDuration | None = Field(
        default=None,
        description="Keep all that it takes to restore to any backup or point in time this far back, such as 30d.",
    )
    keep_forever: Literal["None", "Monthly", "Yearly"] = Field(
        default="None", description="Monthly or Yearly: the first full of each month or year is never deleted."
    )
    grace: Duration = Field(
        default="24h", description="How long a deletion plan stands in status, unchanged, before it is carried out."
    )


class Hook(Model):
    """One step before or after a backup: SQL in the database, or a program of the runner image."""

    model_config = rules(cel("has(self.sql) != has(self.exec)", "exactly one of sql and exec is required"))
    name: ShortName = Field(description="Its name, unique in its list; stands in logs and failures.")
    sql: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None, description="Statements to run in the database. Exactly one of sql and exec."
    )
    exec: Annotated[list[Text], Field(min_length=1, max_length=64), WHOLE] | None = Field(
        default=None, description="A program of the runner image and its arguments; no shell reads them."
    )
    on_error: Literal["Fail", "Continue"] = Field(default="Fail", description="Whether its failure fails the backup.")
    timeout: PositiveDuration = Field(default="5m", description="How long it may take.")


class Hooks(Model):
    """Steps around a backup."""

    pre: Annotated[list[Hook], Field(max_length=16), one_each("name")] = Field(
        default_factory=list, description="Before it starts, in this order."
    )
    post: Annotated[list[Hook], Field(max_length=16), one_each("name")] = Field(
        default_factory=list, description="After it ended, successful or not, in this order."
    )


class BackupPolicySpec(Model):
    """What a user wants backed up."""

    model_config = rules(
        cel(
            "has(self.databaseRef) != has(self.databaseSelector)",
            "exactly one of databaseRef and databaseSelector is required",
        ),
        cel(
            "has(self.preset) || (has(self.schedules) && size(self.schedules) > 0)",
            "schedules are required where no preset is given",
        ),
        cel(
            "!has(self.schedules) || size(self.schedules) == 0 || self.schedules.exists(one, one.type == 'Full')",
            "schedules need at least one of type Full: the others stand on it",
        ),
    )
    database_ref: LocalRef | None = Field(
        default=None, description="The Database to back up. Exactly one of databaseRef and databaseSelector."
    )
    database_selector: LabelSelector | None = Field(
        default=None, description="Back up every Database of the namespace with these labels, each with its own state."
    )
    storage_ref: LocalRef = Field(description="The BackupStorage that takes the backups.")
    preset: Literal["Critical", "Production", "Development"] | None = Field(
        default=None,
        description="Fills in schedules, continuous and retention where they are not given. Critical: full daily,"
        " incremental hourly, logs continuously, keep 30 daily and 84 monthly. Production: full daily, incremental"
        " hourly, logs every 15 min, keep 14 daily and 12 monthly. Development: full weekly, incremental daily, keep 4"
        " weekly. The result stands in status.effective.",
    )
    method: Method = Field(
        default=Method.AUTO,
        description="Auto: Physical where the engine and the grants allow it, else Logical, and status says why."
        " Physical: files of the whole server. Logical: a dump. Snapshot: of the cloud (RDS).",
    )
    consistency: Literal["Strict", "Partial"] = Field(
        default="Strict",
        description="Partial accepts tables that cannot be read at one instant (non-transactional engines).",
    )
    fingerprints: bool = Field(
        default=True,
        description="Logical backups: count and hash the rows of every table in the snapshot of the dump, so that a"
        " restored copy can be compared row for row. False is faster, and leaves only the dump's own checks.",
    )
    time_zone: TimeZone = Field(
        default="UTC", description="Time zone of the schedules and of retention's days, such as Europe/Berlin."
    )
    schedules: Annotated[list[Schedule], Field(max_length=16), one_each("name")] = Field(
        default_factory=list,
        description="The timetable. Where a full and an incremental are due at once, the full is taken.",
    )
    continuous: Continuous | None = Field(default=None, description="Continuous shipping of the database's log.")
    retention: Retention | None = Field(
        default=None, description="How long backups are kept. Absent, and no preset: nothing is ever deleted."
    )
    legal_hold: bool = Field(
        default=False, description="Hold every backup of this policy: none is deleted while this stands."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What happens to the data when a person deletes a Backup of this policy. Retain: it stays in the"
        " store. Delete: it is deleted too, where no guard forbids it. Copied into each new Backup.",
    )
    suspend: bool = Field(default=False, description="Start no new run; running ones go on, retention rests.")
    jitter: Duration = Field(
        default="0s",
        description="Spread: each run starts up to this much after its slot, always the same for one database.",
    )
    starting_deadline: PositiveDuration = Field(
        default="1h", description="A slot that could not be started for this long is missed, not run."
    )
    start_deadline: PositiveDuration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="6h", description="How long one attempt may take.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass."
    )
    concurrency_policy: Literal["Forbid", "Allow"] = Field(
        default="Forbid", description="Forbid: a run waits while another one of the same database is under way."
    )
    hooks: Hooks | None = Field(default=None, description="Steps before and after each backup.")
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the backup Jobs' pods.")


class DatabaseCounts(Model):
    """How many databases the policy covers, and how they fare."""

    matched: int = Field(description="Databases that the policy covers.")
    protected: int = Field(description="Those whose newest backup is recent enough.")
    failing: int = Field(description="Those whose last run failed.")


class BackupCounts(Sized):
    """The backups of this policy."""

    total: int = Field(description="Successful backups.")
    proven: int = Field(description="Those that a drill restored.")
    held: int = Field(description="Those under a legal hold.")


class PendingDeletions(Model):
    """The deletion plan, shown before the first deletion."""

    names: Annotated[list[Identifier], Field(max_length=50), UNIQUE, first(50)] = Field(
        default_factory=list, description="The Backups to be deleted; the first 50."
    )
    count: int = Field(description="How many there are in all.")
    hash: Identifier = Field(description="Identifies the plan; an Approval names it where the breaker has tripped.")
    since: Time = Field(description="Since when the plan has stood unchanged.")


class BackupPolicyStatus(Model):
    """How a policy fares; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled, ScheduleHealthy, LastRunSucceeded, RetentionHealthy.",
    )
    effective: Annotated[dict[str, Any], FREE_FORM] | None = Field(
        default=None,
        description="The policy in force: the spec with its preset filled in, as far as the engine can do it.",
    )
    databases: DatabaseCounts | None = Field(
        default=None, description="How many databases the policy covers, and how they fare."
    )
    next_schedule_time: Time | None = Field(default=None, description="The next slot of any database.")
    last_schedule_time: Time | None = Field(default=None, description="The newest slot that was answered.")
    last_successful_time: Time | None = Field(
        default=None, description="When the newest successful backup was complete."
    )
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
    backups: BackupCounts | None = Field(default=None, description="The backups of this policy.")
    pending_deletions: PendingDeletions | None = Field(
        default=None, description="What retention is about to delete once the plan has stood for retention.grace."
    )
    next_retention_time: Time | None = Field(
        default=None, description="When retention is looked at again, were nothing to happen before."
    )
