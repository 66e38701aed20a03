"""What an archiver says: pairs of clock and position, gaps, and the lines of its log that the operator reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

POSITION_EVENT = "position"
GAP_EVENT = "gap"
GAPS_TOLD = 5
"""Gaps that a position line tells of."""


class TimePair(Model):
    """Every commit up to `at` (the server's own clock) lies at or below `lsn` of that timeline, and is in the store."""

    at: Instant
    timeline: int
    lsn: str


class LogGap(Model):
    """A stretch of the log that is in no store: from behind `begin` to before `end`. No restore crosses it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    timeline: int = Field(description="Timeline of `begin`.")
    begin: str
    begin_time: Instant | None = Field(default=None, description="Recoverable up to here; None where not known.")
    end_timeline: int
    end: str
    end_time: Instant = Field(description="A backup that starts after this instant does not need the gap.")
    reason: str
    message: str


class Trouble(Model):
    """What keeps an archiver from being up to date, and what to do."""

    reason: str
    message: str
    actor: Literal["User", "World", "Human"] = Field(
        description="Who must act: the user (spec, grant), nobody (a network), or a human with care (an interlock)."
    )
    since: Instant


class Sibling(Model):
    """The slot on another listed host, kept there for the day that host becomes the primary."""

    host: str
    held: bool = Field(description="A slot stands there, advanced to what the store has.")
    message: str | None = None


class PositionLine(Model):
    """How far the store is, said every half of `maxLag`."""

    database_uid: str
    system_identifier: str | None = None
    host: str | None = None
    timeline: int | None = None
    lsn: str | None = Field(default=None, description="End of what is in the store.")
    begin: str | None = Field(
        default=None, description="A position from which on the store has the log, where that is known to lie before."
    )
    recoverable_at: Instant | None = Field(
        default=None, description="The newest instant, by the server's clock, all of whose commits are in the store."
    )
    server_now: Instant | None = Field(default=None, description="The server's clock at the newest look at it.")
    server_lsn: str | None = None
    behind_bytes: int | None = Field(default=None, description="Written by the server and not yet in the store.")
    retained_bytes: int | None = Field(default=None, description="Log that the server keeps for the archiver.")
    slot: str | None = None
    slot_status: str | None = Field(default=None, description="pg_replication_slots.wal_status")
    diverged_bytes: int | None = Field(
        default=None, description="Archived of the old timeline beyond the point where the new primary left it."
    )
    gaps: int = Field(default=0, description="Gaps recorded in the store.")
    newest_gaps: list[LogGap] = Field(default_factory=list, description="The newest of them, oldest first.")
    stored_bytes: int = Field(default=0, description="Uploaded since the archiver started.")
    siblings: list[Sibling] = Field(default_factory=list)
    trouble: Trouble | None = None
