"""The words of restores and drills: points in time, levels, checks, verdicts. Shared by requests, results, evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class PointKind(StrEnum):
    """Where recovery ends."""

    NONE = "None"
    LATEST = "Latest"
    IMMEDIATE = "Immediate"
    TIME = "Time"
    LSN = "LSN"
    RESTORE_POINT = "RestorePoint"
    GTID = "GTID"


class RecoveryPoint(Model):
    """None: at the end of the backup itself, without the log. Immediate: as soon as it is consistent."""

    kind: PointKind = PointKind.NONE
    time: Instant | None = None
    lsn: str | None = None
    name: str | None = Field(default=None, description="Of a restore point, or of a transaction.")


class Level(StrEnum):
    """How much a drill proves; each includes those before it."""

    ARTIFACT = "Artifact"
    RESTORE = "Restore"
    DEEP = "Deep"
    APPLICATION = "Application"


class CheckType(StrEnum):
    """What a check looks at."""

    SERVER_READY = "ServerReady"
    SCHEMA_HASH = "SchemaHash"
    ROW_COUNT = "RowCount"
    ROW_HASH = "RowHash"
    ENGINE_INTEGRITY = "EngineIntegrity"
    FRESHNESS = "Freshness"
    CANARY = "Canary"
    QUERY = "Query"
    JOB = "Job"
    COLLATION = "Collation"
    EXTENSIONS = "Extensions"


class Severity(StrEnum):
    """What a failed check means for the verdict: Critical fails the drill, Warning makes it Partial, Info is noted."""

    CRITICAL = "Critical"
    WARNING = "Warning"
    INFO = "Info"


class Operator(StrEnum):
    """How a Query compares what it found with `value`."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


class Check(Model):
    """One check of a drill. Queries run read-only, in `database` (default: the only one that is no template)."""

    name: str
    type: CheckType
    severity: Severity = Severity.CRITICAL
    database: str | None = None
    table: str | None = Field(default=None, description="RowCount, RowHash: `schema.table`, or a table on the path.")
    query: str | None = Field(default=None, description="Query, Freshness, Canary: gives one row with one value.")
    operator: Operator = Operator.EQUAL
    value: str | None = Field(default=None, description="Query, Canary: what is expected, as text; numbers by value.")
    min: int | None = Field(default=None, description="RowCount: fewest rows.")
    max: int | None = Field(default=None, description="RowCount: most rows.")
    max_age_seconds: float | None = Field(default=None, description="Freshness: age at the point recovered to.")
    exec: list[str] | None = Field(default=None, description="Job: a program and its arguments.")
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0


class CheckOutcome(StrEnum):
    """Skipped: could not say anything, such as a comparison with nothing to compare with."""

    PASSED = "Passed"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class CheckResult(Model):
    """What a check found."""

    name: str
    type: CheckType
    severity: Severity
    outcome: CheckOutcome
    reason: str | None = Field(default=None, description="Why it failed, in one word.")
    observed: str | None = None
    expected: str | None = None
    message: str = ""
    seconds: float = 0.0


class Verdict(StrEnum):
    """Failed: it does not restore, or a critical check failed. Refused: a precondition. Error: ours."""

    PASSED = "Passed"
    FAILED = "Failed"
    PARTIAL = "Partial"
    REFUSED = "Refused"
    ERROR = "Error"


class RpoSource(StrEnum):
    """What the newest recovered instant was read from; the first one that is known counts."""

    HEARTBEAT = "Heartbeat"
    COMMIT = "Commit"
    MANIFEST = "Manifest"
    POSITION = "Position"


class Rto(Model):
    """Seconds from the start of the drill to the first answered query, and what they went into.

    `seconds` = queue + fetch + restore + replay + start + sync; `verify` stands apart.
    """

    seconds: float
    objective: float | None = None
    met: bool | None = None
    queue: float = 0.0
    fetch: float = Field(default=0.0, description="Waiting for bytes of the storage; unpacking goes on beside it.")
    restore: float = 0.0
    replay: float = 0.0
    start: float = 0.0
    sync: float = Field(default=0.0, description="Flushing what the copy had not: it runs without fsync.")
    verify: float = 0.0
    available: float | None = Field(
        default=None, description="Where a cloud made the copy: seconds until it called the instance available."
    )
    readable: float | None = Field(
        default=None, description="Where a cloud made the copy: seconds until all of it had been read."
    )


class Rpo(Model):
    """Seconds between the start of the drill (the assumed disaster) and the newest recovered instant."""

    seconds: float
    objective: float | None = None
    met: bool | None = None
    source: RpoSource
    newest: Instant
    exact: bool = Field(description="False: an upper bound; the data may be newer, but nothing proves it.")
