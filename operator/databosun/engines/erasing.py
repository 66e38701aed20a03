"""The seam for erasures in restored data: find whom the ledger means, and do to their rows what was done at the source.

An engine that has no such way is refused with a reason (`registry.load_erasing`): nothing is restored silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from databosun.api.erasure import ErasureEntry
from databosun.engines.recovery import Copy


@dataclass(frozen=True, slots=True)
class Repeated:
    """What became of one erasure in a copy. `found`: the person stood in it. `rows`: by table, deleted or overwritten;
    `missing`: what the copy does not have, such as a table that is younger."""

    id: str
    found: bool
    rows: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


class Erasing(Protocol):
    """What an engine does for erasures in a copy of its own, which nobody else can reach."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Find every person by the keyed hash, carry out their rules, and count that no row is left.

        Errors: UserFault(ErasureNotRepeatable) where a rule does not fit the copy. Nothing that is raised, and nothing
        that is returned, has a value of a row in it.
        """
        ...
