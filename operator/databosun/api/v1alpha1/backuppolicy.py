"""BackupPolicy: what to back up, when, and how long to keep it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import (
    Cron,
    Duration,
    LabelSelector,
    LocalRef,
    Model,
    PodTemplate,
    Quantity,
    ShortName,
    Text,
    Time,
    TimeZone,
    cel,
    rules,
)
from databosun.api.v1alpha1.conditions import Condition


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

    name: ShortName
    type: BackupType = BackupType.FULL
    cron: Cron = Field(description="Five fields: minute, hour, day of month, month, day of week.")
    max_chain: Annotated[int, Field(ge=1, le=8)] = Field(
        default=8, description="Incrementals in a row; the next is then taken against the full."
    )


class Continuous(Model):
    """Continuous shipping of the database's log."""

    enabled: bool = True
    max_lag: Duration = "1m"
    max_retained: Quantity = "10Gi"
    allow_unbounded_slot: bool = False
    synchronous: bool = False


class Retention(Model):
    """How long backups are kept: a backup is kept while any rule needs it."""

    keep_last: Annotated[int, Field(ge=1, le=10000)] | None = None
    daily: Annotated[int, Field(ge=0, le=10000)] | None = None
    weekly: Annotated[int, Field(ge=0, le=10000)] | None = None
    monthly: Annotated[int, Field(ge=0, le=10000)] | None = None
    yearly: Annotated[int, Field(ge=0, le=10000)] | None = None
    recovery_window: Duration | None = None
    keep_forever: Literal["None", "Monthly", "Yearly"] = "None"
    grace: Duration = Field(default="24h", description="How long a deletion plan stands in status, unchanged, before it is carried out.")


class Hook(Model):
    """One step before or after a backup: SQL in the database, or a program of the runner image."""

    model_config = rules(cel("has(self.sql) != has(self.exec)", "exactly one of sql and exec is required"))
    name: ShortName
    sql: Text | None = None
    exec: Annotated[list[Text], Field(min_length=1, max_length=64)] | None = None
    on_error: Literal["Fail", "Continue"] = "Fail"
    timeout: Duration = "5m"


class Hooks(Model):
    """Steps around a backup."""

    pre: list[Hook] = Field(default_factory=list, max_length=16)
    post: list[Hook] = Field(default_factory=list, max_length=16)


class BackupPolicySpec(Model):
    """What a user wants backed up."""

    model_config = rules(
        cel("has(self.databaseRef) != has(self.databaseSelector)", "exactly one of databaseRef and databaseSelector is required"),
        cel("has(self.preset) || (has(self.schedules) && size(self.schedules) > 0)", "schedules are required where no preset is given"),
    )
    database_ref: LocalRef | None = None
    database_selector: LabelSelector | None = None
    storage_ref: LocalRef
    preset: Literal["Critical", "Production", "Development"] | None = None
    method: Method = Method.AUTO
    consistency: Literal["Strict", "Partial"] = "Strict"
    time_zone: TimeZone = "UTC"
    schedules: list[Schedule] = Field(
        default_factory=list, max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    )
    continuous: Continuous | None = None
    retention: Retention | None = None
    legal_hold: bool = Field(default=False, description="Holds every backup of this policy.")
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    suspend: bool = False
    jitter: Duration = "0s"
    starting_deadline: Duration = Field(default="1h", description="A slot older than this is missed, not run.")
    start_deadline: Duration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: Duration = Field(default="6h", description="How long one attempt may take.")
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    concurrency_policy: Literal["Forbid", "Allow"] = "Forbid"
    hooks: Hooks | None = None
    pod_template: PodTemplate | None = None


class DatabaseCounts(Model):
    """How many databases the policy covers, and how they fare."""

    matched: int
    protected: int
    failing: int


class BackupCounts(Model):
    """The backups of this policy."""

    total: int
    proven: int
    held: int
    bytes: int


class PendingDeletions(Model):
    """The deletion plan, shown before the first deletion."""

    names: list[str] = Field(default_factory=list, max_length=50, description="The first 50.")
    count: int
    hash: str = Field(description="Identifies the plan; an Approval names it where the breaker has tripped.")
    since: Time = Field(description="Since when the plan has stood unchanged.")


class BackupPolicyStatus(Model):
    """How a policy fares; written by the operator alone."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    effective: dict[str, Any] | None = Field(default=None, description="The policy with its preset filled in.")
    databases: DatabaseCounts | None = None
    next_schedule_time: Time | None = None
    last_schedule_time: Time | None = None
    last_successful_time: Time | None = None
    run_now_token: str | None = None
    backups: BackupCounts | None = None
    pending_deletions: PendingDeletions | None = None
    next_retention_time: Time | None = Field(default=None, description="When retention is looked at again, were nothing to happen before.")
