"""The seam between the agent and an engine on the way back: what a chain is read from, and the copy made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from databosun.api.drill import Check, CheckResult, Level, RecoveryPoint
from databosun.api.v1alpha1.backup import Position


class ArtefactReader(Protocol):
    """One artefact on its way back: decrypted, in order, its digest known to be right only once it is closed."""

    name: str

    def read(self, size: int = 0) -> bytes | bytearray | memoryview:
        """The next bytes, as many as there are; empty at the end. Raises what went wrong on the way."""
        ...


class Source(Protocol):
    """Where the artefacts of a chain come back from. Safe to use from several threads."""

    def names(self, backup: str) -> tuple[str, ...]:
        """The artefacts of one backup."""
        ...

    def size(self, backup: str, name: str) -> int:
        """Bytes of its data."""
        ...

    def open(self, backup: str, name: str) -> AbstractContextManager[ArtefactReader]:
        """Read one; leaving the block raises SafetyStop where its bytes are not those that were stored."""
        ...

    def read_plain(self, backup: str, name: str) -> bytes:
        """A small one whole."""
        ...

    @property
    def waited(self) -> float:
        """Seconds that readers have waited for bytes so far."""
        ...


class LogSupply(Protocol):
    """The server's log on its way back, fetched ahead of the replay."""

    @property
    def names(self) -> tuple[str, ...]:
        """The segments that the goal needs, in order."""
        ...

    def take(self, name: str) -> Path | None:
        """A verified file with that segment or history, the caller's to move away; None where the log has none."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What is to be made of a chain. `chain`: the manifests, base first. `place`: an empty folder for the data.

    `expected`: the position that the replay must reach, where the log promises one. `surely`: of a point in time, a
    position up to which all lies before it, where one is known. `timeline`: the one to end on;
    None: the backup's own. `verify`: have the engine check the files against its own manifest before it recovers.
    `assumed_at`: the instant that the age of data is measured against.
    """

    chain: tuple[Mapping[str, Any], ...]
    place: Path
    until: RecoveryPoint
    deadline: datetime
    place_bytes: int | None = None
    timeline: int | None = None
    log: LogSupply | None = None
    expected: str | None = None
    surely: str | None = None
    verify: bool = False
    assumed_at: datetime | None = None
    pulse: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Reached:
    """Where recovery ended. `last_commit`: instant of the newest recovered transaction, where one was replayed.

    `covers`: the instant that it is complete up to by the word of a cloud that replayed its own log.
    """

    position: Position
    last_commit: datetime | None = None
    covers: datetime | None = None


class Copy(Protocol):
    """A recovered database that only this process can reach, and that can reach nobody."""

    @property
    def reached(self) -> Reached:
        """Where recovery ended."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase: fetch, restore, replay, start, verify, sync."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What is otherwise than in the original."""
        ...

    def check(self, check: Check) -> CheckResult:
        """Run one check; raises only where the copy itself is gone."""
        ...

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for, before any of the user's."""
        ...

    def reindex(self) -> None:
        """Rebuild every index and take the collations of this image for right."""
        ...

    def flush(self) -> None:
        """Flush all of it to disk, as a server in earnest would have: counted as `sync`."""
        ...

    def finish(self) -> None:
        """Stop cleanly and flush all of it to disk: what lies in `place` is then a database to start elsewhere."""
        ...

    def kill(self) -> None:
        """End it at once; harmless when it has ended. Wakes whoever waits for an answer of it."""
        ...
