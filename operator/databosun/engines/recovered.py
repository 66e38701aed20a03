"""A recovered copy that runs: what is the same of every engine's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from databosun.api.drill import Check, CheckResult
from databosun.engines.recovery import Reached, RecoveryPlan


class Killable(Protocol):
    """What a copy asks of its server here."""

    def kill(self) -> None:
        """End it at once; harmless where it does not run."""
        ...


_Server = TypeVar("_Server", bound=Killable)


class RecoveredCopy(Generic[_Server]):
    """`Copy` of `engines/base.py`, but for what an engine checks and how it flushes and ends.

    `seconds`: by phase so far; whoever recovers may still add to it.
    """

    def __init__(
        self, server: _Server, reached: Reached, seconds: dict[str, float], notes: Sequence[str], plan: RecoveryPlan
    ) -> None:
        self._server = server
        self._reached = reached
        self._seconds = seconds
        self._notes = notes
        self._plan = plan

    @property
    def server(self) -> _Server:
        """For those that read or reshape the copy over a session of their own."""
        return self._server

    @property
    def reached(self) -> Reached:
        """Where recovery ended."""
        return self._reached

    @property
    def notes(self) -> Sequence[str]:
        """What is otherwise than in the original."""
        return self._notes

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase."""
        return dict(self._seconds)

    def check(self, check: Check) -> CheckResult:
        """Run one check, and say how long it took."""
        began = time.monotonic()
        found = self._run_check(check)
        return found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def kill(self) -> None:
        """End it at once."""
        self._server.kill()

    def _run_check(self, check: Check) -> CheckResult:
        raise NotImplementedError

    @contextmanager
    def _syncing(self) -> Iterator[None]:
        """Counted as `sync`."""
        began = time.monotonic()
        yield
        self._seconds["sync"] = self._seconds.get("sync", 0.0) + time.monotonic() - began


def sync_files(root: Path) -> None:
    """Have all files below a folder on the disk; temporary ones of a running server may go meanwhile. OSError."""
    for folder, _, names in os.walk(root):
        for path in (*(Path(folder, name) for name in names), Path(folder)):
            _fsync(path)


def _fsync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
