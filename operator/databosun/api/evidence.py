"""evidence.json: what a drill found, for whoever must be shown it (`docs/concepts/evidence.md`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.drill import CheckResult, Level, RecoveryPoint, Rpo, Rto, Verdict
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

SCHEMA = 1


class EvidenceDatabase(Model):
    """The database that the backup is of."""

    namespace: str
    name: str
    uid: str
    engine: str
    engine_version: str
    system_identifier: str | None = None


class EvidenceBackup(Model):
    """One backup of the chain that was restored, with the digest of its manifest, which vouches for its objects."""

    id: str
    type: BackupType
    method: Method
    manifest_sha256: str
    snapshot_time: Instant | None = None
    completed_at: Instant


class MeasuredOn(Model):
    """What the figures were measured on: another machine, or another way to the storage, gives others."""

    storage: str
    cpus: int
    arch: str
    image: str | None = None
    path: str = Field(description="From where to where the data went.")


class EvidenceSignature(Model):
    """Ed25519 over the canonical form of the document without this field."""

    algorithm: Literal["Ed25519"] = "Ed25519"
    value: str = Field(description="Base64.")


class Evidence(Model):
    """The record of one drill. Times are UTC, durations seconds. Written once; `previous` chains the records."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["Drill"] = "Drill"
    run: str
    attempt: int
    cluster: str
    storage: str
    database: EvidenceDatabase | None = None
    backups: list[EvidenceBackup] = Field(default_factory=list, description="Base first, the one proven last.")
    backup: str
    backup_manifest_sha256: str = Field(description="As it was expected, from Backup.status.checksum.")
    verified: bool
    started_at: Instant
    completed_at: Instant
    verdict: Verdict
    reason: str
    message: str
    level_asked: Level
    level_reached: Level | None = None
    proven: bool
    checks: list[CheckResult] = Field(default_factory=list)
    ordered_at: Instant | None = Field(default=None, description="What rto.seconds is measured from.")
    rto: Rto | None = None
    rpo: Rpo | None = None
    until: RecoveryPoint
    reached: Position | None = None
    negative_control: bool = False
    measured_on: MeasuredOn
    notes: list[str] = Field(default_factory=list)
    previous: PreviousEvidence | None = None
    databosun_version: str
    signature: EvidenceSignature | None = None


class JointEvidenceMember(Model):
    """One database of a drill of many, with the digest of its own evidence, which says all the rest."""

    database: str
    group: int = Field(description="The first is 1.")
    run: str
    verdict: Verdict
    reason: str
    message: str = ""
    ordered_at: Instant | None = None
    seconds: float | None = Field(default=None, description="Its own time to restore, from `ordered_at`.")
    objective: float | None = Field(default=None, description="Its objective for that.")
    ready_seconds: float | None = Field(
        default=None, description="From the start of the whole until it was back, verification apart."
    )
    met: bool | None = Field(default=None, description="Whether `ready_seconds` is within its objective.")
    rpo_seconds: float | None = None
    rpo_met: bool | None = None
    evidence_sha256: str | None = Field(default=None, description="None: its drill said nothing, and left none.")
    evidence_read: bool = Field(
        default=False, description="Whether it was read from this storage and had that digest when this was written."
    )


class JointEvidenceGroup(Model):
    """Databases that were restored at once."""

    started_at: Instant
    seconds: float | None = Field(default=None, description="Until its last database was back, verification apart.")


class JointEvidence(Model):
    """The record of one drill of many databases. Times are UTC, durations seconds. Written once."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["JointDrill"] = "JointDrill"
    run: str
    drill: str | None = None
    attempt: int
    cluster: str
    storage: str
    namespace: str
    started_at: Instant
    completed_at: Instant
    verdict: Verdict
    reason: str
    message: str
    seconds: float | None = Field(
        default=None, description="From the start until the last database was back; none where not all came back."
    )
    met: bool | None = Field(default=None, description="Whether each was back within its own objective.")
    groups: list[JointEvidenceGroup]
    members: list[JointEvidenceMember]
    previous: PreviousEvidence | None = None
    databosun_version: str
    signature: EvidenceSignature | None = None
