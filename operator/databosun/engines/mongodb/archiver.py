"""The archiver's way: find the primary, resume where the store ends, look at its oplog again and again, record gaps.

Each look begins with the very entry that the one before ended with. Where that is not there any more, or is of another
term, entries behind it may be missing: the session ends, and the next one records a gap. Only what a majority has is
read, so that no election takes back what the store has. A look is a cursor that ends: nothing is kept at the server.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from databosun.api.result import Finding
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
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
from databosun.engines.filelog import FULL_PAUSE, SEGMENT_BYTES, TIMELINE, FileLog
from databosun.engines.mongodb import oplog
from databosun.engines.mongodb.connect import Client, opened
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.oplogfeed import Feed
from databosun.engines.mongodb.oplogway import (
    Break,
    Place,
    clock_of,
    file_behind,
    first_file,
    goes_on,
    read_place,
    settled_at,
)
from databosun.engines.mongodb.positions import Mark, file_of, first_in
from databosun.engines.mongodb.preflight_archiving import demand_archivable, examine_archiving
from databosun.engines.mongodb.server import ServerFacts, choose_primary, read_facts, read_more

LONGEST_LOOK = 1.0
_SILENT_SECONDS = 30.0
_ENTRY: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def archive(plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
    """Archive until `plan.stop`. Raises SafetyStop, and WorldFault(AnotherServer) where another set answers now."""
    user = plan.target().credentials.username
    keep_archiving(plan, state, _Run(plan, sink, state), lambda: guarded("archiving the oplog", user))


@dataclass(frozen=True, slots=True)
class _Source:
    """The primary that answered."""

    client: Client
    facts: ServerFacts

    @property
    def host(self) -> str:
        """For people."""
        return str(self.facts.endpoint)

    def hello(self) -> Mapping[str, Any]:
        """What it says of itself now. WorldFault(NoPrimary) where it takes writes no more."""
        found = self.client.admin.command("hello")
        if not found.get("isWritablePrimary"):
            raise WorldFault(Reason.NO_PRIMARY, f"{self.host} is primary no more; the one that follows is looked for")
        return found


class _Run:
    """All sessions of one archiver. `streamed`: the last session got as far as reading entries."""

    def __init__(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        self._plan = plan
        self._sink = sink
        self._state = state
        self._log = FileLog(sink, state)
        self._sampled: datetime | None = None
        self.streamed = False

    def session(self) -> None:
        """One connection's worth of work. Raises what ended it; returns where the archiver is to stop."""
        target = self._plan.target()
        endpoint = choose_primary(target)
        with opened(target, endpoint, silent=_SILENT_SECONDS) as client:
            facts = read_more(client, read_facts(client, endpoint))
            demand_archivable(client, target, facts)
            source = _Source(client, facts)
            self._log.adopt(facts.identity or "", source.host)
            place, at = self._resume(source)
            self._follow(source, Feed(self._sink, place, at))

    def _resume(self, source: _Source) -> tuple[Place, WalPoint]:
        """Where the stream begins, and from where on the store takes it; a gap is recorded first."""
        end = self._log.end
        if end is None:
            return self._begin(_first(source, None, None))
        found = _resumed(source, self._log.mark)
        if isinstance(found, Place):
            return self._begin(found, segment_start(end, SEGMENT_BYTES))
        place = _first(source, found, end)
        behind = lsn_of(place.number)
        what = f"the oplog from {format_lsn(end)} to {format_lsn(behind)} is not in the store: {found.why}"
        until = max(clock_of(source.facts.hello), first_in(place.number).as_datetime())
        self._log.record(end, behind, until, found.reason, what)
        return self._begin(place, after_gap=True)

    def _begin(self, place: Place, at: int | None = None, *, after_gap: bool = False) -> tuple[Place, WalPoint]:
        point = WalPoint(TIMELINE, lsn_of(place.number) if at is None else at)
        self._state.know(begin=format_lsn(lsn_of(place.number)))
        self._sink.mark(place)
        self._sink.begin(point, after_gap=after_gap)
        return place, point

    def _follow(self, source: _Source, feed: Feed) -> None:
        every = min(LONGEST_LOOK, self._plan.max_lag / 8)
        while not self._plan.stop.is_set():
            began = time.monotonic()
            hello = source.hello()
            end = oplog.newest_of(source.client, hello)
            if end != feed.last:
                self._look(source, feed, end)
                feed.flush()
            if not self.streamed:
                self.streamed = True
                self._state.well(SOURCE)
            if feed.last == end:
                self._sample(settled_at(hello, source.facts.election), feed.point)
            self._plan.stop.wait(max(0.0, every - (time.monotonic() - began)))

    def _look(self, source: _Source, feed: Feed, end: Mark) -> None:
        """All entries from the last one on. WorldFault where that is gone."""
        known = feed.begins
        if end.ts < known.ts:
            message = f"a majority has {end} by what {source.host} knows, and {known} was read: it is looked at again"
            raise WorldFault(Reason.REPLICA_UNFIT, message)
        expected = True
        with closing(oplog.slice_of(source.client, source.facts.hello, known.ts, end.ts)) as cursor:
            for batch in cursor:
                for entry in bson.decode_all(bytes(batch), _ENTRY):
                    if expected:
                        expected = False
                        _demand_same(entry, known, source.host)
                        if feed.last is not None:
                            continue
                    feed.take(entry)
                if not self._room():
                    return
        if expected:
            raise _gone(known, source.host)

    def _room(self) -> bool:
        """Wait until the store has kept up; False where the archiver is to stop."""
        while self._sink.full():
            if self._plan.stop.wait(FULL_PAUSE):
                return False
        return not self._plan.stop.is_set()

    def _sample(self, at: datetime, point: WalPoint) -> None:
        """Every commit that was acknowledged up to then was read: the server was asked for its clock before."""
        self._sampled = max(at, self._sampled or at)
        self._log.sampled(self._sampled, point.lsn)
        durable = self._sink.durable
        behind = None
        if durable is not None:
            same = durable.lsn >> 32 == point.lsn >> 32
            behind = max(0, point.lsn - durable.lsn) if same else point.lsn & 0xFFFFFFFF
        self._state.know(server_now=at, server_lsn=format_lsn(point.lsn), behind_bytes=behind)


def _resumed(source: _Source, mark: str | None) -> Place | Break:
    """Where the store says to go on; why not, where the oplog does not have that."""
    place = read_place(mark)
    if place is None:
        return Break(Reason.OPLOG_DIVERGED, "the store does not say where to go on")
    oldest, term = oplog.oldest(source.client), oplog.term_of(source.client, place.entry.ts)
    return goes_on(place, oldest, term, source.host) or place


def _first(source: _Source, lost: Break | None, end: int | None) -> Place:
    """The first entry of the file that the log begins with, or goes on with behind a gap."""
    oldest, newest = oplog.oldest(source.client), oplog.newest(source.client)
    if oldest is None:
        raise WorldFault(Reason.NO_OPLOG, f"the oplog of {source.host} has no entry yet")
    if lost is None or end is None:
        number = first_file(newest.ts, oldest)
    else:
        number = file_behind(lost, end >> 32, newest.ts, oldest)
    found = oplog.first_from(source.client, source.facts.hello, first_in(number))
    if found is None:
        raise WorldFault(Reason.NO_OPLOG, f"the oplog of {source.host} has no entry of file {number} yet")
    return Place(file_of(found.ts), 0, found)


def _demand_same(entry: RawBSONDocument, known: Mark, host: str) -> None:
    if (entry["ts"], int(entry.get("t") or 0)) != (known.ts, known.term):
        raise _gone(known, host)


def _gone(known: Mark, host: str) -> WorldFault:
    message = (
        f"the oplog of {host} has entry {known} no more, which was read last; where entries behind it are gone, a gap "
        "is recorded"
    )
    return WorldFault(Reason.OPLOG_OVERRUN, message)


class MongoDBArchiver(KeepsNothing):
    """MongoDB 5.0 and later: replica sets."""

    def archive(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        """Ship the oplog until `plan.stop`."""
        archive(plan, sink, state)

    def preflight(self, target: Target, *, allow_unbounded: bool) -> list[Finding]:
        """What the server lacks: an oplog, an identity, and the role to read it."""
        with guarded("looking at the server", target.credentials.username):
            return examine_archiving(target)


ARCHIVER: Archiver = MongoDBArchiver()
