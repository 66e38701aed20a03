"""What an agent reports: the full result (log lines) and its short form (the termination message)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from databosun.api.comparison import Comparison
from databosun.api.dataexport import ExportResult
from databosun.api.drill import CheckResult, Level, RecoveryPoint, Rpo, Rto, Verdict
from databosun.api.erasure import ErasureResult
from databosun.api.failover import FailoverResult
from databosun.api.lifecycleresult import LifecycleResult
from databosun.api.remains import RemainsResult
from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.fields import Instant
from databosun.api.v1alpha1.inquiry import RecordsFound

MAX_TERMINATION_BYTES = 4096
MAX_RESULT_BYTES = 256 * 1024


class Outcome(StrEnum):
    """How a Job ended, by its own word."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


class BackupResult(Model):
    """A backup that was taken and checked."""

    id: str
    attempt: int
    location: str
    checksum: str = Field(description="SHA-256 of manifest.json, hex.")
    type: BackupType
    method: Method
    logical_bytes: int
    stored_bytes: int
    object_count: int = 0
    objects: list[ObjectCount] = Field(default_factory=list)
    position: Position | None = None
    started_at: Instant
    snapshot_time: Instant | None = None
    completed_at: Instant
    engine: EngineName | None = None
    engine_version: str
    system_identifier: str | None = None
    tool_versions: dict[str, str] = Field(default_factory=dict)
    parent: str | None = None
    base: str | None = None
    chain_length: int = 0
    notes: list[str] = Field(
        default_factory=list, description="What differs from what was asked, and why; each `Reason: sentence`."
    )
    size_suspicious: str | None = Field(
        default=None, description="Set where the size fell below a fifth of the previous."
    )


class Finding(Model):
    """One thing a preflight found missing."""

    reason: str
    message: str
    fix: str | None = Field(default=None, description="The SQL or setting that mends it.")
    blocks: list[str] = Field(
        default_factory=list, description="Methods that cannot work until then; empty: a warning."
    )


class ManagedState(Model):
    """What a cloud says of its own backups, and what became of ours there."""

    earliest: Instant | None = None
    latest: Instant | None = None
    retention_days: int = 0
    multi_az: bool = False
    encrypted: bool = False
    missing: list[str] = Field(default_factory=list, description="Backups whose data are gone.")
    removed: list[str] = Field(default_factory=list, description="What drills had left.")


class ProbeResult(Model):
    """What a look at the database found."""

    reachable: bool
    host: str | None = None
    engine_version: str | None = None
    system_identifier: str | None = None
    in_recovery: bool = False
    bytes: int | None = None
    findings: list[Finding] = Field(default_factory=list)
    now: Instant | None = None
    managed: ManagedState | None = None


class StorageResult(Model):
    """What a validation of the storage found."""

    owner: str
    adopted: bool = False
    objects: int = 0
    bytes: int = 0


class DeletedBackup(Model):
    """What became of one backup's data. `absent`: none were there, so nothing was deleted."""

    id: str
    deleted: bool
    absent: bool = False
    locked_until: Instant | None = None
    message: str | None = None


class CatalogProof(Model):
    """What a drill proved of a backup, from its signed evidence."""

    level: Level
    at: Instant
    run: str


class CatalogEntry(Model):
    """One backup found in the bucket."""

    database: str
    id: str
    manifest_sha256: str
    manifest: dict[str, Any]
    verified: bool = Field(description="True where a demanded signature is right.")
    hold: str | None = Field(
        default=None, description="Reason of the legal hold that lies on it, empty for one without. Absent: no hold."
    )
    proof: CatalogProof | None = Field(
        default=None, description="The deepest of those that signed evidence beside it vouches for, then the newest."
    )


class CatalogPage(Model):
    """One page of the bucket's backups."""

    entries: list[CatalogEntry]
    next: str | None = None


class PlacedResult(Model):
    """One database or table of a restore into a running server: where it is, and what was there before."""

    database: str
    table: str | None = None
    at: str
    before: str | None = None
    rows: int | None = None


class TimelineEntry(Model):
    """One step of a restore."""

    step: Literal["assess", "select", "restore", "replay", "verify", "resume"]
    began: Instant
    ended: Instant
    note: str | None = None


class RestoreResult(Model):
    """A database that was restored into a volume, or into a running server (`target`)."""

    id: str
    claim: str | None = Field(default=None, description="Name of the volume's claim.")
    target: str | None = Field(default=None, description="The Database, or the host, that it was restored into.")
    staged: bool = Field(default=False, description="It is checked and ready beside what is there, and waits.")
    backup: str
    chosen: str = Field(description="Why this backup, and what became of those before it.")
    data_directory: str | None = Field(default=None, description="Below the volume's root.")
    placed: list[PlacedResult] = Field(default_factory=list)
    until: RecoveryPoint
    reached: Position | None = None
    last_commit: Instant | None = None
    engine_version: str
    bytes: int
    seconds: dict[str, float] = Field(default_factory=dict)
    timeline: list[TimelineEntry] = Field(default_factory=list)
    checks: list[CheckResult] = Field(default_factory=list)
    hand_over: list[str] = Field(default_factory=list, description="What to do next, step by step.")
    notes: list[str] = Field(default_factory=list)
    record: str = Field(description="Where result.json is.")
    record_sha256: str


class DrillResult(Model):
    """What a drill found."""

    id: str
    verdict: Verdict
    reason: str
    message: str
    backup: str
    level_asked: Level
    level_reached: Level | None = None
    checks: list[CheckResult] = Field(default_factory=list)
    rto: Rto | None = None
    rpo: Rpo | None = None
    until: RecoveryPoint
    reached: Position | None = None
    proven: bool = Field(default=False, description="Passed at level Restore or more, or only collations differ.")
    ordered_at: Instant | None = Field(default=None, description="What rto.seconds is measured from.")
    completed_at: Instant | None = Field(
        default=None, description="When, as its evidence says; None where it left none."
    )
    notes: list[str] = Field(default_factory=list)
    evidence: str | None = Field(default=None, description="Where evidence.json is.")
    evidence_sha256: str | None = None
    evidence_storage: str | None = Field(default=None, description="Name of the BackupStorage that it lies in.")


class JointMemberResult(Model):
    """One database of a drill of many."""

    database: str
    ready_seconds: float | None = Field(default=None, description="From the start of the whole until it was back.")
    met: bool | None = Field(default=None, description="Whether that is within its objective.")


class JointResult(Model):
    """What a drill of many databases came to."""

    id: str
    verdict: Verdict
    reason: str
    message: str
    seconds: float | None = Field(
        default=None, description="From the start until the last database was back; None where not all came back."
    )
    met: bool | None = Field(default=None, description="Whether each was back within its own objective.")
    groups: list[float | None] = Field(default_factory=list, description="The span of each group, in their order.")
    members: list[JointMemberResult] = Field(default_factory=list)
    completed_at: Instant
    evidence: str
    evidence_sha256: str


class Result(Model):
    """The full result of one Job."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    outcome: Outcome
    reason: str = Field(description="CamelCase; `Succeeded` where all went well.")
    message: str = ""
    retryable: bool = False
    attempt: int = 1
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds by phase.")
    backup: BackupResult | None = None
    probe: ProbeResult | None = None
    storage: StorageResult | None = None
    deleted: list[DeletedBackup] | None = None
    catalog: CatalogPage | None = None
    swept: list[str] | None = None
    held: list[str] | None = None
    restore: RestoreResult | None = None
    drill: DrillResult | None = None
    joint: JointResult | None = None
    records: RecordsFound | None = None
    comparison: Comparison | None = None
    failover: FailoverResult | None = None
    lifecycle: LifecycleResult | None = None
    erasure: ErasureResult | None = None
    dataexport: ExportResult | None = None
    remains: RemainsResult | None = None


class Summary(Model):
    """The termination message: what must survive in 4096 bytes."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    outcome: Outcome
    reason: str
    message: Annotated[str, Field(max_length=1500)] = ""
    retryable: bool = False
    attempt: int = 1
    result_sha256: str | None = Field(default=None, description="Of the full result's JSON as logged.")
    result_lines: int = 0
    result_bytes: int = 0
