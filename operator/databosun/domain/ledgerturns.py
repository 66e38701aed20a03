"""Whether one primary after the other explains who took writes when, or two nodes must have taken them at once."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from math import inf

from databosun.domain.ledger import Claim


@dataclass(frozen=True, slots=True)
class SplitBrain:
    """Two nodes of which no order of single primaries explains the claims with the handovers that there were.

    `turns`: claims of one and the other in turn, each over before the next began. `handovers`: the fewest that would
    explain all claims of the two. `overlap`: seconds for which both took writes, from the first to the last.
    """

    turns: tuple[Claim, ...]
    handovers: int
    overlap: float


@dataclass(slots=True)
class _Turns:
    """The longest alternation that begins with a node. A primary that stays as long as it can must hand over when a
    claim of the other ends that began after the last handover; so this many handovers are needed, if it began."""

    wanted: str
    other: str
    turns: list[Claim] = field(default_factory=list)
    since: float = -inf

    def see(self, claim: Claim) -> None:
        """The next claim to end."""
        if claim.node == self.wanted and claim.began > self.since:
            self.turns.append(claim)
            self.since = claim.ended
            self.wanted, self.other = self.other, self.wanted


@dataclass(slots=True)
class _Seen:
    """Of a node: its first claim to end, and when its last one began."""

    first: Claim
    last_began: float


def find_split_brain(streams: Iterable[Iterable[Claim]], handovers: int) -> SplitBrain | None:
    """The proof, where there is one. With one handover, A took writes, then B, then A again cannot be explained.

    Where one claim is not over before another begins, nothing is said of their order: what a single primary can explain
    is never held against it. Nodes are looked at two by two. `streams`: each in order, its claims one after the other.
    """
    seen: dict[str, _Seen] = {}
    pairs: dict[frozenset[str], tuple[_Turns, _Turns]] = {}
    for claim in heapq.merge(*streams, key=lambda one: one.ended):
        if claim.node not in seen:
            pairs |= {frozenset((node, claim.node)): _pair(one.first, claim.node) for node, one in seen.items()}
            seen[claim.node] = _Seen(claim, claim.began)
        seen[claim.node].last_began = max(seen[claim.node].last_began, claim.began)
        for turns in chain.from_iterable(pairs.values()):
            turns.see(claim)
    needed = {pair: min(len(turns.turns) for turns in both) for pair, both in pairs.items()}
    worst = max(needed, key=lambda pair: needed[pair], default=None)
    if worst is None or needed[worst] <= handovers:
        return None
    longest = max(pairs[worst], key=lambda turns: len(turns.turns))
    one, other = (seen[node] for node in worst)
    overlap = min(one.last_began, other.last_began) - max(one.first.ended, other.first.ended)
    return SplitBrain(tuple(longest.turns), needed[worst], max(0.0, overlap))


def _pair(first: Claim, other: str) -> tuple[_Turns, _Turns]:
    """Both alternations of a node that is known and one that is new; that of the known one has begun."""
    begun = _Turns(first.node, other)
    begun.see(first)
    return begun, _Turns(other, first.node)
