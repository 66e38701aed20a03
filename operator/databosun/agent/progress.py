"""Says how far a run has come: at most one line every five seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from databosun.agent.log import Log

EVERY_SECONDS = 5.0


class Progress:
    """Counts plaintext bytes; safe to use from several threads."""

    def __init__(self, log: Log, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._stage: str | None = None
        self._total: int | None = None
        self.bytes = 0

    def stage(self, stage: str, *, total_bytes: int | None = None) -> None:
        """Say what is being done now, and of how many bytes in all where that is known."""
        with self._lock:
            self._stage = stage
            self._total = total_bytes if total_bytes is not None else self._total
        self._speak()

    def add(self, count: int) -> None:
        """Count bytes."""
        with self._lock:
            self.bytes += count
        self._speak()

    def _speak(self) -> None:
        with self._lock:
            now = self._monotonic()
            if now - self._last < EVERY_SECONDS:
                return
            self._last = now
            fields = {"stage": self._stage, "bytes": self.bytes, "total": self._total}
        self._log.info("progress", **{key: value for key, value in fields.items() if value is not None})
