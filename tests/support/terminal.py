"""A command's session against an API server in memory, and what it wrote."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console

from databosun.cli.output import Screen
from databosun.cli.session import Session
from support.clock import FakeClock
from support.fakekube import FakeKube

NOW = "2026-03-01T12:00:00Z"


class SelfMovingClock(FakeClock):
    """Whoever sleeps lets the time pass; then `events` happen, one with each sleep."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.events: Iterator[object] = iter(())

    async def sleep(self, seconds: float) -> None:
        """Pass the time, and let the next event happen."""
        self.jump(timedelta(seconds=seconds))
        self._monotonic += seconds
        next(self.events, None)


@dataclass
class Terminal:
    """One person at a terminal. `scope` None: all namespaces; `tty`: whether colours and bars are shown."""

    scope: str | None = "shop"
    tty: bool = False
    clock: SelfMovingClock = field(default_factory=SelfMovingClock)
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.kube = FakeKube(now=self.clock.now)

    @property
    def session(self) -> Session:
        """What a command is given."""
        screen = Screen(self._console(self.out), self._console(self.err))
        return Session(self.kube, self.kube, self.clock, screen, "shop", self.scope)

    @property
    def said(self) -> str:
        """Standard output so far, with runs of spaces as one."""
        return "\n".join(" ".join(line.split()) for line in self.out.getvalue().splitlines())

    @property
    def noted(self) -> str:
        """Standard error so far."""
        return self.err.getvalue()

    def _console(self, file: io.StringIO) -> Console:
        return Console(file=file, width=2000, force_terminal=self.tty, highlight=False, color_system=None)
