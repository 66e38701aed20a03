"""A drill of many databases: one verdict for all, and how long it took until the last of them was back.

Groups are drilled one after the other, since what others depend on is needed first. A group's span goes from the
instant at which it was ordered to the one at which its last database answered; verification, which nobody waits for in
an emergency, is no part of it. The whole took the sum of these spans (docs/adr/0022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.drill import Verdict

# The gravest first: a backup that does not restore outweighs all that says nothing about one.
_GRAVITY = (Verdict.FAILED, Verdict.ERROR, Verdict.REFUSED, Verdict.PARTIAL, Verdict.PASSED)
_NAMED = 5


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One database of the drill, after its own. `ordered_at` and `seconds` are what its time to restore was measured
    from, and to; None where it did not get that far."""

    database: str
    verdict: Verdict
    reason: str
    message: str = ""
    ordered_at: datetime | None = None
    seconds: float | None = None
    objective: float | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Databases that are restored at once."""

    started_at: datetime
    members: Sequence[MemberFacts]


@dataclass(frozen=True, slots=True)
class JointVerdict:
    """One verdict for all, with the reason of the gravest member."""

    verdict: Verdict
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ready:
    """When one database was back, counted from the start of the whole, verification apart."""

    database: str
    seconds: float
    met: bool | None


@dataclass(frozen=True, slots=True)
class JointTimes:
    """`seconds` is None where not every database came back: then there is no time after which all had. `groups`: the
    span of each group, None from the first on that is not known. `met`: whether each was back within its own objective,
    counted from the start of the whole; None where no objective is known."""

    seconds: float | None
    met: bool | None
    groups: tuple[float | None, ...]
    ready: tuple[Ready, ...]


def judge_joint(members: Sequence[MemberFacts]) -> JointVerdict:
    """The gravest verdict of any member is that of the whole; total, also where there is none."""
    if not members:
        return JointVerdict(Verdict.REFUSED, "DatabaseNotFound", "no database is covered, so nothing was drilled")
    worst = min((one.verdict for one in members), key=_GRAVITY.index)
    if worst is Verdict.PASSED:
        return JointVerdict(worst, "Passed", f"{len(members)} databases were restored, and all checks passed")
    found = [one for one in members if one.verdict is worst]
    named = "; ".join(f"{one.database} ({one.reason}): {one.message}" for one in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    message = f"{worst} for {len(found)} of {len(members)} databases: {named}{more}"
    return JointVerdict(worst, found[0].reason, message)


def measure_joint(groups: Sequence[GroupFacts]) -> JointTimes:
    """How long it took until every database was back; total."""
    offset: float | None = 0.0
    spans: list[float | None] = []
    ready: list[Ready] = []
    for group in groups:
        found = [_within(group, one) for one in group.members]
        if offset is not None:
            ready += [
                Ready(one.database, round(offset + seconds, 3), _met(one, offset + seconds))
                for one, seconds in zip(group.members, found, strict=True)
                if seconds is not None
            ]
        span = max((seconds for seconds in found if seconds is not None), default=0.0)
        known = None if offset is None or None in found else round(span, 3)
        spans.append(known)
        offset = None if known is None or offset is None else offset + known
    met = [one.met for one in ready if one.met is not None]
    total = None if offset is None or not ready else round(offset, 3)
    return JointTimes(total, all(met) and total is not None if met else None, tuple(spans), tuple(ready))


def _within(group: GroupFacts, member: MemberFacts) -> float | None:
    """From the group's order until this database had answered."""
    if member.seconds is None or member.ordered_at is None:
        return None
    return max(0.0, (member.ordered_at - group.started_at).total_seconds()) + member.seconds


def _met(member: MemberFacts, seconds: float) -> bool | None:
    return None if member.objective is None else seconds <= member.objective


def into_groups(databases: Sequence[tuple[str, Sequence[bool]]]) -> tuple[tuple[str, ...], ...]:
    """Databases, each with which selectors of the order match it, as groups in that order.

    Each belongs to the first that matches; those that none matches come last. Groups without a database are left out.
    """
    found: dict[int, list[str]] = {}
    for name, matches in sorted(databases):
        at = next((index for index, matched in enumerate(matches) if matched), len(matches))
        found.setdefault(at, []).append(name)
    return tuple(tuple(found[at]) for at in sorted(found))
