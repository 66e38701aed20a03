"""Inquiry: a question to a store or a database that only reads. Asked once, answered once, gone after a day."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.comparison import Comparison
from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate
from databosun.api.v1alpha1.fields import Identifier, Line, Name, PositiveDuration, Time
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.run import Failure, RunStatus
from databosun.api.v1alpha1.schema import UNIQUE, cel, rules

MAX_CONTENT = 262_144


class InquiryPhase(StrEnum):
    """Where an inquiry stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


INQUIRY_FINAL = frozenset(InquiryPhase) - {InquiryPhase.PENDING, InquiryPhase.RUNNING}


class RecordsAsked(Model):
    """Records that are to be handed over as they lie in a store: of drills, page by page, or of one restore."""

    storage_ref: LocalRef = Field(description="The BackupStorage to read.")
    restore: Name | None = Field(
        default=None, description="The record of this Restore. Absent: the evidence of drills."
    )
    database: Name | None = Field(default=None, description="Of this database only; needed with restore.")
    since: Time | None = Field(default=None, description="Only evidence that was written then or later.")
    after: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="Go on behind this record: status.records.next of the page before."
    )


class ComparisonAsked(Model):
    """What a database is to be compared with: a private copy of it from the past."""

    model_config = rules(
        cel(
            "!has(self.tables) || has(self.database)",
            "tables are those of one database of the server: database is required with them",
        )
    )
    database_ref: LocalRef = Field(description="The Database to look at. It is only read.")
    backup_ref: LocalRef | None = Field(
        default=None, description="Copy this very Backup. Absent: the newest one that reaches back to the point."
    )
    point_in_time: Time | None = Field(
        default=None, description="Recover the copy to this instant; needs the shipped log. Absent: the backup's end."
    )
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="Compare this database of the server only. Absent: all."
    )
    tables: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64), UNIQUE]
        | None
    ) = Field(default=None, description="Compare these tables only, such as public.orders.")
    statement_timeout: PositiveDuration = Field(
        default="10m",
        description="How long one statement may take at the database; a table that takes longer is left out.",
    )


class InquirySpec(Model):
    """What is asked; immutable."""

    model_config = rules(
        cel("self == oldSelf", "an Inquiry is asked once: its spec cannot be changed; create another one"),
        cel("has(self.records) != has(self.comparison)", "exactly one of records and comparison is required"),
    )
    records: RecordsAsked | None = Field(
        default=None, description="Hand over records. Exactly one of records and comparison."
    )
    comparison: ComparisonAsked | None = Field(
        default=None, description="Compare a database with a copy from the past. Exactly one of records and comparison."
    )
    not_after: Time = Field(
        description="The inquiry does not start after this (at most a day ahead), so that one that is re-applied or"
        " came back with a cluster's backup starts nothing."
    )
    start_deadline: PositiveDuration = Field(
        default="30m", description="How long the Job may wait for its pod to start."
    )
    deadline: PositiveDuration = Field(default="4h", description="How long one attempt may take.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=1, description="Further attempts after a failure that may pass."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Job's pod.")


class RecordsFound(Model):
    """One page of records, to the byte."""

    count: int = Field(description="How many there are on this page.")
    content: Annotated[str, Field(max_length=MAX_CONTENT)] = Field(
        description="Base64 of zlib of a JSON list of pairs: where each lies, and its text."
    )
    next: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="Ask for the next page behind this. Absent: this is the last one."
    )
    skipped: int = Field(default=0, description="Objects that could not be handed over, being too large.")


class InquiryStatus(RunStatus):
    """What was answered; written by the operator alone."""

    phase: InquiryPhase | None = Field(
        default=None, description="Where it stands. Refused: a precondition is missing, and nothing was read."
    )
    completion_time: Time | None = Field(default=None, description="When the answer was there.")
    duration: Identifier | None = Field(default=None, description="From start to answer, such as 4m12s.")
    backup: ChosenBackup | None = Field(default=None, description="The backup that is copied, chosen once.")
    until: TargetPoint | None = Field(default=None, description="The point that the copy is recovered to.")
    records: RecordsFound | None = Field(default=None, description="The records, where those were asked for.")
    comparison: Comparison | None = Field(default=None, description="The differences, where those were asked for.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    failure: Failure | None = Field(default=None, description="Why there is no answer and what to do about it.")
