"""The log that an archiver ships into: of the one server that it has adopted; opened anew where the store refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from databosun.agent.log import Log
from databosun.agent.walretry import Retrying
from databosun.agent.walstore import WalBucket
from databosun.api.archive import GAP_EVENT, GAPS_TOLD, LogGap
from databosun.domain.errors import DatabosunError
from databosun.engines.archiving import ArchiveState
from databosun.storage.walog import LogDescription


class ShippedLog:
    """The log in the store, and its gaps. `retry`: how each call to the store is made. `open_bucket` is called anew."""

    def __init__(
        self, open_bucket: Callable[[str], WalBucket], state: ArchiveState, log: Log, stop: threading.Event
    ) -> None:
        self._open_bucket = open_bucket
        self._state = state
        self._log = log
        self._lock = threading.Lock()
        self._bucket: WalBucket | None = None
        self._system = ""
        self.segment_bytes = 0
        self.retry = Retrying(state, log, stop, self._reopen)

    def adopt(self, description: LogDescription) -> None:
        """Open the log of that server, and say what gaps it has. Drained once the archiver is to end."""
        if self._system == description.system_identifier and self.segment_bytes == description.segment_bytes:
            return

        def opened() -> WalBucket:
            bucket = self._open_bucket(description.system_identifier)
            bucket.describe(description)
            return bucket

        bucket = self.retry.persist(opened)
        gaps = self.retry.persist(bucket.gaps)
        with self._lock:
            self._bucket = bucket
            self._system, self.segment_bytes = description.system_identifier, description.segment_bytes
        self._know_gaps(gaps)
        for gap in gaps:
            self._log.document(GAP_EVENT, gap.dump())

    @property
    def bucket(self) -> WalBucket:
        """Where it lies. RuntimeError before a server was adopted."""
        if self._bucket is None:
            msg = "the log was not adopted yet"
            raise RuntimeError(msg)
        return self._bucket

    def keep_history(self, timeline: int, text: bytes) -> None:
        """Store a history file."""
        self.retry.persist(lambda: self.bucket.put_history(timeline, text))

    def record_gap(self, gap: LogGap) -> None:
        """Store a gap, and say it."""
        known = self._state.snapshot().recoverable_at
        told = gap if gap.begin_time or known is None else gap.model_copy(update={"begin_time": known})
        self.retry.persist(lambda: self.bucket.put_gap(told))
        self._know_gaps(self.retry.persist(self.bucket.gaps))
        self._log.document(GAP_EVENT, told.dump())

    def _know_gaps(self, gaps: Sequence[LogGap]) -> None:
        newest = sorted(gaps, key=lambda gap: gap.end_time)[-GAPS_TOLD:]
        self._state.know(gaps=len(gaps), newest_gaps=newest)

    def _reopen(self) -> None:
        """The store refused us: look at its Secret again, which may have been mended."""
        with self._lock:
            before = self._bucket
        if before is None:
            return
        try:
            bucket = self._open_bucket(self._system)
        except DatabosunError:  # the next try says the same, or better
            return
        bucket.segment_bytes, bucket.stored_bytes = before.segment_bytes, before.stored_bytes
        with self._lock:
            self._bucket = bucket
