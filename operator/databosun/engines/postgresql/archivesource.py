"""Where an archiver is: the primary that it streams from, and the way through the timelines that lies ahead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.wal import History, WalPoint, segment_start
from databosun.engines.postgresql.connect import Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import SUPPORTED_MAJORS

_SETTINGS = ("wal_segment_size", "wal_block_size", "max_slot_wal_keep_size", "wal_level")


@dataclass(frozen=True, slots=True)
class Source:
    """A primary and what must be known of it."""

    session: Session
    system_identifier: str
    segment_bytes: int
    block_bytes: int
    keep_megabytes: int
    now: datetime


def look_at_source(session: Session) -> Source:
    """Log in and read. UserFault for what must be changed before anything can be archived."""
    with open_sql(session) as connection, guarded(f"reading the settings of {session.endpoint}"):
        major = connection.info.server_version // 10000
        if major not in SUPPORTED_MAJORS:
            message = f"{session.endpoint} runs PostgreSQL {major}; expected one of 14 to 18"
            raise UserFault(Reason.UNSUPPORTED_VERSION, message)
        found = connection.execute(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", (list(_SETTINGS),)
        ).fetchall()
        row = connection.execute(
            "SELECT system_identifier::text, pg_catalog.clock_timestamp() FROM pg_catalog.pg_control_system()"
        ).fetchone()
    settings = {str(name): str(value) for name, value in found}
    if settings.get("wal_level") == "minimal":
        message = "wal_level is minimal; expected replica or logical: run `ALTER SYSTEM SET wal_level = 'replica';`"
        raise UserFault(Reason.WAL_LEVEL_MINIMAL, f"{message} and restart the server")
    if row is None or not isinstance(row[1], datetime):
        raise WorldFault(Reason.DATABASE_ERROR, f"{session.endpoint} did not say who it is")
    return Source(
        session,
        str(row[0]),
        int(settings["wal_segment_size"]),
        int(settings["wal_block_size"]),
        int(settings["max_slot_wal_keep_size"]),
        row[1].astimezone(UTC),
    )


@dataclass(frozen=True, slots=True)
class Way:
    """Where to go on: the store's end, and behind which position the server surely keeps all (`behind`)."""

    history: History
    slot: str
    end: WalPoint | None
    behind: WalPoint
    floor: int = 0

    @property
    def hole(self) -> bool:
        """Whether going on from `behind` would leave something out."""
        return self.end is not None and self.behind.lsn > self.end.lsn

    def begin(self, segment_bytes: int) -> WalPoint:
        """The first byte of the segment to go on with: the open part in the store cannot be appended to."""
        if self.end is None:
            return self.behind
        timeline = self.end.timeline
        for branch in self.history.branches:
            if branch.timeline > timeline and branch.begin == self.end.lsn:
                timeline = branch.timeline
        return WalPoint(timeline, segment_start(self.end.lsn, segment_bytes))

    def safe(self, durable: WalPoint | None) -> int:
        """The position that the server may be told: stored, and on its own history. 0: none.

        Never one before a gap: the slot would go back to log that the server no longer has, and be lost at once.
        """
        branch = self.history.branch(durable.timeline) if durable else None
        if durable is None or branch is None:
            return 0
        lsn = durable.lsn if branch.end is None else min(durable.lsn, branch.end)
        return lsn if lsn >= self.floor else 0
