"""`WalSink`: WAL from the receiver's thread into the bucket, in order, by one thread of its own, for ever tried again.

At most `MAX_WAITING` encoded bytes wait; beyond that the receiver pauses, and the server keeps the rest. Only what the
store has acknowledged with its checksum moves `durable`; a full segment is read back as well before its open parts go.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from databosun.agent.log import Log
from databosun.agent.walencode import Encoded, Known, OpenSegment
from databosun.agent.walpairs import Recoverable
from databosun.agent.walstore import PARTS_KEPT, Tail, WalBucket
from databosun.api.archive import GAP_EVENT, LogGap
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.domain.wal import History, WalPoint, format_lsn, parse_lsn
from databosun.engines.archiving import ArchiveState
from databosun.storage.walog import LogDescription

MAX_WAITING = 24 * 1024 * 1024
STORE = "store"
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0
LOOK_SECONDS = 1.0
SWEEP_AT_ONCE = 8

Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class ShipPlan:
    """How to ship. `interval`: seconds between two shipments of the open part; `open_bucket` may be called anew."""

    interval: float
    open_bucket: Callable[[str], WalBucket]


class Drained(Exception):
    """The shipper was told to end, and what it was at is given up."""


class Shipper:
    """`WalSink` of `engines/archiving.py`. `failed` is called once, with what ended it, from its own thread."""

    def __init__(
        self,
        plan: ShipPlan,
        state: ArchiveState,
        log: Log,
        stop: threading.Event,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._plan = plan
        self._stop = stop
        self._state = state
        self._log = log
        self._failed = failed
        self._changed = threading.Condition()
        self._bucket: WalBucket | None = None
        self._system = ""
        self._size = 0
        self._open: OpenSegment | None = None
        self._timeline = 0
        self._queue: deque[Encoded] = deque()
        self._waiting = 0
        self._in_flight = False
        self._forced = False
        self._shipped_to: WalPoint | None = None
        self._shipped_at = float("-inf")
        self._tails: dict[int, Tail] = {}
        self._garbage: list[str] = []
        self._durable: WalPoint | None = None
        self._written: WalPoint | None = None
        self._wake: Callable[[], None] = lambda: None
        self._recoverable = Recoverable()
        self._ending = False
        self._give_up_at = float("inf")
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="ship", daemon=True)
        self._thread.start()

    # --- the receiver's side

    def adopt(self, system_identifier: str, segment_bytes: int, block_bytes: int) -> None:
        """Open the log of that server."""
        if self._system == system_identifier and self._size == segment_bytes:
            return
        description = LogDescription(
            system_identifier=system_identifier, segment_bytes=segment_bytes, block_bytes=block_bytes
        )

        def opened() -> WalBucket:
            bucket = self._plan.open_bucket(system_identifier)
            bucket.describe(description)
            return bucket

        bucket = self._persist(opened)
        gaps = self._persist(bucket.gaps)
        with self._changed:
            self._bucket, self._system, self._size = bucket, system_identifier, segment_bytes
        self._state.know(gaps=len(gaps))
        for gap in gaps:
            self._log.document(GAP_EVENT, gap.dump())

    def stored_end(self, history: History) -> WalPoint | None:
        """Where the store's newest WAL along a history ends."""
        found: WalPoint | None = None
        for branch in reversed(history.branches):
            end = self._tail(branch.timeline).end
            if end and end.lsn > branch.begin:
                found = WalPoint(branch.timeline, end.lsn if branch.end is None else min(end.lsn, branch.end))
                break
        with self._changed:
            if self._durable is None and found is not None:
                self._durable = found
                self._advance()
                newest = self._tails[found.timeline].newest
                if newest and parse_lsn(newest.lsn) <= found.lsn:
                    self._state.know(recoverable_at=newest.at)
        return found

    def beyond(self, history: History) -> int:
        """Bytes that the store has of ancestors beyond the points where the history left them."""
        surplus = 0
        for branch in history.branches:
            end = self._tail(branch.timeline).end
            if end and branch.end is not None:
                surplus += max(0, end.lsn - branch.end)
        return surplus

    def keep_history(self, timeline: int, text: bytes) -> None:
        """Store a history file."""
        self._persist(lambda: self._there.put_history(timeline, text))

    def begin(self, at: WalPoint, *, after_gap: bool = False) -> None:
        """Start at the first byte of a segment."""
        tail = self._tail(at.timeline)
        with self._changed:
            # What has been stored or is being stored counts; what only waits is sent again.
            end = self._durable
            if not (after_gap or end is None or at.lsn <= end.lsn):
                msg = f"asked to go on at {at}, though the log ends at {end} and no gap is recorded"
                raise RuntimeError(msg)
            while len(self._queue) > self._in_flight:
                self._waiting -= len(self._queue.pop().data)
            number = at.lsn // self._size
            self._open = OpenSegment(at, self._size, tail.known.get(number))
            self._timeline = at.timeline
            self._written = self._shipped_to = None
            self._recoverable.on(at.timeline)
            self._changed.notify_all()

    def write(self, data: memoryview) -> None:
        """Take the next bytes."""
        with self._changed:
            segment = self._open
            if segment is None:
                raise Drained
            rest = data
            while len(rest):
                piece = rest[: segment.room]
                segment.write(piece)
                rest = rest[len(piece) :]
                if not segment.room:
                    self._enqueue(segment.encode())
                    following = WalPoint(self._timeline, segment.end)
                    known = self._tails[self._timeline].known.get(segment.number + 1)
                    segment = self._open = OpenSegment(following, self._size, known)
            self._written = WalPoint(self._timeline, segment.end)
            if not self._in_flight:
                self._changed.notify_all()

    def ship(self) -> None:
        """Store the open part now."""
        with self._changed:
            self._forced = True
            self._changed.notify_all()

    def full(self) -> bool:
        """Whether as much waits as may wait."""
        with self._changed:
            held = self._open.encoded_bytes if self._open else 0
            return bool(self._queue) and self._waiting + held > MAX_WAITING

    def idle(self) -> bool:
        """Whether everything written is in the store."""
        with self._changed:
            return not self._queue and (self._written is None or self._stored(self._written))

    @property
    def durable(self) -> WalPoint | None:
        """The end of what is in the store."""
        with self._changed:
            return self._durable

    def sampled(self, at: datetime, point: WalPoint) -> None:
        """Say that every commit up to `at` lies at or below a position."""
        with self._changed:
            self._recoverable.sampled(at, point)
            self._advance()
            self._changed.notify_all()

    def record_gap(self, gap: LogGap) -> None:
        """Store a gap, and say it."""
        known = self._state.snapshot().recoverable_at
        told = gap if gap.begin_time or known is None else gap.model_copy(update={"begin_time": known})
        self._persist(lambda: self._there.put_gap(told))
        self._state.know(gaps=len(self._persist(self._there.gaps)))
        self._log.document(GAP_EVENT, told.dump())

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Be called whenever `durable` has moved."""
        with self._changed:
            self._wake = wake

    def finish(self, seconds: float) -> bool:
        """Ship what is open and end, within that time; whether all of it is in the store."""
        with self._changed:
            self._ending = True
            self._give_up_at = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + LOOK_SECONDS)
        return self.failure is None and self.idle()

    # --- the shipper's own side

    def _guard(self) -> None:
        try:
            self._run()
        except Drained:
            return
        except BaseException as error:
            self.failure = error
            self._failed(error)

    def _run(self) -> None:
        while True:
            work = self._next()
            if work is None:
                return
            self._persist(work)

    def _next(self) -> Callable[[], None] | None:
        """What to do next; waits for it. None: all is done, and the shipper is to end."""
        with self._changed:
            while True:
                if self._queue:
                    self._in_flight = True
                    first = self._queue[0]
                    return lambda: self._ship_full(first)
                now = time.monotonic()
                due = self._open_due(now)
                if due <= now and self._open is not None:
                    self._forced = False
                    self._shipped_at = now
                    encoded = self._open.encode()
                    self._in_flight = True
                    return lambda: self._ship_open(encoded)
                self._in_flight = False
                if self._recoverable.due(now, self._plan.interval, last=self._ending):
                    return self._write_pairs
                if self._garbage and (self._ending or len(self._garbage) >= SWEEP_AT_ONCE or due == float("inf")):
                    return self._sweep
                if self._ending:
                    return None
                self._changed.wait(min(max(due - now, 0.001), LOOK_SECONDS))

    def _open_due(self, now: float) -> float:
        """When the open part must be shipped; never where there is nothing new in it."""
        if self._written is None or self._stored(self._written) or self._written == self._shipped_to:
            return float("inf")
        return now if self._forced or self._ending else self._shipped_at + self._plan.interval

    def _ship_full(self, encoded: Encoded) -> None:
        self._there.put_segment(encoded, self._recoverable.instant_of(encoded.end))
        with self._changed:
            # `begin` never drops what is in flight, so it is still the first.
            self._queue.popleft()
            self._waiting -= len(encoded.data)
            tail = self._tails[encoded.timeline]
            tail.known.pop(encoded.number, None)
            self._garbage += tail.parts.pop(encoded.number, [])
            self._moved(encoded.end)

    def _ship_open(self, encoded: Encoded) -> None:
        key = self._there.put_segment(encoded, self._recoverable.instant_of(encoded.end))
        with self._changed:
            tail = self._tails[encoded.timeline]
            parts = tail.parts.setdefault(encoded.number, [])
            if key not in parts:
                parts.append(key)
            parts.sort()
            self._garbage += parts[:-PARTS_KEPT]
            del parts[:-PARTS_KEPT]
            tail.known = {encoded.number: Known(encoded.end.lsn, encoded.sha256)}
            self._shipped_to = encoded.end
            self._moved(encoded.end)

    def _moved(self, end: WalPoint) -> None:
        tail = self._tails[end.timeline]
        tail.end = end if tail.end is None else max(tail.end, end)
        if self._durable is None or end > self._durable:
            self._durable = end
        self._in_flight = False
        self._state.know(stored_bytes=self._there.stored_bytes)
        self._advance()
        self._changed.notify_all()
        self._wake()

    def _advance(self) -> None:
        if self._durable is not None:
            newest = self._recoverable.reached(self._durable)
            self._state.know(timeline=self._durable.timeline, lsn=format_lsn(self._durable.lsn))
            if newest is not None:
                self._state.know(recoverable_at=newest)

    def _write_pairs(self) -> None:
        self._recoverable.write(self._there, self._changed)

    def _sweep(self) -> None:
        with self._changed:
            keys = list(self._garbage)
        try:
            self._there.sweep(keys)
        except DatabosunError as error:  # garbage harms nobody; the next sweep tries again
            self._log.warning("not swept", reason=error.reason, message=error.message)
        with self._changed:
            self._garbage = [key for key in self._garbage if key not in keys]

    def _enqueue(self, encoded: Encoded) -> None:
        self._queue.append(encoded)
        self._waiting += len(encoded.data)

    def _stored(self, point: WalPoint) -> bool:
        tail = self._tails.get(point.timeline)
        return tail is not None and tail.end is not None and tail.end >= point

    def _tail(self, timeline: int) -> Tail:
        if timeline not in self._tails:
            found = self._persist(lambda: self._there.tail(timeline))
            with self._changed:
                self._tails[timeline] = found
                self._garbage += found.replaced
        return self._tails[timeline]

    @property
    def _there(self) -> WalBucket:
        if self._bucket is None:
            msg = "the log was not adopted yet"
            raise RuntimeError(msg)
        return self._bucket

    def _persist(self, work: Callable[[], Got]) -> Got:
        """Do it, and again where the store fails, for ever; said in each position line. SafetyStop passes through."""
        pause = FIRST_PAUSE
        while True:
            try:
                done = work()
            except SafetyStop:
                raise
            except DatabosunError as fault:
                error = fault
            else:
                self._state.well(STORE)
                return done
            self._state.trouble(STORE, error)
            self._log.warning("store", reason=error.reason, message=error.message)
            if isinstance(error, UserFault):
                self._reopen()
            if threading.current_thread() is not self._thread:
                if self._stop.wait(pause):
                    raise Drained
            else:
                self._wait_as_shipper(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _wait_as_shipper(self, pause: float) -> None:
        """Wait before the next try; once the shipper is to end, only as long as it may."""
        with self._changed:
            self._changed.wait(min(pause, max(0.0, self._give_up_at - time.monotonic())))
            if time.monotonic() >= self._give_up_at:
                raise Drained

    def _reopen(self) -> None:
        """The store refused us: look at its Secret again, which may have been mended."""
        with self._changed:
            before = self._bucket
            if before is None:
                return
        try:
            bucket = self._plan.open_bucket(self._system)
        except DatabosunError:  # the next try says the same, or better
            return
        bucket.segment_bytes, bucket.stored_bytes = before.segment_bytes, before.stored_bytes
        with self._changed:
            self._bucket = bucket
