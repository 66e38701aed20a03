"""The archiver's way: find the primary, resume where the store ends, stream, follow timelines, record what is lost.

Whatever ends a session, the next one begins from what the store has. Nothing is told to the server as flushed but what
the store has, so the slot keeps the rest; a hole is recorded as a gap before anything behind it is stored.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

from databosun.api.archive import LogGap
from databosun.api.result import Finding
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault, WorldFault
from databosun.domain.wal import History, WalPoint, first_history, format_lsn, parse_history, parse_lsn, segment_start
from databosun.engines.archiving import (
    FIRST_PAUSE,
    SOURCE,
    ArchivePlan,
    Archiver,
    ArchiveState,
    WalSink,
    keep_archiving,
)
from databosun.engines.base import Target
from databosun.engines.postgresql.archivesource import Source, Way, look_at_source
from databosun.engines.postgresql.connect import Session, choose_primary, open_replication, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.preflight_archiving import examine_archiving
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.replication import identify_system
from databosun.engines.postgresql.slots import (
    Slot,
    create,
    demand_bounded,
    drop,
    drop_everywhere,
    in_use,
    look_at,
    slot_name,
)
from databosun.engines.postgresql.walstream import GATHER_SECONDS, Handler, TimelineEnded, WalStream, removed
from databosun.engines.postgresql.walwatch import WalWatch, Watched
from databosun.engines.postgresql.wire import ServerRefused, refused_fault

BOUND, RELEASE = "bound", "release"
DRAIN_SECONDS = 30.0
_IN_USE = "55006"
_LET_GO = frozenset({Reason.RETAINED_TOO_MUCH, Reason.SLOT_LOST})


def archive(plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
    """Archive until `plan.stop`. Raises SafetyStop, and WorldFault(AnotherServer) where another one answers now."""
    keep_archiving(plan, state, _Run(plan, sink, state), lambda: guarded("archiving the log"))


class _Run:
    """All sessions of one archiver. `streamed`: the last session got as far as streaming."""

    def __init__(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        self._plan = plan
        self._sink = sink
        self._state = state
        self._system: str | None = None
        self._let_go: str | None = None
        self.streamed = False

    def session(self) -> None:
        """One connection's worth of work. Raises what ended it; returns where the archiver is to stop."""
        target = self._plan.target()
        server = look_at_source(Session(target, choose_primary(target)))
        self._adopt(server)
        with closing(open_replication(server.session)) as connection:
            gather = 0.0 if self._plan.synchronous else GATHER_SECONDS
            with closing(WalStream(connection, gather=gather)) as stream:
                self._sink.subscribe(stream.wake)
                try:
                    left = self._stream_all(stream, server)
                except ServerRefused as refusal:
                    raise refused_fault(refusal, "streaming the log") from refusal
                finally:
                    self._sink.subscribe(lambda: None)
        if left is not None:
            self._release(server, left)

    def _adopt(self, server: Source) -> None:
        if self._system not in (None, server.system_identifier):
            message = (
                f"{server.session.endpoint} has system identifier {server.system_identifier}, and {self._system} was "
                "archived until now; the archiver starts anew for it"
            )
            raise WorldFault(Reason.ANOTHER_SERVER, message)
        self._sink.adopt(server.system_identifier, server.segment_bytes, server.block_bytes)
        self._system = server.system_identifier
        self._state.know(system_identifier=self._system, host=str(server.session.endpoint))

    def _stream_all(self, stream: WalStream, server: Source) -> WorldFault | None:
        """Every timeline from where the store ends to where the server is. Returns why it must let go of its slot."""
        _, now = identify_system(stream)
        history = self._keep_histories(stream, now.timeline)
        slot = self._hold(stream, server)
        end = self._sink.stored_end(history)
        self._state.know(slot=slot.name, diverged_bytes=self._sink.beyond(history) or None)
        if end and end.timeline == now.timeline and end.lsn > parse_lsn(now.lsn):
            message = (
                f"the store has the log up to {end}, and {server.session.endpoint} has written only {now.lsn}: it was "
                "set back to an earlier state without a new timeline, and what it writes now would contradict the store"
            )
            raise SafetyStop(Reason.SOURCE_WENT_BACK, message)
        kept = segment_start(slot.restart or 0, server.segment_bytes)
        behind = WalPoint(history.branch_at(kept).timeline, kept)
        watched = Watched(server.session, slot.name, server.system_identifier, server.segment_bytes, server.block_bytes)
        with WalWatch(watched, self._plan, self._sink, self._state) as watch:
            self._follow(stream, server, Way(history, slot.name, end, behind), watch)
        if watch.left and watch.left.reason not in _LET_GO:
            raise watch.left
        return watch.left

    def _follow(self, stream: WalStream, server: Source, way: Way, watch: WalWatch) -> None:
        """Stream from where the store ends, or behind a gap that is recorded first, over the ends of timelines."""
        at, after_gap = way.begin(server.segment_bytes), way.end is None
        if self._let_go == Reason.RETAINED_TOO_MUCH and way.hole:
            way, at, after_gap = self._skip(server, way), way.behind, True
        while not self._plan.stop.is_set():
            try:
                ended = self._stream_one(stream, way, watch, at, after_gap=after_gap)
            except ServerRefused as refusal:
                if not (removed(refusal) and stream.received == at.lsn and way.hole and not after_gap):
                    raise
                stream.drain()
                way, at, after_gap = self._skip(server, way), way.behind, True
                continue
            if ended is None:
                return
            self._drain(watch)
            way = replace(way, history=self._keep_histories(stream, ended.next))
            at, after_gap = WalPoint(ended.next, segment_start(ended.switch, server.segment_bytes)), False

    def _stream_one(
        self, stream: WalStream, way: Way, watch: WalWatch, at: WalPoint, *, after_gap: bool
    ) -> TimelineEnded | None:
        """One timeline. None where the archiver is to stop or to let go; WorldFault where the server stops."""
        self._sink.begin(at, after_gap=after_gap)
        try:
            ended = stream.start(way.slot, at)
        except ServerRefused as refusal:
            if refusal.sqlstate == _IN_USE:
                raise in_use(way.slot, refusal.said) from refusal
            raise
        if ended is not None:
            return ended
        handler = Handler(
            heard=self._heard,
            written=self._sink.write,
            asked=self._sink.ship,
            paused=self._sink.full,
            leave=lambda: self._plan.stop.is_set() or watch.left is not None,
            safe=lambda: way.safe(self._sink.durable),
        )
        ended = stream.stream(handler)
        if ended is None and not handler.leave():
            raise WorldFault(Reason.SERVER_STOPPED, "the server ended the stream: it stops")
        return ended

    def _heard(self) -> None:
        if not self.streamed:
            self.streamed = True
            self._let_go = None
            self._state.well(SOURCE)

    def _skip(self, server: Source, way: Way) -> Way:
        """Record what the server has let go of, and go on behind it."""
        end = way.end or way.behind
        reason = self._let_go or Reason.WAL_REMOVED
        message = (
            f"{way.behind.lsn - end.lsn} bytes of log, from {end} to {way.behind}, were let go by the "
            f"server before they were stored ({reason}); no restore can cross them: a full backup is needed"
        )
        gap = LogGap(
            timeline=end.timeline,
            begin=format_lsn(end.lsn),
            end_timeline=way.behind.timeline,
            end=format_lsn(way.behind.lsn),
            end_time=server.now,
            reason=reason,
            message=message,
        )
        self._sink.record_gap(gap)
        return replace(way, floor=way.behind.lsn)

    def _drain(self, watch: WalWatch) -> None:
        """Let the old timeline's end be stored before the new one begins; bounded, since the new one has it too."""
        self._sink.ship()
        limit = time.monotonic() + DRAIN_SECONDS
        while not (self._sink.idle() or self._plan.stop.is_set() or watch.left) and time.monotonic() < limit:
            self._plan.stop.wait(0.05)

    def _release(self, server: Source, left: WorldFault) -> None:
        """Drop the slot, so that production's disk is free; wait until the store takes what it was given."""
        self._let_go = left.reason
        self._state.trouble(SOURCE, left)
        name = slot_name(self._plan.cluster_id, self._plan.namespace, server.system_identifier)
        while not self._plan.stop.is_set():
            try:
                with open_sql(server.session) as connection:
                    drop(connection, name)
                break
            except DatabosunError as fault:
                self._state.trouble(RELEASE, fault)
                self._plan.stop.wait(FIRST_PAUSE)
        self._state.well(RELEASE)
        self._state.know(slot_status=None, retained_bytes=0)
        while not self._sink.idle() and not self._plan.stop.is_set():
            self._plan.stop.wait(FIRST_PAUSE)

    def _keep_histories(self, stream: WalStream, timeline: int) -> History:
        """The history of a timeline; its file and those of its ancestors are in the store when this returns."""
        if timeline == 1:
            return first_history()
        text = stream.history(timeline)
        history = parse_history(timeline, text.decode("utf-8", "replace"))
        for branch in history.branches[:-1]:
            if branch.timeline > 1:
                try:
                    self._sink.keep_history(branch.timeline, stream.history(branch.timeline))
                except ServerRefused:  # an ancestor's file that the server lost; the newest one says all
                    stream.drain()
        self._sink.keep_history(timeline, text)
        return history

    def _hold(self, stream: WalStream, server: Source) -> Slot:
        """Have a slot that keeps something."""
        name = slot_name(self._plan.cluster_id, self._plan.namespace, server.system_identifier)
        allowed = self._plan.allow_unbounded_slot
        with open_sql(server.session) as connection:
            slot = look_at(connection, name)
            if slot and not slot.lost:
                self._bound(server, allowed=allowed)
                if slot.retained > self._plan.max_retained and slot.active_pid is None:
                    self._let_go = Reason.RETAINED_TOO_MUCH
                else:
                    return slot
            demand_bounded(server.keep_megabytes, allowed=allowed)
            if slot:
                self._let_go = self._let_go or Reason.SLOT_LOST
                drop(connection, name)
            create(stream, name)
            made = look_at(connection, name)
        if made is None or made.restart is None:
            raise WorldFault(Reason.DATABASE_ERROR, f"replication slot {name} was made, and keeps nothing")
        return made

    def _bound(self, server: Source, *, allowed: bool) -> None:
        """A slot that stands is used on where the server's limit went away since: without us it would only grow."""
        try:
            demand_bounded(server.keep_megabytes, allowed=allowed)
            self._state.well(BOUND)
        except UserFault as fault:
            self._state.trouble(BOUND, fault)


class PostgreSQLArchiver:
    """PostgreSQL 14 to 18."""

    def archive(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        """Ship the log until `plan.stop`."""
        archive(plan, sink, state)

    def preflight(self, target: Target, *, allow_unbounded: bool) -> list[Finding]:
        """What the primary lacks: grants, settings, a free slot, a limit to what a slot may keep."""
        with guarded("looking at the primary"):
            return examine_archiving(Session(target, choose_primary(target)), allow_unbounded=allow_unbounded)

    def drop_slot(self, target: Target, cluster_id: str, namespace: str, system_identifier: str) -> tuple[str, ...]:
        """Remove the slot from every listed host that has it."""
        return drop_everywhere(target, slot_name(cluster_id, namespace, system_identifier))


ARCHIVER: Archiver = PostgreSQLArchiver()
