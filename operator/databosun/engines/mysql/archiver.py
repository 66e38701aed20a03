"""The archiver's way: find the server, resume where the store ends, stream its binary log, record what is lost.

Whatever ends a session, the next one begins from what the store has. That the log there is the one which the server
has, its transactions say: before a stream begins, and again at the beginning of each file.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymysql.connections import Connection

from databosun.api.result import Finding
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.wal import WalPoint, format_lsn, lsn_of, segment_start
from databosun.engines.archiving import (
    SOURCE,
    ArchivePlan,
    Archiver,
    ArchiveState,
    KeepsNothing,
    WalSink,
    keep_archiving,
)
from databosun.engines.base import Target
from databosun.engines.filelog import FULL_PAUSE, LONGEST_SAMPLE, SEGMENT_BYTES, TIMELINE, FileLog
from databosun.engines.mysql.binlogfeed import Broken, Feed
from databosun.engines.mysql.binlogstream import BinlogStream
from databosun.engines.mysql.binlogway import File, Place, Resume, behind_gap, first_place, may_resume, read_place
from databosun.engines.mysql.connect import Session, one, opened
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.logged import logged_of
from databosun.engines.mysql.logplace import list_files, why_another
from databosun.engines.mysql.positions import number_of_file
from databosun.engines.mysql.preflight_archiving import demand_archivable, examine_archiving
from databosun.engines.mysql.server import choose_source, read_facts

# Events that never stop coming leave the server no time for a heartbeat, and few of them fill no buffer.
LONGEST_GATHERED = 0.25
_ASK_SECONDS = 30.0
# Above what people number their replicas with: a server ends the stream of a replica whose number comes again.
_OUR_NUMBERS = 0xF0000000


def archive(plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
    """Archive until `plan.stop`. Raises SafetyStop, and WorldFault(AnotherServer) where another one answers now."""
    keep_archiving(plan, state, _Run(plan, sink, state), lambda: guarded("archiving the binary log"))


@dataclass(frozen=True, slots=True)
class _Source:
    """The server that answered."""

    session: Session
    system_identifier: str
    files: tuple[File, ...]
    now: datetime
    status: str

    @property
    def host(self) -> str:
        """Where it is."""
        return str(self.session.endpoint)

    def name_of(self, number: int) -> str:
        """The file of a number."""
        return next(one.name for one in self.files if one.number == number)


class _Run:
    """All sessions of one archiver. `streamed`: the last session got as far as streaming."""

    def __init__(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        self._plan = plan
        self._sink = sink
        self._state = state
        self._log = FileLog(sink, state)
        self._broken: str | None = None
        self._sampled_at = float("-inf")
        self.streamed = False

    def session(self) -> None:
        """One connection's worth of work. Raises what ended it; returns where the archiver is to stop."""
        session = choose_source(self._plan.target())
        with opened(session) as asking:
            asking._read_timeout = _ASK_SECONDS
            source = self._look(asking, session)
            self._log.adopt(source.system_identifier, source.host)
            resume, at = self._resume(asking, source)
            with opened(session) as connection:
                self._stream(BinlogStream(connection, session.dialect), asking, source, resume, at)

    def _look(self, asking: Connection[Any], session: Session) -> _Source:
        facts = read_facts(asking, session)
        demand_archivable(asking, facts, session.dialect)
        if facts.system_identifier is None:
            message = f"{facts.user} may not see since when {facts.host} is there: it lacks SELECT on mysql.*"
            raise UserFault(Reason.PERMISSION_DENIED, message)
        status = session.dialect.log_status(facts.series)
        return _Source(session, facts.system_identifier, _files(asking), facts.now, status)

    def _resume(self, asking: Connection[Any], source: _Source) -> tuple[Resume, WalPoint]:
        """Where the stream begins, and from where on the store takes it; a gap is recorded first."""
        end = self._log.end
        if end is None:
            found = first_place(source.files)
        else:
            place = read_place(self._log.mark)
            why = self._broken or _differs(asking, place, end, source)
            if place is not None and why is None:
                self._begin(place)
                return Resume(place), WalPoint(TIMELINE, segment_start(end, SEGMENT_BYTES))
            found = behind_gap(end, source.files, why or "the store does not say where to go on")
            self._record(found, end, source)
        self._broken = None
        self._begin(found.place)
        return found, WalPoint(TIMELINE, lsn_of(found.place.number, 0))

    def _begin(self, place: Place) -> None:
        self._state.know(begin=format_lsn(lsn_of(place.number, 0)))

    def _record(self, resume: Resume, end: int, source: _Source) -> None:
        number = resume.place.number
        what = (
            f"the binary log from file {end >> 32}, offset {end & 0xFFFFFFFF}, to the beginning of "
            f"{source.name_of(number)} is not in the store: {resume.why}"
        )
        self._log.record(end, lsn_of(number), source.now, resume.gap_reason or Reason.BINLOG_PURGED, what)

    def _stream(
        self, stream: BinlogStream, asking: Connection[Any], source: _Source, resume: Resume, at: WalPoint
    ) -> None:
        place = resume.place
        feed = Feed(self._sink, place, at, logged_of(source.session.dialect, place.logged))
        number = _server_id(self._plan.cluster_id, self._plan.namespace, source.system_identifier)
        self._sink.mark(place)
        self._log.begin(at.lsn, after_gap=resume.gap_reason is not None)
        stream.start(source.name_of(place.number), place.offset, number)
        every = min(LONGEST_SAMPLE, self._plan.max_lag / 4)
        flushed = time.monotonic()
        while not self._plan.stop.is_set():
            if time.monotonic() - self._sampled_at >= every:
                self._sample(asking, source.status)
            if self._sink.full():
                self._plan.stop.wait(FULL_PAUSE)
                continue
            event = stream.next()
            if not self.streamed:
                self.streamed = True
                self._state.well(SOURCE)
            try:
                feed.take(event)
            except Broken as broken:
                self._broken = broken.why
                message = f"{broken.why}; what lies between is recorded as a gap"
                raise WorldFault(Reason.BINLOG_UNREADABLE, message) from broken
            if time.monotonic() - flushed >= LONGEST_GATHERED:
                feed.flush()
                flushed = time.monotonic()
        feed.flush()

    def _sample(self, asking: Connection[Any], status: str) -> None:
        """The clock first: every commit up to then lies at or below the position that is read after it."""
        (now,) = one(asking, "SELECT UTC_TIMESTAMP(6)")
        name, offset = one(asking, status)[:2]
        at, number = now.replace(tzinfo=UTC), number_of_file(str(name))
        point = lsn_of(number, int(offset))
        self._log.sampled(at, point)
        self._sampled_at = time.monotonic()
        behind = self._behind(asking, number, int(offset))
        self._state.know(server_now=at, server_lsn=format_lsn(point), behind_bytes=behind)

    def _behind(self, asking: Connection[Any], number: int, offset: int) -> int | None:
        """Bytes between the store's end and the server's: offsets count within a file only."""
        durable = self._sink.durable
        if durable is None:
            return None
        ours, stored = durable.lsn >> 32, durable.lsn & 0xFFFFFFFF
        if ours >= number:
            return max(0, offset - stored) if ours == number else 0
        between = sum(one.size for one in _files(asking) if ours <= one.number < number)
        return max(0, between - stored + offset)


def _files(asking: Connection[Any]) -> tuple[File, ...]:
    found = list_files(asking)
    if not found:
        raise WorldFault(Reason.BINLOG_OFF, "the server lists no file of its binary log")
    return found


def _differs(asking: Connection[Any], place: Place | None, end: int, source: _Source) -> str | None:
    """Why the server's log does not go on from the store's end; None where it does."""
    if place is None:
        return None
    if not may_resume(place, end, source.files):
        oldest, newest = source.files[0], source.files[-1]
        return (
            f"{source.host} has its binary log from {oldest.name} to {newest.name} ({newest.size} bytes) only: what "
            "lies between was removed, or never written by this server"
        )
    return why_another(asking, source.session, place, {one.number: one for one in source.files})


def _server_id(cluster_id: str, namespace: str, system_identifier: str) -> int:
    """The number that the server knows this archiver by; the same in each of its lives, so that a lost one's ends."""
    owner = "\0".join((cluster_id, namespace, system_identifier))
    return _OUR_NUMBERS | int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big") >> 4


class SqlArchiver(KeepsNothing):
    """MariaDB 10.6 and later, or MySQL 8.0.23 and later."""

    def archive(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        """Ship the binary log until `plan.stop`."""
        archive(plan, sink, state)

    def preflight(self, target: Target, *, allow_unbounded: bool) -> list[Finding]:
        """What the server lacks: a binary log of rows that keeps long enough, and the privileges to read it."""
        with guarded("looking at the server"):
            return examine_archiving(choose_source(target))


ARCHIVER: Archiver = SqlArchiver()
