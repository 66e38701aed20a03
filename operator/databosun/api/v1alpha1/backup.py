"""Backup: one backup. A record, never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy, Method
from databosun.api.v1alpha1.common import LocalRef, Model, ShortName, Time, cel, rules
from databosun.api.v1alpha1.conditions import Condition


class BackupPhase(StrEnum):
    """Where a backup stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


FINAL_PHASES = frozenset({BackupPhase.SUCCEEDED, BackupPhase.FAILED})


class BackupSpec(Model):
    """What is to be backed up, by which policy; immutable."""

    model_config = rules(
        cel("self == oldSelf", "a Backup is a record: its spec cannot be changed"),
        cel("has(self.databaseRef) || has(self.policyRef)", "databaseRef or policyRef is required"),
        cel("has(self.policyRef) || has(self.storageRef)", "storageRef is required where no policyRef is given"),
    )
    database_ref: LocalRef | None = None
    policy_ref: LocalRef | None = None
    storage_ref: LocalRef | None = None
    schedule: ShortName | None = None
    type: BackupType = BackupType.FULL
    method: Method = Method.AUTO
    parent_ref: LocalRef | None = None
    scheduled_for: Time | None = None
    not_after: Time | None = Field(
        default=None, description="By hand: the run does not start after this, so that a restored or re-applied object starts nothing."
    )
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN


class Attempt(Model):
    """One try: one Job."""

    number: Annotated[int, Field(ge=1)]
    job: str
    started_at: Time | None = None
    deadline: Time | None = None
    ended_at: Time | None = None
    reason: str | None = None
    message: str | None = None
    retryable: bool = False
    certain: bool = Field(default=False, description="True: said by the agent itself, or no agent ran; else inferred.")


class Progress(Model):
    """How far the running attempt has come."""

    stage: str | None = None
    bytes: int = 0
    total_bytes: int | None = None
    percent: int | None = None


class Size(Model):
    """Bytes of the data as read and as stored."""

    logical: int
    stored: int
    human: str = Field(description="Stored size for people.")


class Position(Model):
    """Where in the database's log the backup ends."""

    lsn: str | None = None
    start_lsn: str | None = None
    timeline: int | None = None
    gtid: str | None = None
    optime: str | None = None
    offset: str | None = None


class Proof(Model):
    """The best drill that this backup passed."""

    level: str
    at: Time
    run: str


class Failure(Model):
    """Why a run failed and what to do about it."""

    reason: str
    message: str
    log_tail: str | None = None


class ObjectCount(Model):
    """One object inside a backup."""

    name: str
    rows: int | None = None
    fingerprint: str | None = None


class Hold(Model):
    """A legal hold."""

    reason: str | None = None


class BackupStatus(Model):
    """What became of a backup; written by the operator alone."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    phase: BackupPhase | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    deadline: Time | None = Field(default=None, description="The instant at which the running attempt stops by itself.")
    duration: str | None = None
    attempts: list[Attempt] = Field(default_factory=list, max_length=50)
    progress: Progress | None = None
    type: BackupType | None = Field(default=None, description="What was really taken.")
    method: Method | None = Field(default=None, description="How it was really taken.")
    size: Size | None = None
    objects: list[ObjectCount] | None = Field(default=None, max_length=50)
    object_count: int | None = None
    checksum: str | None = Field(default=None, description="SHA-256 of manifest.json.")
    location: str | None = None
    position: Position | None = None
    snapshot_time: Time | None = None
    engine_version: str | None = None
    system_identifier: str | None = None
    tool_versions: dict[str, str] | None = None
    image: str | None = None
    parent: str | None = None
    base: str | None = None
    chain_length: int | None = Field(default=None, description="Incrementals since the full; 0 for a full.")
    proven: Proof | None = None
    expires_at: Time | None = None
    hold: Hold | None = None
    notes: list[str] | None = Field(default=None, max_length=16, description="What differs from what was asked, and why.")
    failure: Failure | None = None
    details: dict[str, Any] | None = None
