"""What an engine does whose backups a cloud makes and keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from databosun.api.v1alpha1.backup import HeldPart
from databosun.engines.base import Engine, Target


@dataclass(frozen=True, slots=True)
class Visit:
    """On whose behalf something is made or removed where a cloud keeps the backups: it is named and tagged after this.

    `run` is empty for a look. `until`: nothing temporary may live longer.
    """

    cluster: str
    namespace: str
    database: str
    database_uid: str
    run: str
    attempt: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose a backup was when it was taken, as its manifest says; that outlives cluster and Database."""

    cluster: str
    namespace: str
    database_uid: str


@dataclass(frozen=True, slots=True)
class Tended:
    """`missing`: backups whose data are gone. `removed`: what drills had left. `unclaimed`: data of runs that are not
    among the backups, by the cloud's own names; they are only told of, since a bucket may have been lost."""

    missing: tuple[str, ...]
    removed: tuple[str, ...]
    unclaimed: tuple[str, ...] = ()


class ManagedEngine(Engine, Protocol):
    """An engine with the login at hand, since its backups stay with a cloud: in the store lies a note of each."""

    @property
    def way(self) -> str:
        """What a drill measures, in a few words: from where to where."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What went wrong beside the work so far, each `Reason: sentence`, such as an instance that is left."""
        ...

    def refusal(self, backup: str, origin: Origin | None, held: Sequence[HeldPart]) -> str | None:
        """Why the data of a backup must stay; None where they are ours, or gone. Nothing is changed."""
        ...

    def release(self, backup: str, origin: Origin | None, held: Sequence[HeldPart]) -> None:
        """Delete the data of one backup, and wait until they are gone. Touches nothing that `refusal` would not let go.

        `origin` None: its manifest is gone, and then they are found by the name that this Database would have given.
        """
        ...

    def tend(self, backups: Sequence[str], active: Collection[str], known_at: datetime | None) -> Tended:
        """Look for the data of `backups`, and remove what drills have left but for the runs in `active`, as known at
        `known_at`: what began since then stays. None: no run begins any more."""
        ...


@runtime_checkable
class Managed(Protocol):
    """What an engine is besides whose databases' backups a cloud keeps."""

    def visit(self, target: Target, visit: Visit, pulse: Callable[[], None]) -> ManagedEngine:
        """The engine for one Job. `pulse` raises where the agent is to stop: call it at least every second."""
        ...
