"""What an agent reports of a lifecycle run."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from databosun.api.lifecycle import ActionType, LifecycleMode, LifecycleOrder, RuleFacts
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class RuleState(StrEnum):
    """How a rule ended in one run. Completed: nothing that it may take is left. Limited: it stopped at a limit, at the
    end of the time, or because it was told to, and goes on in the next run. Refused: it may not run, and touched
    nothing. Failed: an error stopped it; what it had committed stays done."""

    COMPLETED = "Completed"
    LIMITED = "Limited"
    REFUSED = "Refused"
    FAILED = "Failed"


class ArchiveArtefact(Model):
    """One object that archived rows lie in, read back and found whole before a row of it was deleted."""

    name: str = Field(description="Its key in the store, volume by volume: the name before the volume number.")
    table: str
    rows: int
    bytes: int = Field(description="Before compression.")
    stored_bytes: int
    sha256: str = Field(description="Of the plaintext, as it was archived.")
    stored_sha256: str = Field(description="Of what is stored.")


class RuleFailure(Model):
    """Why a rule was refused or failed."""

    reason: str
    message: str
    sqlstate: str | None = None
    retryable: bool = False


class RuleOutcome(Model):
    """What one rule did in an enforced run, all attempts together."""

    name: str
    action: ActionType
    state: RuleState
    archived: int = Field(default=0, description="Rows archived and verified.")
    deleted: int = Field(default=0, description="Rows deleted, by whichever action.")
    anonymized: int = 0
    expiring: int = Field(default=0, description="Keys that were given a time to live.")
    children: dict[str, int] = Field(default_factory=dict, description="Rows of other tables that went along.")
    partitions: list[str] = Field(default_factory=list, description="Partitions dropped.")
    changed: int = Field(default=0, description="Rows that changed after they were archived, and so were kept.")
    moved: int = Field(default=0, description="Backups whose objects were tagged, to go to another storage class.")
    bucket_rules: list[str] = Field(
        default_factory=list, description="IDs of the policy's rules of the bucket, as the server returned them."
    )
    index: str | None = Field(default=None, description="EnsureTTL: the index as the server returned it, in words.")
    archived_until: Instant | None = Field(
        default=None, description="The newest backup that lies in an archive class, or bears its tag."
    )
    batches: int = 0
    remaining: int | None = Field(default=None, description="Eligible rows that are left; None where not counted.")
    oldest: Instant | None = Field(default=None, description="Age column of the oldest eligible row that is left.")
    seconds: float = Field(default=0.0, description="Spent on this rule, pauses included.")
    throttled_seconds: float = Field(default=0.0, description="Of these, waiting for replicas, locks or load.")
    bytes_logical: int = Field(default=0, description="Of the rows that went.")
    bytes_reclaimed: int = Field(
        default=0,
        description="By which the table became smaller on disk; of keys the server in memory, whoever did it.",
    )
    artefacts: list[ArchiveArtefact] = Field(default_factory=list)
    failure: RuleFailure | None = None


class LifecycleResult(Model):
    """A dry run has facts and no outcomes; an enforced run has both: the facts as they were before it began."""

    id: str
    mode: LifecycleMode
    at: Instant = Field(description="The instant that ages were reckoned from.")
    engine_version: str
    order: LifecycleOrder = Field(description="As it was ordered: whoever reads the result later needs no policy.")
    plan_hash: str = Field(description="Of the order and these facts.")
    facts: list[RuleFacts] = Field(default_factory=list)
    outcomes: list[RuleOutcome] = Field(default_factory=list)
    completed_at: Instant
    audit: str | None = Field(default=None, description="Where the audit of an enforced run is.")
    audit_sha256: str | None = Field(default=None, description="Of its last link: the audit is a chain.")
    notes: list[str] = Field(default_factory=list)
