"""What a ledger says of each way that clients took.

Writes of all ways stand in one ledger: what is lost, and whether two nodes took writes, is judged over all of them. How
long nobody could write is a matter of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from databosun.domain.ledger import Fate, History
from databosun.domain.ledgerjudge import ClientFigures, Gap, Span, before, blind, downtime

IN_DOUBT = (Fate.UNKNOWN, Fate.SENT)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Errors of one kind: how often, and how many left nobody knowing whether the write was done."""

    kind: str
    count: int
    unknown: int


@dataclass(frozen=True, slots=True)
class PathFigures:
    """One way. `before`: acknowledged before the switch. `blind`: as in `Judged`. `first`, `all`: seconds from the
    order to the first write that the promoted node acknowledged, of any client and of the last of them."""

    name: str
    clients: int
    acknowledged: int
    failed: int
    unknown: int
    before: int
    downtime: Gap
    blind: float
    first: float | None
    all: float | None
    errors: tuple[ErrorCount, ...]


def judge_paths(
    history: History, figures: Sequence[ClientFigures], paths: Mapping[str, Sequence[str]], span: Span
) -> list[PathFigures]:
    """Each way, in the order given. `paths`: the names of its clients. `figures`: of all clients."""
    return [_path(name, history.only(clients), figures, span) for name, clients in paths.items()]


def count_errors(history: History) -> tuple[ErrorCount, ...]:
    """By kind, the most frequent first."""
    all_of, unknown = Counter[str](), Counter[str]()
    for write in history:
        if write.error is not None:
            all_of[write.error] += 1
            unknown[write.error] += write.fate in IN_DOUBT
    counts = (ErrorCount(kind, count, unknown[kind]) for kind, count in all_of.items())
    return tuple(sorted(counts, key=lambda one: (-one.count, one.kind)))


def _path(name: str, history: History, figures: Sequence[ClientFigures], span: Span) -> PathFigures:
    own = [one for one in figures if one.name in history.clients]
    firsts = [one.first_success for one in own]
    met = [one for one in firsts if one is not None]
    return PathFigures(
        name=name,
        clients=len(own),
        acknowledged=sum(one.acknowledged for one in own),
        failed=sum(one.failed for one in own),
        unknown=sum(one.unknown for one in own),
        before=before(history, span),
        downtime=downtime(history, span),
        blind=blind(history, span),
        first=min(met, default=None),
        all=max(met) if met and len(met) == len(firsts) else None,
        errors=count_errors(history),
    )
