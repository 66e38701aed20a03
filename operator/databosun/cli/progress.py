"""How a run goes: a bar where a person looks, a line for each change where a log is kept."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.cli.output import Screen
from databosun.controllers.seen import Seen
from databosun.domain.conditions import find

FINAL: Final = frozenset(
    {
        *("Succeeded", "Failed", "Passed", "Partial", "Refused", "Error", "Aborted", "Inconclusive"),
        *("Staged", "AwaitingApproval"),
    }
)
"""The phases of all kinds of runs that are verdicts, or wait for a person."""

SeenRun = Seen[Any, Any]
LEAST_TEXT: Final = 12
# Spinner, bar, percent, bytes and time.
BESIDE: Final = 75


class Follower(Protocol):
    """Shows one run while it goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, seen: SeenRun) -> None:
        """Take in the run as it is now."""
        ...

    def say(self, text: str) -> None:
        """Say something beside it."""
        ...


def follower(screen: Screen, name: str) -> Follower:
    """The one that fits where standard error goes."""
    return Bar(screen, name) if screen.err.is_terminal else Lines(screen)


class Bar:
    """A bar that fills with the bytes done; it runs to and fro while nobody knows how many there will be."""

    def __init__(self, screen: Screen, name: str) -> None:
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[bytes]}", markup=False),
            TimeElapsedColumn(),
        )
        self._screen = screen
        self._progress = Progress(*columns, console=screen.err, transient=True)
        self._task = self._progress.add_task(name, total=None, bytes="")
        self._name = name

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, seen: SeenRun) -> None:
        """Move the bar."""
        progress = seen.status.progress
        if progress is None:
            self._draw(None, 0, "", _why(seen))
            return
        total = progress.total_bytes
        size = humanize_bytes(progress.bytes) + (f" of {humanize_bytes(total)}" if total else "")
        stage = progress.stage or str(seen.status.phase)
        # An estimate may be too low; a bar that stands full for long would be a lie.
        completed = min(progress.bytes, total * 99 // 100) if total else progress.bytes
        self._draw(total, completed, size, stage)

    def _draw(self, total: int | None, completed: int, size: str, text: str) -> None:
        # What does not fit beside the bar would break it into lines.
        room = max(LEAST_TEXT, self._screen.err.width - len(self._name) - BESIDE)
        shown = text if len(text) <= room else f"{text[: room - 1]}…"
        self._progress.update(
            self._task, total=total, completed=completed, bytes=size, description=f"{self._name}  {shown}"
        )

    def say(self, text: str) -> None:
        """Above the bar."""
        self._screen.note(text)


class Lines:
    """One line for each change."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, seen: SeenRun) -> None:
        """Write a line where it says something else than the last one; what comes after the end is the verdict."""
        if seen.status.phase in FINAL:
            return
        progress = seen.status.progress
        line = _why(seen)
        if progress is not None:
            percent = f" ({progress.percent}%)" if progress.percent is not None else ""
            line = f"{progress.stage or seen.status.phase}: {humanize_bytes(progress.bytes)}{percent}"
        self.say(line)

    def say(self, text: str) -> None:
        """Once, however often it is said in a row."""
        if text != self._last:
            self._last = text
            self._screen.note(text)


def _why(seen: SeenRun) -> str:
    ready = find(seen.status.conditions, ConditionType.READY)
    phase = str(seen.status.phase or "Pending")
    return f"{phase}: {ready.message}" if ready is not None and ready.message else phase
