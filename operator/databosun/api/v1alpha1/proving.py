"""What restores and drills have in common: checks of a copy, the backup that was chosen, what was measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.drill import CheckOutcome, PointKind, RpoSource, Severity
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Identifier, Instant, Line, Message, PositiveDuration, ShortName, Text, Time
from databosun.api.v1alpha1.schema import WHOLE, cel, rules

_NAME = Field(min_length=1, max_length=63)


class CopyCheck(Model):
    """One check of the restored copy. Queries run read-only and give one row with one value."""

    model_config = rules(
        cel("self.type != 'Query' || (has(self.query) && has(self.value))", "type Query needs query and value"),
        cel("self.type != 'Canary' || (has(self.query) && has(self.value))", "type Canary needs query and value"),
        cel(
            "self.type != 'Freshness' || (has(self.query) && has(self.maxAge))", "type Freshness needs query and maxAge"
        ),
        cel(
            "self.type != 'RowCount' || (has(self.table) && (has(self.min) || has(self.max)))",
            "type RowCount needs table and one of min and max, or both",
        ),
        cel("self.type != 'Job' || has(self.exec)", "type Job needs exec"),
        cel("!has(self.min) || !has(self.max) || self.min <= self.max", "min may not exceed max"),
    )
    name: ShortName = Field(description="Its name, unique in its list; stands in results and evidence.")
    type: Literal["RowCount", "RowHash", "SchemaHash", "EngineIntegrity", "Freshness", "Canary", "Query", "Job"] = (
        Field(
            description="RowCount: rows of a table within bounds. RowHash, SchemaHash: equal to what the backup"
            " recorded (logical backups). EngineIntegrity: the engine's own check. Freshness: the newest value of a"
            " query is no older than maxAge. Canary: a known value is there. Query: a query's value compared with"
            " value. Job: a program of the runner image that looks at the copy and exits with 0."
        )
    )
    severity: Severity = Field(
        default=Severity.CRITICAL,
        description="Critical: its failure fails the drill. Warning: the drill is Partial at most. Info: only noted.",
    )
    database: Annotated[str, _NAME] | None = Field(
        default=None, description="Database of the server to ask. Absent: the only one that is no template."
    )
    table: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="Table to look at, such as public.orders."
    )
    query: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None, description="Statement that gives one row with one value."
    )
    # A lone `=` is a type of its own to some readers of YAML.
    operator: Literal["==", "!=", "<", "<=", ">", ">="] = Field(
        default="==", description="How type Query compares what it found with value."
    )
    value: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="What is expected, as text; numbers are compared by value."
    )
    min: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Fewest rows; with RowCount.")
    max: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Most rows; with RowCount.")
    max_age: PositiveDuration | None = Field(
        default=None, description="Greatest age at the point that was recovered to; with Freshness."
    )
    exec: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=32), WHOLE] | None = (
        Field(
            default=None,
            description="A program of the runner image and its arguments; no shell reads them. It finds the copy by"
            " PGHOST, PGPORT, PGUSER and PGDATABASE, and gets no credentials; with Job.",
        )
    )
    timeout: PositiveDuration = Field(default="10m", description="How long it may take.")


class CopyCheckResult(Model):
    """What a check found."""

    name: Identifier = Field(description="Name of the check.")
    type: Identifier = Field(description="What it looked at.")
    severity: Severity = Field(description="What its failure means for the verdict.")
    result: CheckOutcome = Field(description="Skipped: it could say nothing, such as with nothing to compare with.")
    reason: Line | None = Field(default=None, description="Why it failed, in one word.")
    observed: Line | None = Field(default=None, description="What was found.")
    expected: Line | None = Field(default=None, description="What was expected.")
    message: Line | None = Field(default=None, description="Its result, for people.")
    milliseconds: int = Field(default=0, description="How long it took.")


class ChosenBackup(Model):
    """The backup that was chosen, once for the whole run."""

    name: Identifier = Field(description="Name of the Backup.")
    database: Identifier = Field(description="Name of the Database whose folder holds it.")
    completed_at: Time | None = Field(default=None, description="When it was complete.")
    resolved_at: Instant = Field(description="When it was chosen.")
    checksum: Identifier = Field(description="SHA-256 of its manifest.json, which is demanded when it is read back.")
    attempt: int = Field(default=1, description="The attempt that took it: part of its place in the store.")
    type: BackupType | None = Field(default=None, description="What it holds.")
    method: Method | None = Field(default=None, description="How it was taken.")
    restore_bytes: int | None = Field(default=None, description="Stored bytes that restoring it reads, with its chain.")
    engine_version: Identifier | None = Field(default=None, description="Version of the server that it is of.")
    storage: Identifier | None = Field(default=None, description="The BackupStorage that holds it.")
    system_identifier: Identifier | None = Field(default=None, description="The server that it is of.")
    unverified: bool = Field(
        default=False, description="True: nothing but the store itself vouches for its manifest, so it may be forged."
    )


class TargetPoint(Model):
    """The point in time that is recovered to."""

    kind: PointKind = Field(description="None: the end of the backup. Latest: the end of the log.")
    time: Time | None = Field(default=None, description="The instant, for kind Time.")
    lsn: Identifier | None = Field(default=None, description="The log sequence number, for kind LSN.")
    name: Identifier | None = Field(
        default=None, description="The restore point, for kind RestorePoint; the transaction, for kind GTID."
    )


class Breakdown(Model):
    """What the time to restore went into, in milliseconds."""

    queue: int = Field(default=0, description="From the order to the start of the Job.")
    fetch: int = Field(default=0, description="Waiting for bytes of the store.")
    restore: int = Field(default=0, description="Unpacking, as far as it did not wait.")
    replay: int = Field(default=0, description="Replaying the log.")
    start: int = Field(default=0, description="Starting, to the first answered query.")
    sync: int = Field(default=0, description="Flushing to disk what the copy had not.")
    verify: int = Field(default=0, description="Checking; no part of the sum.")


class MeasuredRto(Model):
    """Time to restore, as measured: from the order to the first answered query, verification apart."""

    milliseconds: int = Field(description="As measured.")
    seconds: int = Field(description="The same, rounded up.")
    took: Identifier = Field(description="The same for people, such as 9m12s.")
    objective: Identifier | None = Field(default=None, description="The objective then in force.")
    met: bool | None = Field(default=None, description="Whether the objective was met.")
    breakdown: Breakdown | None = Field(
        default=None, description="What it went into. Absent for a drill of many databases: see its members."
    )
    available_seconds: int | None = Field(
        default=None, description="Where a cloud made the copy: until it called the instance available."
    )
    readable_seconds: int | None = Field(
        default=None, description="Where a cloud made the copy: until all of it had been read."
    )


class MeasuredRpo(Model):
    """Span of writes that would have been lost: from the newest recovered instant to the start of the drill."""

    milliseconds: int = Field(description="As measured.")
    seconds: int = Field(description="The same, rounded up.")
    span: Identifier = Field(description="The same for people, such as 1m4s.")
    objective: Identifier | None = Field(default=None, description="The objective then in force.")
    met: bool | None = Field(default=None, description="Whether the objective was met.")
    source: RpoSource = Field(description="What the newest recovered instant was read from.")
    newest: Time = Field(description="The newest recovered instant.")
    exact: bool = Field(description="False: an upper bound; the data may be newer, but nothing proves it.")


class StoredRecord(Model):
    """The record of a run in the store: written once, never changed."""

    uri: Message = Field(description="Where it is.")
    sha256: Identifier = Field(description="Its SHA-256.")
    storage: Identifier | None = Field(default=None, description="The BackupStorage that it lies in.")
