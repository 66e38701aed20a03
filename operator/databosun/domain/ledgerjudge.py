"""What a ledger proves: how long nobody could write, what is lost, and whether two nodes took writes at once.

Nothing is claimed that the ledger does not prove. A write whose outcome is unknown is never lost: it may be there, and
may as well not. Two nodes took writes at once only where no order of single primaries explains what clients were told.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from databosun.domain.ledger import Claim, ClientHistory, Fate, History, ReadBack, Write
from databosun.domain.ledgerturns import SplitBrain, find_split_brain

SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at. `since`: the switch was ordered, so a gap that ended before is none of its. `until`: the
    writers were stopped. `promoted`: the node that became primary. `handovers`: changes of the primary that there
    were by the provider's own word."""

    since: float
    until: float
    promoted: str | None = None
    handovers: int = 1


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without an acknowledgement; true downtime was this at most. `resumed`: it came to an end.

    `began` is None where nothing was ever acknowledged before; the time is then counted from the start of the span.
    """

    seconds: float
    began: float | None
    resumed: bool


@dataclass(slots=True)
class Tally:
    """Writes of one sort: how many, and the first few."""

    count: int = 0
    sample: list[Write] = field(default_factory=list)

    def add(self, write: Write) -> None:
        """One more."""
        self.count += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(write)


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """One client. `first_success`: seconds from the order to its first acknowledgement by the promoted node."""

    name: str
    acknowledged: int
    failed: int
    unknown: int
    gap: Gap
    first_success: float | None
    errors: Mapping[str, int]


@dataclass(slots=True)
class Losses:
    """What became of the writes, by what was read back.

    `lost`: acknowledged, and missing from the first read-back that had to hold it; `reappeared`: of those, the ones
    that a later one holds. `rejoin_lost`: in one read-back and gone from the next. `phantom`: refused, and there all
    the same. `unknown_present`: of unknown outcome, and there. `unchecked`: acknowledged after the last read-back.
    """

    lost: Tally = field(default_factory=Tally)
    reappeared: int = 0
    rejoin_lost: Tally = field(default_factory=Tally)
    phantom: Tally = field(default_factory=Tally)
    unknown_present: int = 0
    unchecked: int = 0

    def count(self, write: Write, backs: Sequence[ReadBack]) -> None:
        """Look for one write in every read-back, in order."""
        held = [back.holds(write) for back in backs]
        if any(one and not after for one, after in pairwise(held)):
            self.rejoin_lost.add(write)
        if write.fate is Fate.FAILED and any(held):
            self.phantom.add(write)
        if write.fate in (Fate.SENT, Fate.UNKNOWN):
            self.unknown_present += any(held)
        if write.fate is Fate.ACKNOWLEDGED and write.ended is not None:
            self._count_acknowledged(write, write.ended, backs, held)

    def _count_acknowledged(self, write: Write, ended: float, backs: Sequence[ReadBack], held: Sequence[bool]) -> None:
        due = next((number for number, back in enumerate(backs) if ended <= back.began), None)
        if due is None:
            self.unchecked += 1
        elif not any(held[: due + 1]):
            self.lost.add(write)
            self.reappeared += any(held)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the ledger says. `before`: acknowledged before the switch, without which nothing is known of it.
    `unexplained`: in a read-back, and sent by nobody. `blind`: the longest time within the span in which no write was
    on its way, so that an outage could hide in it."""

    acknowledged: int
    failed: int
    unknown: int
    before: int
    downtime: Gap
    blind: float
    losses: Losses
    unexplained: int
    split_brain: SplitBrain | None
    clients: tuple[ClientFigures, ...]


def judge(
    history: History, read_backs: Sequence[ReadBack], span: Span, sightings: Iterable[Sequence[Claim]] = ()
) -> Judged:
    """Judge a history by what was read back, in the order in which it was read. `sightings`: nodes that said of
    themselves that they take writes, one sequence for each that was asked, in order."""
    backs = sorted(read_backs, key=lambda back: back.began)
    clients = [_figures(client, span) for client in history.clients.values()]
    losses = Losses()
    for write in history:
        losses.count(write, backs)
    return Judged(
        acknowledged=sum(one.acknowledged for one in clients),
        failed=sum(one.failed for one in clients),
        unknown=sum(one.unknown for one in clients),
        before=before(history, span),
        downtime=downtime(history, span),
        blind=blind(history, span),
        losses=losses,
        unexplained=_unexplained(history, backs),
        split_brain=find_split_brain([*map(_claims, history.clients.values()), *sightings], span.handovers),
        clients=tuple(clients),
    )


def downtime(history: History, span: Span) -> Gap:
    """The longest time in which no client was acknowledged anything."""
    return longest_gap(_all_acks(history), span)


def before(history: History, span: Span) -> int:
    """How many writes were acknowledged before the span."""
    return sum(at < span.since for at in _all_acks(history))


def longest_gap(acked: Iterable[float], span: Span) -> Gap:
    """The longest gap that the switch may have had a part in; `acked`: in order."""
    previous: float | None = None
    longest = Gap(0.0, None, resumed=True)
    for at in acked:
        if at > span.until:
            break
        if at >= span.since:
            longest = _longer(longest, previous, at, span, resumed=True)
        previous = at
    return _longer(longest, previous, span.until, span, resumed=False)


def _longer(longest: Gap, began: float | None, ended: float, span: Span, *, resumed: bool) -> Gap:
    """The end of the span ends no gap; it is an outage only where it is longer than what was seen before."""
    seconds = ended - (span.since if began is None else began)
    return Gap(seconds, began, resumed) if seconds > longest.seconds else longest


def _all_acks(history: History) -> Iterator[float]:
    return iter(heapq.merge(*map(_acks, history.clients.values())))


def _acks(client: ClientHistory) -> Iterator[float]:
    return (one.ended for one in client if one.fate is Fate.ACKNOWLEDGED and one.ended is not None)


def _unexplained(history: History, backs: Sequence[ReadBack]) -> int:
    """Rows that no write accounts for."""
    found = set[tuple[str, int]]()
    for back in backs:
        for name, present in back.present.items():
            sent = len(history.clients[name]) if name in history.clients else 0
            found.update((name, seq) for seq in present if not 0 <= seq < sent)
    return len(found)


def blind(history: History, span: Span) -> float:
    """Nothing was on its way: whatever happened then, nobody would have noticed."""
    longest, seen = 0.0, span.since
    for began, ended in heapq.merge(*(_intervals(client, span) for client in history.clients.values())):
        if began >= span.until:
            break
        if ended > seen:
            longest, seen = max(longest, began - seen), ended
    return max(longest, span.until - seen)


def _intervals(client: ClientHistory, span: Span) -> Iterator[tuple[float, float]]:
    return ((one.sent, span.until if one.ended is None else one.ended) for one in client)


def _claims(client: ClientHistory) -> Iterator[Claim]:
    for one in client:
        if one.fate is Fate.ACKNOWLEDGED and one.node is not None and one.ended is not None:
            yield Claim(one.node, one.sent, one.ended)


def _figures(client: ClientHistory, span: Span) -> ClientFigures:
    fates = Counter(one.fate for one in client)
    by_promoted = (
        one.ended - span.since
        for one in client
        if one.fate is Fate.ACKNOWLEDGED and one.node is not None and one.node == span.promoted
        if one.ended is not None and one.ended >= span.since
    )
    return ClientFigures(
        name=client.name,
        acknowledged=fates[Fate.ACKNOWLEDGED],
        failed=fates[Fate.FAILED],
        unknown=fates[Fate.UNKNOWN] + fates[Fate.SENT],
        gap=longest_gap(_acks(client), span),
        first_success=next(by_promoted, None),
        errors=Counter(one.error for one in client if one.error is not None),
    )
