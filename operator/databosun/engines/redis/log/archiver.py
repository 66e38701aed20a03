"""The archiver's way: find a node, go on where the store ends, follow it as a replica would, record what is lost.

Nothing is acknowledged but what the store has. A full synchronisation is never asked for: what the backlog has not got
any more is a gap, and a full backup goes on behind it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.result import Finding
from databosun.domain.errors import WorldFault
from databosun.domain.wal import format_lsn, lsn_of
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
from databosun.engines.filelog import FULL_PAUSE, LONGEST_SAMPLE, FileLog
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.log.files import Cut, Cutter
from databosun.engines.redis.log.place import Resume, decide_resume, read_mark
from databosun.engines.redis.log.stream import CommandStream, make_backlog
from databosun.engines.redis.preflight_archiving import demand_archivable, examine_archiving
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.server import ServerFacts, gather_server, identity_of
from databosun.engines.redis.topology import choose_source, find_master

LONGEST_LOOK = 0.25
MOST_SAMPLES = 4096
CLOCKS = 8

Ask = Callable[[], Sequence[ServerFacts]]


def archive(plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
    """Archive until `plan.stop`. Raises SafetyStop where somebody else writes the log."""
    user = plan.target().credentials.username
    keep_archiving(plan, state, _Run(plan, sink, state), lambda: guarded("archiving the commands", user))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Every commit up to `at` lies at or below an offset."""

    at: datetime
    offset: int


class _Run:
    """All sessions of one archiver. `streamed`: the last session got as far as streaming."""

    def __init__(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        self._plan = plan
        self._sink = sink
        self._state = state
        self._log = FileLog(sink, state)
        self._samples: deque[_Sample] = deque(maxlen=MOST_SAMPLES)
        self._kept: deque[tuple[int, int]] = deque()
        self._number = 1
        self._acknowledge = 0
        self._clocks: deque[float] = deque(maxlen=CLOCKS)
        self._pings: Cut | None = None
        self.streamed = False

    def session(self) -> None:
        """One connection's worth of work. Raises what ended it; returns where the archiver is to stop."""
        if not self._stored():
            return
        target = self._plan.target()
        user = target.credentials.username
        facts = _look(target)
        self._log.adopt(identity_of(target), facts.endpoint)
        resume = self._resume(facts)
        above = find_master(target, facts)
        places = [facts.endpoint, *([above.endpoint] if above else [])]
        with ExitStack() as stack:
            wire, *asking = (stack.enter_context(open_wire(target, one)) for one in (facts.endpoint, *places))
            stream = CommandStream(wire)
            replid = stream.start(resume.mark.replid, resume.mark.end, user)

            def ask() -> list[ServerFacts]:
                return [gather_server(one, target, place) for one, place in zip(asking, places, strict=True)]

            self._follow(stream, ask, resume, replid)

    def _stored(self) -> bool:
        """Wait until all that was cut is in the store; False where the archiver is to stop.

        Received anew it would be cut elsewhere: other files, of numbers that are taken.
        """
        while not self._sink.idle():
            if self._plan.stop.wait(FULL_PAUSE):
                return False
        return not self._plan.stop.is_set()

    def _resume(self, facts: ServerFacts) -> Resume:
        end = self._log.end
        mark = read_mark(self._log.mark)
        resume = decide_resume(end, mark, facts)
        pings, self._pings = self._pings, None
        if pings and mark and resume.overrun and pings.mark.begin == mark.end:
            # A server that was shut down and has its data keeps none of them; nothing else may be missing.
            behind = decide_resume(end, pings.mark, facts)
            resume, self._pings = (resume, None) if behind.gap_reason else (behind, pings)
        if resume.gap_reason is not None and end is not None:
            what = f"the commands behind file {end >> 32} of the log are not in the store: {resume.why}"
            self._log.record(end, lsn_of(resume.number), facts.now, resume.gap_reason, what)
        return resume

    def _follow(self, stream: CommandStream, ask: Ask, resume: Resume, replid: str) -> None:
        self._number, self._acknowledge = resume.number, resume.mark.end
        self._samples.clear()
        self._kept.clear()
        self._clocks.clear()  # of another node, it may be
        self._log.begin(lsn_of(resume.number), after_gap=resume.gap_reason is not None)
        if self._pings is not None:
            self._keep(self._pings)
        cutter = Cutter(resume.mark, replid, self._keep, self._clock)
        self._state.know(begin=format_lsn(lsn_of(resume.number if resume.fresh else max(1, resume.number - 1))))
        if resume.fresh:
            cutter.begin()
        self.streamed = True
        self._state.well(SOURCE)
        every, interval = min(LONGEST_SAMPLE, self._plan.max_lag / 4), self._plan.max_lag / 4
        sampled = float("-inf")
        try:
            while not self._plan.stop.is_set():
                if time.monotonic() - sampled >= every:
                    self._sample(ask, replid, cutter)
                    sampled = time.monotonic()
                stream.acknowledge(self._durable(cutter))
                if self._sink.full():
                    self._plan.stop.wait(FULL_PAUSE)
                    continue
                if piece := stream.next(min(LONGEST_LOOK, every, interval)):
                    cutter.take(piece)
                if cutter.waiting >= interval:
                    cutter.cut()
                self._judge(cutter)
        finally:
            cutter.cut()  # what is whole is kept, whatever ended the session
            self._judge(cutter)
            self._pings = cutter.pings()

    def _clock(self) -> float:
        """The server's clock, the latest that it can be: so nothing seems to have come before it was written."""
        return time.monotonic() + min(self._clocks)

    def _keep(self, cut: Cut) -> None:
        self._sink.write_file(cut.data, cut.mark)
        self._number += 1
        self._kept.append((lsn_of(self._number), cut.mark.end))

    def _durable(self, cutter: Cutter) -> int:
        """The offset up to which the store has all; what is on its way counts where it is nothing but pings, or a
        server that shuts down would wait for us."""
        durable = self._sink.durable
        while self._kept and durable is not None and self._kept[0][0] <= durable.lsn:
            self._acknowledge = self._kept.popleft()[1]
        return cutter.received if cutter.idle and not self._kept else self._acknowledge

    def _sample(self, ask: Ask, replid: str, cutter: Cutter) -> None:
        """`ask`: the node that is followed, and its master behind it where that can be asked, which knows best."""
        asked = time.monotonic()
        found = ask()
        for facts in found:
            _demand_followed(facts, replid)
        newest = found[-1]
        at = newest.now
        if not newest.master:
            at -= timedelta(seconds=newest.silent_seconds + 1)  # it counts whole seconds
        self._clocks.append(newest.now.timestamp() - asked)
        self._samples.append(_Sample(at, newest.offset))
        behind = max(0, newest.offset - self._durable(cutter))
        server = lsn_of(self._number) if behind == 0 else lsn_of(self._number + 1)
        self._state.know(server_now=newest.now, server_lsn=format_lsn(server), behind_bytes=behind)

    def _judge(self, cutter: Cutter) -> None:
        """Say how far the store is, or will be once the files that were cut are in it."""
        in_files = cutter.received if cutter.idle else cutter.filed
        while self._samples and self._samples[0].offset <= in_files:
            self._log.sampled(self._samples.popleft().at, lsn_of(self._number))


def _demand_followed(facts: ServerFacts, replid: str) -> None:
    """WorldFault where a node left the history that is followed, or is cut off from it."""
    if facts.replid != replid:
        message = f"{facts.endpoint} goes on as history {facts.replid}: a failover; it is looked at anew"
        raise WorldFault(Reason.CONNECTION_LOST, message)
    if not facts.master and not facts.link_up:
        message = f"the replica {facts.endpoint} has lost its master; another node is looked for"
        raise WorldFault(Reason.REPLICA_STALE, message)


def _look(target: Target) -> ServerFacts:
    """The node to follow, which keeps a backlog. UserFault with the statement that mends what is in the way."""
    facts = choose_source(target)
    demand_archivable(target, facts)
    if facts.backlog_begin is None and facts.master:
        make_backlog(target, facts)
        with open_wire(target, facts.endpoint) as wire:
            facts = gather_server(wire, target, facts.endpoint)
    if facts.backlog_begin is None:
        message = f"{facts.endpoint} keeps no commands for replicas yet (repl_backlog_active:0); it is asked again"
        raise WorldFault(Reason.SERVER_NOT_READY, message)
    return facts


class RedisArchiver(KeepsNothing):
    """Redis 6.0 to 7.2, and Valkey 7.2 to 9.1."""

    def archive(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        """Ship the commands until `plan.stop`."""
        archive(plan, sink, state)

    def preflight(self, target: Target, *, allow_unbounded: bool) -> list[Finding]:
        """What the node lacks: the grants of a replica, and that nobody takes the archiver for one that keeps data."""
        with guarded("looking at the server", target.credentials.username):
            return examine_archiving(target, choose_source(target))


ARCHIVER: Archiver = RedisArchiver()
