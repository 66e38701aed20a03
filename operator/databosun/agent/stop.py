"""One stop for the whole agent: a signal or the deadline sets it, everything that waits is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from databosun.domain.errors import WorldFault

INTERRUPTED = "Interrupted"
DEADLINE_EXCEEDED = "DeadlineExceeded"


class Stopped(WorldFault):
    """The agent was told to stop; raised wherever work would have gone on."""


class Stop:
    """Set once, with a reason. Subscribers are called in the thread that sets it, each at most once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: Stopped | None = None
        self._subscribers: dict[int, Callable[[Stopped], None]] = {}
        self._next = 0

    @property
    def error(self) -> Stopped | None:
        """Why, once it is set."""
        return self._error

    def set(self, reason: str, message: str) -> None:
        """Stop everything; the first reason stands."""
        with self._lock:
            if self._error:
                return
            self._error = error = Stopped(reason, message)
            subscribers = list(self._subscribers.values())
            self._subscribers.clear()
        for tell in subscribers:
            tell(error)

    def check(self) -> None:
        """Raise Stopped if it is set."""
        if self._error:
            raise Stopped(self._error.reason, self._error.message)

    def subscribe(self, tell: Callable[[Stopped], None]) -> Callable[[], None]:
        """Be told once, at once if it is set already. Returns what ends the subscription."""
        with self._lock:
            error = self._error
            self._next += 1
            number = self._next
            if not error:
                self._subscribers[number] = tell
        if error:
            tell(error)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.pop(number, None)

        return unsubscribe
