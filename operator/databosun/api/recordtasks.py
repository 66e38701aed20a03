"""What Jobs are told of records: where a run's own goes, what it follows on, what a drill of many came to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.drill import Verdict
from databosun.api.targets import StorageTarget
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class PreviousEvidence(Model):
    """The evidence before this one: each names its predecessor, so that none can be taken out unnoticed."""

    run: str
    sha256: str


class RecordPlace(Model):
    """Where the record of a run goes, and for how long it is locked. Secrets of another storage than the backup's have
    uses that begin with `evidence-`."""

    storage: StorageTarget | None = Field(default=None, description="None: that of the request.")
    lock_seconds: int | None = Field(default=None, description="None: as long as the storage locks backups.")


class JointMember(Model):
    """One database of a drill of many, as its own run ended."""

    database: str
    run: str
    verdict: Verdict
    reason: str
    message: str = ""
    ordered_at: Instant | None = None
    seconds: float | None = Field(default=None, description="Its time to restore, from `ordered_at`.")
    objective: float | None = Field(default=None, description="Seconds.")
    rpo_seconds: float | None = None
    rpo_met: bool | None = None
    evidence_sha256: str | None = None
    here: bool = Field(default=True, description="False: its evidence lies in another storage.")


class JointGroup(Model):
    """Databases that were restored at once."""

    started_at: Instant
    members: list[JointMember]


class JointTask(Model):
    """Write down what a drill of many databases came to, with the digest of each one's evidence."""

    task: Literal["joint"] = "joint"
    id: str = Field(description="The run's name.")
    drill: str | None = Field(default=None, description="The RestoreDrill.")
    groups: list[JointGroup] = Field(max_length=33)
    previous: PreviousEvidence | None = None
    lock_seconds: int | None = Field(default=None, description="As in RecordPlace.")


class ReadRecords(Model):
    """Hand over records: evidence of drills, or the record of one restore."""

    restore: str | None = None
    database: str | None = None
    since: Instant | None = None
    after: str | None = Field(default=None, description="Continue behind this key.")
