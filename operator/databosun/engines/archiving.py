"""The seam between the agent and an engine that ships its log for as long as it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from databosun.api.archive import LogGap, PositionLine, Sibling, Trouble
from databosun.api.result import Finding
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.domain.wal import History, WalPoint
from databosun.engines.base import Target

SOURCE = "source"
"""The place of a trouble with the server that is archived."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """How to archive, until `stop`. `target` is asked anew at each connection, since passwords change; in seconds."""

    target: Callable[[], Target]
    stop: threading.Event
    cluster_id: str
    namespace: str
    max_lag: float
    max_retained: int
    allow_unbounded_slot: bool = False
    synchronous: bool = False
    heartbeat: float | None = None


class WalSink(Protocol):
    """Where WAL goes. One thread feeds it; what it keeps waiting is bounded, and `full` says when to pause.

    Faults of the store are not raised here but tried again for ever and reported, but for a SafetyStop, which ends all.
    """

    def adopt(self, system_identifier: str, segment_bytes: int, block_bytes: int, *, files: bool = False) -> None:
        """Open the log of that server. SafetyStop where the store has it with another segment size.

        `files`: it is a row of numbered files, and positions count them (domain/wal).
        """
        ...

    def stored_end(self, history: History) -> WalPoint | None:
        """Where the store's newest WAL along a history ends; None where it has none of it."""
        ...

    def mark_of(self, timeline: int) -> str | None:
        """What was said by `mark` of the newest that the store has of a timeline: where to resume behind it, at the
        beginning of its segment where that is open. None where nothing was."""
        ...

    def beyond(self, history: History) -> int:
        """Bytes that the store has of an ancestor beyond the point where the history left it."""
        ...

    def keep_history(self, timeline: int, text: bytes) -> None:
        """Store a history file, before any segment of its timeline. SafetyStop where another one is there."""
        ...

    def begin(self, at: WalPoint, *, after_gap: bool = False) -> None:
        """Start at the first byte of a segment; what was open is dropped, since it comes again."""
        ...

    def write(self, data: memoryview) -> None:
        """Take the next bytes, in order; the buffer may be overwritten afterwards."""
        ...

    def mark(self, mark: object) -> None:
        """A stream may be resumed at what was written so far; its text says where, in the engine's own terms."""
        ...

    def end_file(self, mark: object, *, next_at: int | None = None) -> None:
        """The server's file ends with what was written so far, and the next one begins: that of the next number, or at
        `next_at` where numbers are left out."""
        ...

    def write_file(self, data: bytes, mark: object) -> None:
        """One whole file of at most a segment, stored at once or not at all; its mark says what it holds."""
        ...

    def ship(self) -> None:
        """Store the open part now, whatever the interval says; returns at once."""
        ...

    def full(self) -> bool:
        """Whether as much waits as may wait."""
        ...

    def idle(self) -> bool:
        """Whether everything written is in the store."""
        ...

    @property
    def durable(self) -> WalPoint | None:
        """The end of what is in the store, of what was written since `begin`, or of what was there before."""
        ...

    def sampled(self, at: datetime, point: WalPoint) -> None:
        """Say that every commit up to `at` lies at or below a position."""
        ...

    def record_gap(self, gap: LogGap) -> None:
        """Store a gap. Returns once it is stored, or the archiver is to stop."""
        ...

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Be called, from another thread, whenever `durable` has moved."""
        ...


class Sessions(Protocol):
    """All connections of one archiver, one after the other. `streamed`: the last got as far as streaming."""

    streamed: bool

    def session(self) -> None:
        """One connection's worth of work. Raises what ended it; returns where the archiver is to stop."""
        ...


def keep_archiving(
    plan: ArchivePlan, state: ArchiveState, sessions: Sessions, guarded: Callable[[], AbstractContextManager[None]]
) -> None:
    """One session after the other until `plan.stop`, with growing pauses where none gets anywhere.

    `guarded`: turns what the driver raises into faults. Raises SafetyStop, and WorldFault(AnotherServer) where another
    server answers now.
    """
    pause = FIRST_PAUSE
    while not plan.stop.is_set():
        sessions.streamed = False
        try:
            with guarded():
                sessions.session()
            continue
        except SafetyStop:
            raise
        except DatabosunError as fault:
            if fault.reason == Reason.ANOTHER_SERVER:
                raise
            state.trouble(SOURCE, fault)
        pause = FIRST_PAUSE if sessions.streamed else min(pause * 2, LONGEST_PAUSE)
        plan.stop.wait(pause)


@dataclass
class ArchiveState:
    """What the archiver knows of itself, for the lines it says; several threads write and read it."""

    line: PositionLine
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _troubles: dict[str, Trouble] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def know(self, **facts: Any) -> None:
        """Remember fields of the position line."""
        with self._lock:
            self.line = self.line.model_copy(update=facts)

    def siblings(self, found: list[Sibling]) -> None:
        """Remember how the slots on the other hosts fare."""
        self.know(siblings=found)

    def trouble(self, where: str, error: DatabosunError) -> None:
        """Remember what is wrong at the source or at the store, until it is `well` there."""
        actor = "Human" if isinstance(error, SafetyStop) else "User" if isinstance(error, UserFault) else "World"
        with self._lock:
            known = self._troubles.get(where)
            since = known.since if known and known.reason == error.reason else self.clock()
            self._troubles[where] = Trouble.model_validate(
                {"reason": error.reason, "message": error.message[:1000], "actor": actor, "since": since}
            )

    def well(self, where: str) -> None:
        """Forget the trouble of one place."""
        with self._lock:
            self._troubles.pop(where, None)

    def snapshot(self) -> PositionLine:
        """The line as of now; of several troubles the one that needs a person most."""
        with self._lock:
            troubles = sorted(self._troubles.values(), key=lambda one: _URGENCY.index(one.actor))
            return self.line.model_copy(update={"trouble": troubles[0] if troubles else None})


_URGENCY = ["Human", "User", "World"]


def demand_nothing_blocks(findings: Iterable[Finding]) -> None:
    """UserFault with the statement that mends it, for the first that stands in the way of archiving."""
    for finding in findings:
        if finding.blocks:
            fix = f"; to mend it: {finding.fix}" if finding.fix else ""
            raise UserFault(finding.reason, f"{finding.message}{fix}")


class Archiver(Protocol):
    """What the agent can do with the log of one kind of database."""

    def archive(self, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        """Ship the log until `plan.stop`; never gives up but for a SafetyStop or another server in its place."""
        ...

    def preflight(self, target: Target, *, allow_unbounded: bool) -> list[Finding]:
        """What is missing for archiving, each with the statement that mends it."""
        ...

    def drop_slot(self, target: Target, cluster_id: str, namespace: str, system_identifier: str) -> tuple[str, ...]:
        """Remove what an archiver left at the source, on every listed host; says where. Harmless a second time."""
        ...


class KeepsNothing:
    """Part of an `Archiver` that leaves nothing at the source."""

    def drop_slot(self, target: Target, cluster_id: str, namespace: str, system_identifier: str) -> tuple[str, ...]:
        """Nothing is there."""
        return ()
