"""`WalSink`: WAL from the receiver's thread into the bucket, in order, by one thread of its own, for ever tried again.

At most `MAX_WAITING` encoded bytes wait; beyond that the receiver pauses, and the server keeps the rest. Only what the
store has acknowledged with its checksum moves `durable`; a full segment is read back as well before its open parts go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from databosun.agent.log import Log
from databosun.agent.walencode import Encoded
from databosun.agent.wallog import ShippedLog
from databosun.agent.walpairs import Recoverable
from databosun.agent.walqueue import WalQueue
from databosun.agent.walretry import Drained
from databosun.agent.walstore import WalBucket
from databosun.agent.waltails import Tails
from databosun.api.archive import LogGap
from databosun.domain.errors import DatabosunError
from databosun.domain.wal import History, WalPoint, format_lsn, parse_lsn
from databosun.engines.archiving import ArchiveState
from databosun.storage.walog import LogDescription

MAX_WAITING = 16 * 1024 * 1024
LOOK_SECONDS = 1.0
SWEEP_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ShipPlan:
    """How to ship. `interval`: seconds between two shipments of the open part; `open_bucket` may be called anew."""

    interval: float
    open_bucket: Callable[[str], WalBucket]


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
        self._state = state
        self._log = log
        self._failed = failed
        self._changed = threading.Condition()
        self._shipped = ShippedLog(plan.open_bucket, state, log, stop)
        self._retry = self._shipped.retry
        self._tails = Tails(lambda timeline: self._retry.persist(lambda: self._there.tail(timeline)))
        self._queue = WalQueue(self._tails)
        self._in_flight = False
        self._forced = False
        self._shipped_to: WalPoint | None = None
        self._shipped_at = float("-inf")
        self._durable: WalPoint | None = None
        self._wake: Callable[[], None] = lambda: None
        self._recoverable = Recoverable()
        self._ending = False
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="ship", daemon=True)
        self._retry.shipper = self._thread
        self._thread.start()

    # --- the receiver's side

    def adopt(self, system_identifier: str, segment_bytes: int, block_bytes: int, *, files: bool = False) -> None:
        """Open the log of that server."""
        self._shipped.adopt(
            LogDescription(
                system_identifier=system_identifier, segment_bytes=segment_bytes, block_bytes=block_bytes, files=files
            )
        )

    def stored_end(self, history: History) -> WalPoint | None:
        """Where the store's newest WAL along a history ends."""
        found = self._tails.end_along(history)
        with self._changed:
            if self._durable is None and found is not None:
                self._durable = found
                self._advance()
                newest = self._tails.of(found.timeline).newest
                if newest and parse_lsn(newest.lsn) <= found.lsn:
                    self._state.know(recoverable_at=newest.at)
        return found

    def mark_of(self, timeline: int) -> str | None:
        """What was said by `mark` of the newest that the store has of a timeline."""
        return self._tails.of(timeline).mark

    def beyond(self, history: History) -> int:
        """Bytes that the store has of ancestors beyond the points where the history left them."""
        return self._tails.beyond(history)

    def keep_history(self, timeline: int, text: bytes) -> None:
        """Store a history file."""
        self._shipped.keep_history(timeline, text)

    def begin(self, at: WalPoint, *, after_gap: bool = False) -> None:
        """Start at the first byte of a segment."""
        self._tails.of(at.timeline)  # asks the store, which may take long: not under the lock
        with self._changed:
            # What has been stored or is being stored counts; what only waits is sent again.
            end = self._durable
            if not (after_gap or end is None or at.lsn <= end.lsn):
                msg = f"asked to go on at {at}, though the log ends at {end} and no gap is recorded"
                raise RuntimeError(msg)
            self._queue.begin(at, self._shipped.segment_bytes, keep=int(self._in_flight))
            self._shipped_to = None
            self._recoverable.on(at.timeline)
            self._changed.notify_all()

    def write(self, data: memoryview) -> None:
        """Take the next bytes."""
        with self._changed:
            self._queue.write(data)
            self._wrote()

    def end_file(self, mark: object, *, next_at: int | None = None) -> None:
        """The server's file ends here; the next one begins."""
        with self._changed:
            self._queue.end_file(mark, next_at=next_at)
            self._wrote()

    def write_file(self, data: bytes, mark: object) -> None:
        """One whole file: the lock is held from its first byte to its end, so that no part of it is shipped."""
        with self._changed:
            if len(data) >= self._shipped.segment_bytes:
                msg = f"a file of {len(data)} bytes does not fit a segment of {self._shipped.segment_bytes}"
                raise ValueError(msg)
            self.write(memoryview(data))
            self.end_file(mark)

    def mark(self, mark: object) -> None:
        """A stream may be resumed at what was written so far."""
        self._queue.mark(mark)

    def _wrote(self) -> None:
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
            return bool(self._queue.full) and self._queue.waiting_bytes > MAX_WAITING

    def idle(self) -> bool:
        """Whether everything written is in the store."""
        with self._changed:
            return not self._queue.full and (self._queue.written is None or self._tails.has(self._queue.written))

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
        self._shipped.record_gap(gap)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Be called whenever `durable` has moved."""
        with self._changed:
            self._wake = wake

    def finish(self, seconds: float) -> bool:
        """Ship what is open and end, within that time; whether all of it is in the store."""
        with self._changed:
            self._ending = True
            self._retry.end_by(time.monotonic() + seconds)
            self._changed.notify_all()
        self._thread.join(seconds + LOOK_SECONDS)
        return self.failure is None and self.idle()

    # --- the shipper's own side

    def _guard(self) -> None:
        try:
            self._run()
        except Drained:
            return
        except BaseException as error:  # carried to the agent: the shipper is a thread
            self.failure = error
            self._failed(error)

    def _run(self) -> None:
        while True:
            work = self._next()
            if work is None:
                return
            self._retry.persist(work)

    def _next(self) -> Callable[[], None] | None:
        """What to do next; waits for it. None: all is done, and the shipper is to end."""
        with self._changed:
            while True:
                if self._queue.full:
                    self._in_flight = True
                    first = self._queue.full[0]
                    return lambda: self._ship_full(first)
                now = time.monotonic()
                due = self._open_due(now)
                if due <= now and self._queue.open is not None:
                    self._forced = False
                    self._shipped_at = now
                    encoded = self._queue.open.encode()
                    self._in_flight = True
                    return lambda: self._ship_open(encoded)
                self._in_flight = False
                if self._recoverable.due(now, self._plan.interval, last=self._ending):
                    return self._write_pairs
                if self._tails.garbage and (
                    self._ending or len(self._tails.garbage) >= SWEEP_AT_ONCE or due == float("inf")
                ):
                    return self._sweep
                if self._ending:
                    return None
                self._changed.wait(min(max(due - now, 0.001), LOOK_SECONDS))

    def _open_due(self, now: float) -> float:
        """When the open part must be shipped; never where there is nothing new in it."""
        written = self._queue.written
        if written is None or self._tails.has(written) or written == self._shipped_to:
            return float("inf")
        return now if self._forced or self._ending else self._shipped_at + self._plan.interval

    def _ship_full(self, encoded: Encoded) -> None:
        key = self._there.put_segment(encoded, self._recoverable.instant_of(encoded.end))
        with self._changed:
            # `begin` never drops what is in flight, so it is still the first.
            self._queue.full.popleft()
            self._tails.stored(encoded, key)
            self._moved(encoded.end)

    def _ship_open(self, encoded: Encoded) -> None:
        key = self._there.put_segment(encoded, self._recoverable.instant_of(encoded.end))
        with self._changed:
            self._tails.stored(encoded, key)
            self._shipped_to = encoded.end
            self._moved(encoded.end)

    def _moved(self, end: WalPoint) -> None:
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
            keys = list(self._tails.garbage)
        try:
            self._there.sweep(keys)
        except DatabosunError as error:  # garbage harms nobody; the next sweep tries again
            self._log.warning("not swept", reason=error.reason, message=error.message)
        with self._changed:
            self._tails.garbage = [key for key in self._tails.garbage if key not in keys]

    @property
    def _there(self) -> WalBucket:
        return self._shipped.bucket
