"""How well a Database is protected, as its status says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.failover import FailoverMode
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import Identifier, Message, Time
from databosun.api.v1alpha1.recovery import Archiver, LogPreflight, ManagedRecovery, Recovery
from databosun.api.v1alpha1.schema import one_each


class ScheduleCursor(Model):
    """How far one schedule of a policy has come for this database."""

    name: Identifier = Field(description="Name of the schedule.")
    slot: Time | None = Field(default=None, description="The newest slot that was answered, by a run or as missed.")
    missed: int = Field(default=0, description="Slots of this schedule that no run answered.")


class PolicyCursor(Model):
    """The state of one policy for this database."""

    name: Identifier = Field(description="Name of the BackupPolicy.")
    uid: Identifier = Field(description="Its uid: a policy that is created anew under the same name starts anew.")
    schedules: Annotated[list[ScheduleCursor], Field(max_length=64), one_each("name")] = Field(
        default_factory=list, description="How far each schedule has come."
    )
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
    suspended: bool = Field(default=False, description="Whether the policy was suspended at the last look.")
    last_run: Identifier | None = Field(default=None, description="Name of the newest Backup.")
    last_success: Time | None = Field(default=None, description="When the newest successful Backup was complete.")
    last_success_run: Identifier | None = Field(default=None, description="Name of that Backup.")
    consecutive_failures: int = Field(default=0, description="Runs that failed since the newest success.")
    missed_slots: int = Field(default=0, description="Slots of all schedules that no run answered.")
    next: Time | None = Field(default=None, description="The next slot.")


class DrillCursor(PolicyCursor):
    """The state of one RestoreDrill for this database."""

    engine_version: Identifier | None = Field(
        default=None, description="Version of the server that was drilled last; another major version asks for a drill."
    )
    runs: int = Field(default=0, description="Runs that were started for this database.")


class Estimate(Model):
    """How long a restore right now would take."""

    restore_now_seconds: int = Field(description="In seconds.")
    restore_now: Identifier = Field(description="The same for people, such as 9m12s.")
    basis: Message = Field(description="What it is reckoned from.")


class EffectiveObjectives(Model):
    """The objectives in force."""

    tier: int = Field(description="The tier they come from.")
    rto: Identifier = Field(description="Recovery time objective in force.")
    rpo: Identifier = Field(description="Recovery point objective in force.")


class LastBackup(Model):
    """The newest successful backup."""

    name: Identifier = Field(description="Name of the Backup.")
    at: Time = Field(description="When it was complete.")
    size_bytes: int = Field(description="Stored size in bytes.")
    restore_bytes: int | None = Field(
        default=None, description="Stored bytes that restoring it reads: its own, and those of what it stands on."
    )
    engine_version: Identifier | None = Field(default=None, description="Version of the server that it is of.")


class LastProven(Model):
    """The newest drill that proved a backup of this database."""

    run: Identifier = Field(description="Name of the drill run.")
    at: Time = Field(description="When it ended.")
    level: Identifier = Field(description="How deep it looked: Artifact, Restore, Deep or Application.")
    rto_seconds: int | None = Field(default=None, description="Measured time to restore, in seconds.")
    rto: Identifier | None = Field(default=None, description="The same for people, such as 9m12s.")
    rpo_seconds: int | None = Field(default=None, description="Measured span of lost writes, in seconds.")
    backup: Identifier | None = Field(default=None, description="The Backup that it proved.")
    restore_bytes: int | None = Field(default=None, description="Stored bytes that it read.")
    replayed: bool = Field(default=False, description="Whether it went on to a point of the shipped log.")
    passed: bool = Field(description="Whether all critical checks passed.")
    system_identifier: Identifier | None = Field(default=None, description="The server that its backup is of.")


class FailedOver(Model):
    """The newest failover test that moved this database's primary."""

    run: Identifier = Field(description="Name of the FailoverTestRun.")
    at: Time = Field(description="When it ended.")
    mode: FailoverMode = Field(description="How the primary was made to move.")
    phase: Identifier = Field(description="Passed, Failed, Aborted or Inconclusive.")
    primary: Identifier | None = Field(
        default=None, description="The primary at its end; absent where there was not exactly one."
    )
    write_downtime_milliseconds: int | None = Field(
        default=None, description="Longest time without a write that was acknowledged."
    )
    write_downtime: Identifier | None = Field(default=None, description="The same for people, such as 2.6s.")
    lost: int | None = Field(
        default=None, description="Acknowledged writes that are gone. Absent: nothing was measured."
    )


class DatabaseStatus(Model):
    """What is known about a database; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled, Reachable, Protected, RPOMet, ContinuousHealthy, RTOMet, Proven.",
    )
    engine_version: Identifier | None = Field(default=None, description="Version that the server reports.")
    system_identifier: Identifier | None = Field(
        default=None, description="The server's own identity; a recreated database has another."
    )
    objectives: EffectiveObjectives | None = Field(default=None, description="The objectives in force.")
    recovery: Recovery | None = Field(default=None, description="What could be restored now, from storage alone.")
    managed: ManagedRecovery | None = Field(
        default=None, description="What the cloud says that it can restore by itself; RDS only."
    )
    archiver: Archiver | None = Field(default=None, description="The archiver that ships this server's log.")
    log_preflight: LogPreflight | None = Field(
        default=None, description="What archiving needs of the server; absent while no policy asks for it."
    )
    policies: Annotated[list[PolicyCursor], Field(max_length=256), one_each("uid")] = Field(
        default_factory=list, description="What each policy has done for this database, and what comes next."
    )
    drills: Annotated[list[DrillCursor], Field(max_length=64), one_each("uid")] = Field(
        default_factory=list, description="What each RestoreDrill has done for this database, and what comes next."
    )
    last_backup: LastBackup | None = Field(default=None, description="The newest successful backup.")
    last_proven: LastProven | None = Field(default=None, description="The newest drill that proved a backup.")
    last_failover: FailedOver | None = Field(
        default=None, description="The newest failover test that moved the primary."
    )
    estimate: Estimate | None = Field(
        default=None, description="How long a restore right now would take, as the last drill measured it."
    )
    probed_generation: int | None = Field(
        default=None, description="Generation of the spec with which the server was looked at last."
    )
    last_probe_time: Time | None = Field(default=None, description="When the server was looked at last.")
