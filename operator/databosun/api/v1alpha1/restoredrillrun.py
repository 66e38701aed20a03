"""RestoreDrillRun: one drill. A record, never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.drill import Level
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.database import Objectives
from databosun.api.v1alpha1.fields import Identifier, Instant, Line, Message, ShortName, first
from databosun.api.v1alpha1.proving import (
    ChosenBackup,
    CopyCheck,
    CopyCheckResult,
    MeasuredRpo,
    MeasuredRto,
    StoredRecord,
    TargetPoint,
)
from databosun.api.v1alpha1.restoredrill import Selection
from databosun.api.v1alpha1.run import Failure, NotAfter, RunStatus, ScheduledFor, record
from databosun.api.v1alpha1.schema import WHOLE, cel, one_each, rules


class DrillPhase(StrEnum):
    """Where a drill stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"
    PARTIAL = "Partial"
    REFUSED = "Refused"
    ERROR = "Error"


DRILL_FINAL = frozenset(DrillPhase) - {DrillPhase.PENDING, DrillPhase.RUNNING}


class RestoreDrillRunSpec(Model):
    """What is to be proven, by which drill; immutable."""

    model_config = rules(
        *record("RestoreDrillRun"),
        cel("!has(self.backupRef) || !has(self.selection)", "only one of backupRef and selection can be given"),
        cel(
            "has(self.databaseRef) || has(self.drillRef)",
            "databaseRef or drillRef is required: without databaseRef all databases of the drill are drilled",
        ),
        cel("!has(self.backupRef) || has(self.databaseRef)", "backupRef is of one database: databaseRef is required"),
        cel("!has(self.partOf) || has(self.databaseRef)", "partOf is of one database: databaseRef is required"),
        cel("has(self.drillRef) || !has(self.schedule)", "schedule is that of a drill: drillRef is required with it"),
    )
    drill_ref: LocalRef | None = Field(
        default=None, description="The RestoreDrill that says what this run does not say itself."
    )
    database_ref: LocalRef | None = Field(
        default=None,
        description="The Database whose backup is drilled. Absent: all databases that the drill covers, in its order,"
        " with one verdict.",
    )
    part_of: LocalRef | None = Field(
        default=None, description="The run over many databases that this one belongs to; set by the operator."
    )
    backup_ref: LocalRef | None = Field(default=None, description="Drill this very Backup. Absent: by selection.")
    selection: Selection | None = Field(
        default=None, description="Which backup, to which point. Absent: the drill's, or the latest."
    )
    level: Level | None = Field(default=None, description="How deep to look. Absent: the drill's, or Restore.")
    checks: Annotated[list[CopyCheck], Field(max_length=32), one_each("name")] | None = Field(
        default=None, description="Checks of the restored copy. Absent: the drill's."
    )
    objectives: Objectives | None = Field(
        default=None, description="What is measured against. Absent: the drill's, or the Database's."
    )
    negative_control: bool = Field(
        default=False, description="Damage a copy beside the real one, and demand that it is noticed."
    )
    schedule: ShortName | None = Field(default=None, description="The drill's schedule that asked for it.")
    scheduled_for: ScheduledFor = None
    not_after: NotAfter = None

    @property
    def database_name(self) -> str:
        """The Database that is drilled; of a run over many none."""
        return self.database_ref.name if self.database_ref else ""


class DrillMember(Model):
    """One database of a drill of many."""

    database: Identifier = Field(description="Name of the Database.")
    group: int = Field(description="The group that it was drilled with; the first is 1.")
    run: Identifier = Field(description="Its own run.")
    phase: DrillPhase | None = Field(default=None, description="Verdict of its own run. Absent: none yet.")
    reason: Line | None = Field(default=None, description="Why it did not pass, in one word.")
    message: Line | None = Field(default=None, description="Why it did not pass, for people.")
    backup: Identifier | None = Field(default=None, description="The Backup that was restored.")
    storage: Identifier | None = Field(default=None, description="The BackupStorage that holds its evidence.")
    ordered_at: Instant | None = Field(default=None, description="What its own time to restore was measured from.")
    rto: MeasuredRto | None = Field(default=None, description="Its own time to restore.")
    rpo: MeasuredRpo | None = Field(default=None, description="Its own span of lost writes.")
    ready_milliseconds: int | None = Field(
        default=None, description="From the start of the whole until it was back, verification apart."
    )
    ready: Identifier | None = Field(default=None, description="The same for people, such as 9m12s.")
    met: bool | None = Field(
        default=None, description="Whether that is within its objective: whether it would be back in time."
    )
    evidence_sha256: Identifier | None = Field(default=None, description="SHA-256 of its evidence.")


class DrillGroupResult(Model):
    """One group of a drill of many databases."""

    number: int = Field(description="Its place in the order; the first is 1.")
    databases: int = Field(description="How many databases it has.")
    started_at: Instant | None = Field(default=None, description="When it was ordered. Absent: not yet.")
    milliseconds: int | None = Field(
        default=None, description="From then until its last database was back, verification apart."
    )
    took: Identifier | None = Field(default=None, description="The same for people, such as 9m12s.")


class RestoreDrillRunStatus(RunStatus):
    """What a drill found; written by the operator alone."""

    phase: DrillPhase | None = Field(
        default=None,
        description="Where it stands. Passed: the backup restored and every check passed. Failed: it does not restore,"
        " or a critical check failed. Partial: it restored, with findings. Refused: a precondition is missing. Error:"
        " Databosun or the cluster failed, and nothing is said about the backup.",
    )
    backup: ChosenBackup | None = Field(default=None, description="The backup that was chosen, once for all attempts.")
    until: TargetPoint | None = Field(default=None, description="The point that was recovered to.")
    level: Level | None = Field(default=None, description="How deep it was to look.")
    level_reached: Level | None = Field(default=None, description="What is proven. Absent: nothing.")
    groups: Annotated[list[DrillGroupResult], Field(max_length=33), one_each("number")] | None = Field(
        default=None, description="The groups of a drill of many databases, in their order."
    )
    members: Annotated[list[DrillMember], Field(max_length=256), one_each("run")] | None = Field(
        default=None, description="The databases of a drill of many, and what became of each."
    )
    ordered_at: Instant | None = Field(default=None, description="What the time to restore was measured from.")
    proven: bool = Field(
        default=False,
        description="Whether the backup is proven by this: passed at level Restore or more, or only the sort order of"
        " texts (collations) differs in the image.",
    )
    checks: Annotated[list[CopyCheckResult], Field(max_length=64), WHOLE, first(64)] | None = Field(
        default=None, description="What each check found; the first 64."
    )
    rto: MeasuredRto | None = Field(default=None, description="Time to restore, as measured.")
    rpo: MeasuredRpo | None = Field(default=None, description="Span of lost writes, as measured.")
    reached: Position | None = Field(default=None, description="The position that was recovered to.")
    evidence: StoredRecord | None = Field(default=None, description="The evidence in the store.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What is otherwise than in the original."
    )
    failure: Failure | None = Field(default=None, description="Why it did not pass and what to do about it.")
