"""The report for whoever must be shown it: what its JSON form holds. Schema 1; fields are added, never changed."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from databosun.api.drill import CheckResult, Level, Rpo, Rto, Verdict
from databosun.api.failover import FailoverMode, FailoverVerdict
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class Trust(StrEnum):
    """What vouches for a drill of the report."""

    SIGNED = "Signed"
    UNSIGNED = "Unsigned"
    BROKEN = "Broken"
    STATUS_ONLY = "StatusOnly"


class State(StrEnum):
    """What the drills of a database say of it now."""

    PROVEN = "Proven"
    FAILING = "Failing"
    NOT_PROVEN = "NotProven"
    NEVER_DRILLED = "NeverDrilled"


class ReportObjectives(Model):
    """Longest acceptable time to restore and span of lost writes, in seconds."""

    tier: int | None = None
    rto: float | None = None
    rpo: float | None = None
    source: Literal["Database", "Evidence", "Unknown"] = "Unknown"


class Review(Model):
    """What people noted about a run: their words, which nothing vouches for."""

    findings: str | None = None
    runbooks: str | None = None
    by: str | None = None
    at: str | None = None


class RecordSeen(Model):
    """The record that a drill of the report was read from."""

    where: str
    sha256: str | None = None
    trust: Trust
    problems: list[str] = Field(default_factory=list, description="Why it is Broken.")
    notes: list[str] = Field(default_factory=list)


class ReportDrill(Model):
    """One drill. A verdict whose record is Broken proves nothing, and counts for nothing."""

    run: str
    at: Instant
    verdict: Verdict
    reason: str
    message: str
    backup: str
    manifest_sha256: str | None = None
    manifest: Literal["Matches", "Differs", "NotSeen"] = Field(
        default="NotSeen", description="Whether the manifest that was at hand has this digest."
    )
    level_asked: Level | None = None
    level_reached: Level | None = None
    proven: bool = False
    checks: list[CheckResult] = Field(default_factory=list)
    rto: Rto | None = None
    rpo: Rpo | None = None
    until: str = ""
    negative_control: bool = False
    measured_on: str = ""
    notes: list[str] = Field(default_factory=list)
    record: RecordSeen
    review: Review | None = None


class UndrilledBackup(Model):
    """A backup that no drill of the report was of."""

    name: str
    completed_at: Instant


class Coverage(Model):
    """How many of the backups that there are were ever restored."""

    known: bool = Field(description="False: nothing at hand says which backups there are.")
    backups: int = 0
    drilled: int = 0
    proven: int = 0
    oldest_undrilled: UndrilledBackup | None = None


class ReportCondition(Model):
    """A condition of the Database as it stood when the report was made."""

    type: str
    status: str
    reason: str
    message: str


class ReportDatabase(Model):
    """One database."""

    namespace: str
    name: str
    engine: str | None = None
    engine_version: str | None = None
    objectives: ReportObjectives
    state: State
    last_proven: Instant | None = None
    failing_since: Instant | None = None
    drills: list[ReportDrill] = Field(default_factory=list, description="Newest first.")
    not_said: dict[str, int] = Field(
        default_factory=dict, description="Runs that said nothing about a backup, by phase: Refused, Error."
    )
    coverage: Coverage
    conditions: list[ReportCondition] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list, description="What is wrong with its records.")


class JointMember(Model):
    """One database of a drill of many. `ready_seconds`: from the start of the whole until it was back."""

    database: str
    run: str
    verdict: Verdict
    group: int
    seconds: float | None = None
    ready_seconds: float | None = None
    objective: float | None = None
    met: bool | None = None
    record: Literal["Matches", "Differs", "NotSeen", "None"] = Field(
        description="Whether the record of that database that was at hand has the digest that stands here."
    )


class JointDrill(Model):
    """One drill of many databases together: a disaster, rehearsed."""

    namespace: str
    run: str
    drill: str | None = None
    at: Instant
    verdict: Verdict
    reason: str
    message: str
    seconds: float | None = Field(default=None, description="Until the last database was back.")
    met: bool | None = None
    members: list[JointMember]
    record: RecordSeen


class ReportFailover(Model):
    """One failover test that moved a primary. One whose record is Broken counts for nothing. Spans are seconds."""

    namespace: str
    database: str
    run: str
    at: Instant
    mode: FailoverMode | None = None
    verdict: FailoverVerdict
    reason: str
    message: str
    primary: str | None = Field(default=None, description="Before.")
    candidate: str | None = Field(default=None, description="Who took over.")
    write_downtime: float | None = None
    write_downtime_objective: float | None = None
    paths: dict[str, float] = Field(default_factory=dict, description="Of each way, where clients took several.")
    rejoin: float | None = None
    acknowledged: int | None = None
    lost: int | None = Field(default=None, description="Acknowledged writes that are gone.")
    unknown: int | None = None
    split_brain: list[str] = Field(default_factory=list)
    record: RecordSeen


class Control(Model):
    """A requirement of a framework, and what of this report supports it. Never a claim to comply."""

    framework: str
    clause: str
    asks: str
    shown: str
    not_shown: str


class Totals(Model):
    """The figures of the first page."""

    databases: int = 0
    proven: int = 0
    failing: int = 0
    not_proven: int = 0
    never_drilled: int = 0
    drills: int = 0
    passed: int = 0
    rto_missed: int = Field(default=0, description="Databases whose newest trusted drill missed its RTO.")
    rpo_missed: int = Field(default=0, description="Databases whose newest trusted drill missed its RPO.")
    signed: int = 0
    broken: int = Field(default=0, description="Records that are missing or wrong.")
    backups: int = 0
    drilled: int = 0


class Report(Model):
    """The whole report. Times are UTC, spans seconds."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["DrillReport"] = "DrillReport"
    generated_at: Instant
    since: Instant
    scope: str
    sources: list[str] = Field(description="What the report was made from, and what was not at hand.")
    totals: Totals
    problems: list[str] = Field(default_factory=list, description="What is wrong with files that fit no database.")
    databases: list[ReportDatabase]
    joint: list[JointDrill] = Field(default_factory=list, description="Drills of many databases, newest first.")
    failovers: list[ReportFailover] = Field(default_factory=list, description="Failover tests, newest first.")
    controls: list[Control]
    databosun_version: str
