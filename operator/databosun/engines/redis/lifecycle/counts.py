"""Count what a rule would do right now, and what lies under its pattern. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.lifecycle import KeysFact, RuleCounts, RuleOrder
from databosun.engines.lifecycle import Left, hash_key
from databosun.engines.redis.lifecycle.scan import FOREVER, Names, Scan, Seen, look_at, shown
from databosun.engines.redis.resp import Wire, encode

SAMPLES = 10
MEASURED = 1000  # keys whose memory is asked for: SCAN goes by hashes, so that the first are as good as any
_DAY = 86400


@dataclass
class Tally:
    """What one pass found."""

    keys: int = 0
    lasting: int = 0
    eligible: int = 0
    held: int = 0
    soon: int = 0
    oldest: int | None = None
    newest: int | None = None
    some: list[bytes] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    def add(self, one: Seen, rule: RuleOrder, tomorrow: RuleOrder, *, held: bool) -> None:
        """Count a key."""
        self.keys += 1
        self.lasting += one.left == FOREVER
        if len(self.some) < MEASURED:
            self.some.append(one.name)
        if one.taken_by(rule):
            self._take(one, held=held)
        elif not held and one.taken_by(tomorrow):
            self.soon += 1

    def _take(self, one: Seen, *, held: bool) -> None:
        if held:
            self.held += 1
            return
        self.eligible += 1
        if len(self.taken) < MEASURED:
            self.taken.append(one.name)
        if one.idle is not None:
            self.oldest = one.idle if self.oldest is None else max(self.oldest, one.idle)
            self.newest = one.idle if self.newest is None else min(self.newest, one.idle)


def tally(wire: Wire, rule: RuleOrder, names: Names, pulse: Callable[[], None]) -> Tally:
    """One pass."""
    found, scan = Tally(), Scan(names)
    tomorrow = rule
    if rule.idle_seconds is not None:
        tomorrow = rule.model_copy(update={"idle_seconds": max(0, rule.idle_seconds - _DAY)})
    while not scan.ended:
        pulse()
        if listed := scan.next(wire):
            for one in look_at(wire, rule, listed):
                found.add(one, rule, tomorrow, held=names.held(one.name))
    return found


def count(
    wire: Wire, rule: RuleOrder, names: Names, at: datetime, key: bytes | None, pulse: Callable[[], None]
) -> RuleCounts:
    """All that a plan shows."""
    found, size = tally(wire, rule, names, pulse), wire.call("DBSIZE")
    return RuleCounts(
        rows=size if isinstance(size, int) else 0,
        eligible=found.eligible,
        held=found.held,
        oldest=_used(found.oldest, at),
        newest=_used(found.newest, at),
        bytes=_bytes(wire, found.taken, found.eligible),
        inflow_per_day=found.soon,
        pattern=KeysFact(keys=found.keys, bytes=_bytes(wire, found.some, found.keys), lasting=found.lasting),
        samples=sorted(hash_key(key, [shown(one)]) for one in found.taken[:SAMPLES]) if key is not None else [],
    )


def count_left(wire: Wire, rule: RuleOrder, names: Names, at: datetime, pulse: Callable[[], None]) -> Left:
    """What it could still take."""
    found = tally(wire, rule, names, pulse)
    return Left(found.eligible, _used(found.oldest, at))


def _used(idle: int | None, at: datetime) -> datetime | None:
    return Seen(b"", FOREVER, idle).used(at)


def _bytes(wire: Wire, names: Sequence[bytes], keys: int) -> int:
    """By the average of these."""
    wire.send(b"".join(encode("MEMORY", "USAGE", name) for name in names))
    sizes = [one for one in wire.answers(len(names)) if isinstance(one, int)]
    return sum(sizes) * keys // len(sizes) if sizes else 0
