"""What of a database could be brought back, and what that would cost: the JSON form of `databosun assess`. Schema 1."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from databosun.api.comparison import Comparison
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant
from databosun.api.v1alpha1.recovery import Gap


class Span(Model):
    """Instants that can be restored, any between the two: the log is replayed onto that backup or a later one."""

    begin: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    backup: str


class Window(Model):
    """Instants that can be restored: those of the backups between the two, and any within `spans`.

    `continuous`: one span reaches to the newest of them.
    """

    earliest: Instant
    latest: Instant
    continuous: bool
    spans: list[Span] = Field(default_factory=list, description="Oldest first.")
    gaps: list[Gap] = Field(default_factory=list, description="Stretches whose log is in no store, oldest first.")


class AssessedBackup(Model):
    """The backup that a restore would begin with."""

    name: str
    at: Instant = Field(description="The instant that it shows.")
    type: str
    method: str
    storage: str | None = None
    chain: list[str] = Field(description="What it stands on, itself first.")
    proven: str | None = Field(default=None, description="How deep the best drill looked that it passed.")
    vouched: bool = Field(description="False: nothing but the store itself vouches for its manifest.")
    restore_bytes: int


class Assessment(Model):
    """`before`: what happened then is to be left out. Nothing was read but the cluster's own records."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["Assessment"] = "Assessment"
    namespace: str
    database: str
    assessed_at: Instant
    before: Instant | None = None
    window: Window | None = None
    point: Instant | None = Field(default=None, description="Where a restore would end; what came later is lost.")
    until: Literal["Latest", "Time", "EndOfBackup"] | None = None
    backup: AssessedBackup | None = None
    passed_over: list[str] = Field(default_factory=list, description="Newer backups that do not do, and why.")
    loss_seconds: float | None = Field(default=None, description="From the point to what is to be left out, or to now.")
    rpo_seconds: float
    rpo_met: bool | None = None
    restore_seconds: float | None = Field(default=None, description="Estimated; absent where nothing was measured.")
    restore_basis: str
    thaw_seconds: float | None = Field(
        default=None,
        description="The backup may lie in an archive class of the bucket: how long it may take until it can be read."
        " Within the estimate; absent: it can be read at once.",
    )
    rto_seconds: float
    rto_met: bool | None = None
    obstacle: str | None = Field(default=None, description="Why nothing can be restored.")
    command: str | None = None
    restore: dict[str, Any] | None = Field(default=None, description="The Restore that does it.")
    comparison: Comparison | None = None
