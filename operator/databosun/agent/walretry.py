"""An archiver never gives up: what the store refuses is tried again, for ever, and said in every position line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from databosun.agent.log import Log
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.engines.archiving import ArchiveState

STORE = "store"
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0

Got = TypeVar("Got")


class Drained(Exception):
    """The archiver was told to end, and what it was at is given up."""


class Retrying:
    """Tries again until it works. `mend` is called where the store refused us, to look at its Secret again.

    In any thread but the shipper's, `stop` ends it; there, only `end_by`: what is open is shipped after the stop.
    """

    def __init__(self, state: ArchiveState, log: Log, stop: threading.Event, mend: Callable[[], None]) -> None:
        self._state = state
        self._log = log
        self._stop = stop
        self._mend = mend
        self._ending = threading.Event()
        self._give_up_at = float("inf")
        self.shipper: threading.Thread | None = None

    def end_by(self, instant: float) -> None:
        """Give up at that instant (of the monotonic clock)."""
        self._give_up_at = instant
        self._ending.set()

    def persist(self, work: Callable[[], Got]) -> Got:
        """What the work returns, in the end. SafetyStop passes through; Drained once it is to end."""
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
                self._mend()
            self._wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _wait(self, pause: float) -> None:
        if threading.current_thread() is not self.shipper:
            if self._stop.wait(pause):
                raise Drained
            return
        if not self._ending.wait(pause):
            return
        time.sleep(max(0.0, min(FIRST_PAUSE, self._give_up_at - time.monotonic())))
        if time.monotonic() >= self._give_up_at:
            raise Drained
