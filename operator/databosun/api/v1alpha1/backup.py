"""Backup: one backup. A record, never edited."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy, Method
from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.fields import Identifier, Line, Message, ShortName, Time, first
from databosun.api.v1alpha1.run import Failure, NotAfter, RunStatus, record
from databosun.api.v1alpha1.schema import FREE_FORM, WHOLE, cel, rules


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
        *record("Backup"),
        cel("has(self.databaseRef) || has(self.policyRef)", "databaseRef or policyRef is required"),
        cel("has(self.policyRef) || has(self.storageRef)", "storageRef is required where no policyRef is given"),
        cel(
            "has(self.policyRef) || !has(self.schedule)",
            "schedule names one of a policy: policyRef is required with it",
        ),
        cel("self.type != 'Full' || !has(self.parentRef)", "parentRef is for types Incremental and Differential only"),
    )
    database_ref: LocalRef | None = Field(
        default=None, description="The Database. May be left out where the policy covers exactly one."
    )
    policy_ref: LocalRef | None = Field(
        default=None, description="The BackupPolicy that says how: storage, method, deadline, hooks, retention."
    )
    storage_ref: LocalRef | None = Field(default=None, description="The BackupStorage. Absent: the policy's.")
    schedule: ShortName | None = Field(default=None, description="The policy's schedule that asked for it.")
    type: BackupType = Field(default=BackupType.FULL, description="What is asked for; status.type says what was taken.")
    method: Method = Field(default=Method.AUTO, description="How it is asked for; status.method says how it was taken.")
    parent_ref: LocalRef | None = Field(
        default=None,
        description="The Backup to stand on. Absent: the newest one that an incremental or differential can stand on.",
    )
    scheduled_for: Time | None = Field(
        default=None,
        description="The slot that this backup answers; set by the operator. A slot long past is not run again.",
    )
    not_after: NotAfter = None
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What happens to the data when a person deletes this object: Retain keeps it, Delete deletes it"
        " where no guard forbids it.",
    )


class Size(Model):
    """Bytes of the data as read and as stored."""

    logical: int = Field(description="Bytes as read from the database.")
    stored: int = Field(description="Bytes in the store: compressed and encrypted.")
    human: Identifier = Field(description="Stored size for people, such as 1.4GiB.")


class Position(Model):
    """Where in the database's log the backup ends; each engine fills its own."""

    lsn: Identifier | None = Field(
        default=None, description="PostgreSQL, MariaDB: position of the end in the log that is shipped."
    )
    start_lsn: Identifier | None = Field(
        default=None, description="PostgreSQL, MariaDB: position that replay of that log starts from."
    )
    timeline: int | None = Field(default=None, description="PostgreSQL: timeline.")
    gtid: Message | None = Field(default=None, description="MySQL, MariaDB: executed transactions.")
    binlog: Identifier | None = Field(default=None, description="MySQL, MariaDB: binary log file and position in it.")
    optime: Identifier | None = Field(default=None, description="MongoDB: operation time.")
    offset: Identifier | None = Field(default=None, description="Redis: replication offset.")
    snapshot: Message | None = Field(default=None, description="RDS: ARN of the snapshot.")


class Proof(Model):
    """The best drill that this backup passed."""

    level: Identifier = Field(description="How deep it looked: Artifact, Restore, Deep or Application.")
    at: Time = Field(description="When it ended.")
    run: Identifier = Field(description="Name of the drill run.")


class HeldPart(Model):
    """A part of a backup that lies outside of the store, where a cloud keeps it."""

    kind: str
    name: str = Field(description="The cloud's own, such as an ARN.")
    region: str


class ObjectCount(Model):
    """One object inside a backup."""

    name: Line = Field(description="Its name, such as public.orders.")
    rows: int | None = Field(default=None, description="Its rows in the backup's own snapshot.")
    fingerprint: Identifier | None = Field(default=None, description="Digest over its rows, whatever their order.")


class Hold(Model):
    """A legal hold."""

    reason: Message | None = Field(default=None, description="Why, as the annotation databosun.io/hold-reason says.")


class BackupStatus(RunStatus):
    """What became of a backup; written by the operator alone."""

    conditions: Conditions = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, SizePlausible, Unverified."
    )
    database: Identifier | None = Field(
        default=None, description="The Database that is backed up, where the spec leaves it to the policy."
    )
    phase: BackupPhase | None = Field(default=None, description="Where it stands; Succeeded and Failed are final.")
    type: BackupType | None = Field(default=None, description="What was really taken.")
    method: Method | None = Field(default=None, description="How it was really taken.")
    size: Size | None = Field(default=None, description="Bytes of the data as read and as stored.")
    objects: Annotated[list[ObjectCount], Field(max_length=50), WHOLE, first(50)] | None = Field(
        default=None, description="What is inside, where the method can tell; the first 50."
    )
    object_count: int | None = Field(default=None, description="How many objects are inside in all.")
    checksum: Identifier | None = Field(
        default=None, description="SHA-256 of manifest.json; compared before every restore."
    )
    location: Identifier | None = Field(default=None, description="The backup's folder in the store.")
    position: Position | None = Field(default=None, description="Where in the database's log the backup ends.")
    snapshot_time: Time | None = Field(default=None, description="The instant that the backup shows.")
    engine: EngineName | None = Field(default=None, description="What the database is.")
    engine_version: Identifier | None = Field(default=None, description="Version of the server.")
    system_identifier: Identifier | None = Field(default=None, description="The server's own identity.")
    tool_versions: Annotated[dict[str, Line], Field(max_length=32)] | None = Field(
        default=None, description="Versions of the tools that took it."
    )
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    parent: Identifier | None = Field(default=None, description="The Backup it stands on.")
    base: Identifier | None = Field(default=None, description="The full Backup at the bottom of its chain.")
    chain_length: int | None = Field(default=None, description="Incrementals since the full; 0 for a full.")
    proven: Proof | None = Field(
        default=None, description="The best drill that it passed. Absent: nobody has restored it yet."
    )
    expires_at: Time | None = Field(
        default=None, description="When retention stops needing it, as things stand. Absent: not in sight."
    )
    hold: Hold | None = Field(default=None, description="A legal hold that lies on it.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What differs from what was asked, and why."
    )
    failure: Failure | None = Field(default=None, description="Why it failed and what to do about it.")
    details: Annotated[dict[str, Any], FREE_FORM] | None = Field(
        default=None, description="What the engine has to add."
    )

    @property
    def shows(self) -> datetime | None:
        """The instant that the backup shows, as far as it can be believed: a server whose clock is ahead showed nothing
        that came after the backup was complete."""
        if self.snapshot_time is None or self.completion_time is None:
            return self.snapshot_time
        return min(self.snapshot_time, self.completion_time)
