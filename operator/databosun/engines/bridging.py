"""The seam for restores into a running server: beside what is there, checked, then put in place all at once.

An engine that has no such way is refused with a reason (`registry.load_bridge`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from databosun.api.drill import Check, CheckResult, Level
from databosun.api.result import PlacedResult
from databosun.engines.base import Target
from databosun.engines.recovery import Copy


@dataclass(frozen=True, slots=True)
class BridgeOrder:
    """What is wanted at the target. `uid`: of the restore; whatever is made there is named after it.

    `replace`: what is there under a wanted name may be put aside. `progress` takes a stage and bytes, done and total.
    """

    uid: str
    run: str
    databases: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    replace: bool = False
    pulse: Callable[[], None] = lambda: None
    progress: Callable[[str, int, int | None], None] = lambda stage, done, total: None


class Standing(StrEnum):
    """What an earlier attempt of the same restore left at the target."""

    NOTHING = "Nothing"
    UNFINISHED = "Unfinished"
    STAGED = "Staged"
    PLACED = "Placed"


@dataclass(frozen=True, slots=True)
class Found:
    """`story`: what was written down at the target when it was staged, with STAGED and PLACED."""

    standing: Standing
    placed: tuple[PlacedResult, ...] = ()
    story: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """What lies beside what is there, proven equal to the copy. `checks`: what was compared, and what it came to."""

    placed: tuple[PlacedResult, ...]
    checks: tuple[CheckResult, ...] = ()
    notes: tuple[str, ...] = ()


class Bridge(Protocol):
    """What an engine does at a running server. Raises UserFault, WorldFault or SafetyStop only.

    Each method looks at the target anew: any of them may be the first of an attempt, after one that was killed.
    """

    def look(self, target: Target, order: BridgeOrder) -> Found:
        """What an earlier attempt of this restore left."""
        ...

    def examine(self, target: Target, order: BridgeOrder, manifest: Mapping[str, Any]) -> None:
        """Refuse what cannot work, before anything is fetched: version, grants, names, what is there. UserFault."""
        ...

    def stage(
        self, target: Target, order: BridgeOrder, copy: Copy, checks: Sequence[Check], level: Level
    ) -> StagedCopy:
        """Bring what is wanted of the copy to the target, under names of its own, and compare it with the copy.

        The copy is spent afterwards. On an error the target is as it was, or the message names what could not be
        removed.
        """
        ...

    def seal(self, target: Target, order: BridgeOrder, story: Mapping[str, Any]) -> None:
        """Write down at the target that it is staged and checked."""
        ...

    def place(self, target: Target, order: BridgeOrder) -> tuple[PlacedResult, ...]:
        """Put what is staged in place, and what is there aside: all of it or nothing."""
        ...

    def settle(self, target: Target, order: BridgeOrder) -> None:
        """Take away what was only written for the attempts; harmless where it is gone."""
        ...

    def discard(self, target: Target, order: BridgeOrder) -> tuple[str, ...]:
        """Remove what is staged, and nothing else. What was removed; raises naming what could not be."""
        ...

    def hand_over(self, placed: Sequence[PlacedResult], target: Target) -> list[str]:
        """What to do next: sentences, in order."""
        ...
