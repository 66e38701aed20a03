"""START_REPLICATION PHYSICAL: the server's log as it is written, and how far of it is safe, told to the server.

Message format: PostgreSQL manual, "Streaming Replication Protocol", START_REPLICATION.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import pq, sql

from databosun.domain.errors import WorldFault
from databosun.domain.wal import WalPoint, format_lsn, parse_lsn
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.wire import ServerRefused, Wire, row

STATUS_SECONDS = 10.0
SILENCE_SECONDS = 30.0
POLL_SECONDS = 0.25
# Under load the server sends each flushed commit by itself: waiting a moment takes many messages at one go.
GATHER_SECONDS = 0.02
SMALL_BYTES = 64 * 1024
AT_ONCE_BYTES = 1024 * 1024
_NEVER = datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_WAL, _KEEPALIVE = b"wk"
_WAL_HEADER = 25
_COPY_BOTH = pq.ExecStatus.COPY_BOTH


@dataclass(frozen=True, slots=True)
class TimelineEnded:
    """The server has no more on this timeline: its history goes on elsewhere."""

    next: int
    switch: int


@dataclass(frozen=True, slots=True)
class Handler:
    """What a stream calls.

    `heard`: the server has sent something, so it streams indeed; `written`: the next bytes; `asked`: the server wants
    to know how far the store is, now; `paused`: take nothing for now; `leave`: end the stream; `safe`: the position up
    to which all is in the store.
    """

    heard: Callable[[], None]
    written: Callable[[memoryview], None]
    asked: Callable[[], None]
    paused: Callable[[], bool]
    leave: Callable[[], bool]
    safe: Callable[[], int]


class WalStream(Wire):
    """One stream on a replication connection. `wake` may be called from any thread to have the status sent."""

    def __init__(self, connection: Connection, *, gather: float = GATHER_SECONDS) -> None:
        super().__init__(connection, deadline=_NEVER)
        self._gather = gather
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.POLLIN)
        self._reported = (0, 0)
        self._reported_at = 0.0
        self._heard_at = time.monotonic()
        self.received = 0

    def close(self) -> None:
        """Free the bell; the connection is its owner's."""
        bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)

    def wake(self) -> None:
        """Have `run` look at once."""
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def history(self, timeline: int) -> bytes:
        """The server's history file of a timeline. Raises ServerRefused where it has none."""
        got = self.run(f"TIMELINE_HISTORY {timeline}")
        return got.get_value(0, 1) or b""

    def start(self, slot: str, at: WalPoint) -> TimelineEnded | None:
        """Begin to stream. Returns the end where there is nothing to stream on that timeline. Raises ServerRefused."""
        name = sql.Identifier(slot).as_string()
        self.send(f"START_REPLICATION SLOT {name} PHYSICAL {format_lsn(at.lsn)} TIMELINE {at.timeline}")
        self.received = at.lsn
        self._heard_at = time.monotonic()
        first = self.result()
        if first is not None and first.status == _COPY_BOTH:
            return None
        ended = _ended(first)
        while self.result() is not None:
            pass
        return ended

    def stream(self, handler: Handler) -> TimelineEnded | None:
        """Pass the log on until the timeline ends, or (None) until `leave` or the end of the server.

        Raises ServerRefused for an error in the middle, WorldFault where the server falls silent.
        """
        while not handler.leave():
            if handler.paused():
                self._heard_at = time.monotonic()
                self._wait_for(POLL_SECONDS, reading=False)
            elif not self._take(handler):
                return self._finish()
            self._tell(handler.safe())
        return None

    def _take(self, handler: Handler) -> bool:
        """Take what there is, waiting a moment where there is nothing. False once the server ended the stream."""
        before, pieces, more = self.received, list[memoryview](), True
        while (gathered := self.received - before) < AT_ONCE_BYTES:
            with guarded("reading the log from the server"):
                size, data = self._pq.get_copy_data(1)
            if size <= 0:
                more = size == 0
                break
            self._heard_at = time.monotonic()
            handler.heard()
            self._sort(data, pieces, handler)
        if pieces:
            handler.written(memoryview(b"".join(pieces)))
        if gathered < AT_ONCE_BYTES and more:
            if self._gather and 0 < gathered < SMALL_BYTES:
                time.sleep(self._gather)
            if self._wait_for(POLL_SECONDS):
                with guarded("reading the log from the server"):
                    self._pq.consume_input()
        return more

    def _sort(self, data: memoryview, pieces: list[memoryview], handler: Handler) -> None:
        """One message: log is put with the other pieces, which are next to each other."""
        kind = data[0]
        if kind == _WAL:
            start = int.from_bytes(data[1:9], "big")
            if start != self.received:
                message = f"the server sent its log from {format_lsn(start)}; {format_lsn(self.received)} was expected"
                raise WorldFault(Reason.PROTOCOL_ERROR, message)
            pieces.append(data[_WAL_HEADER:])
            self.received += len(data) - _WAL_HEADER
        elif kind == _KEEPALIVE:
            if data[17]:
                if pieces:
                    handler.written(memoryview(b"".join(pieces)))
                    pieces.clear()
                self._reported_at = 0.0  # answer at once
                handler.asked()
        else:
            raise WorldFault(Reason.PROTOCOL_ERROR, f"the server sent a message of unknown kind {kind!r} in its log")

    def _tell(self, safe: int) -> None:
        """The standby status update: what has arrived, and what the server need not keep for us."""
        now = time.monotonic()
        silent = now - self._heard_at
        if silent > SILENCE_SECONDS:
            message = f"the server said nothing for {SILENCE_SECONDS:.0f} s, though it was asked to"
            raise WorldFault(Reason.CONNECTION_LOST, message)
        asking = silent > STATUS_SECONDS
        if (self.received, safe) == self._reported and now - self._reported_at < STATUS_SECONDS:
            return
        clock = int((time.time() - _EPOCH) * 1_000_000)
        update = struct.pack("!cqqqqB", b"r", self.received, safe, safe, clock, int(asking))
        with guarded("telling the server what is stored"):
            self._pq.put_copy_data(update)
            self._flush()
        self._reported, self._reported_at = (self.received, safe), now

    def _wait_for(self, seconds: float, *, reading: bool = True) -> bool:
        """Wait for the server or for the bell; says whether the server has something."""
        self._poll.modify(self._pq.socket, select.POLLIN if reading else 0)
        ready = dict(self._poll.poll(seconds * 1000))
        if self._bell in ready:
            os.eventfd_read(self._bell)
        return self._pq.socket in ready

    def _wait(self, *, writing: bool = False) -> None:
        super()._wait(writing=writing)
        with suppress(BlockingIOError):  # a bell that rings on would wake every wait
            os.eventfd_read(self._bell)

    def _finish(self) -> TimelineEnded | None:
        """The server said CopyDone, or failed: answer, and read why. One that stops names no next timeline."""
        ended: TimelineEnded | None = None
        while (got := self.result()) is not None:
            if got.status == pq.ExecStatus.COPY_IN:
                self._answer_end()
            ended = _ended(got) or ended
        return ended

    def _answer_end(self) -> None:
        with guarded("ending the stream"):
            while self._pq.put_copy_end() == 0:
                self._flush()
            self._flush()


def _ended(result: pq.abc.PGresult | None) -> TimelineEnded | None:
    if result is None or result.status != pq.ExecStatus.TUPLES_OK or result.ntuples != 1:
        return None
    values = row(result)
    return TimelineEnded(int(values[0] or 0), parse_lsn(str(values[1])))


def removed(refusal: ServerRefused) -> bool:
    """Whether the server says that the log asked for is gone."""
    return "has already been removed" in refusal.said or refusal.sqlstate == "58P01"
