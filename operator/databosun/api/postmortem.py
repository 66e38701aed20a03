"""What became of one restore, for those who look back: its JSON form. Schema 1; fields are added, never changed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.drill import CheckResult
from databosun.api.report import RecordSeen, Review
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class Happening(Model):
    """One line of the timeline."""

    at: Instant
    what: str


class PostMortem(Model):
    """One restore. Times are UTC, spans seconds."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["RestoreReport"] = "RestoreReport"
    generated_at: Instant
    namespace: str
    name: str
    verdict: str
    message: str = ""
    database: str | None = None
    target: str | None = None
    backup: str | None = None
    manifest_sha256: str | None = None
    chosen: str | None = Field(default=None, description="Why this backup, and what became of those before it.")
    asked: str | None = Field(default=None, description="The point that was asked for.")
    until: str | None = Field(default=None, description="The point that recovery was told.")
    reached: Position | None = None
    last_commit: Instant | None = Field(default=None, description="The newest transaction that came back.")
    took_seconds: float | None = None
    phases: dict[str, float] = Field(default_factory=dict)
    bytes: int | None = None
    timeline: list[Happening] = Field(default_factory=list)
    checks: list[CheckResult] = Field(default_factory=list)
    hand_over: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    record: RecordSeen | None = None
    review: Review | None = None
    sources: list[str] = Field(default_factory=list)
    databosun_version: str
