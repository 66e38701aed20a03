"""Which backups are kept, and why; which are let go, and since when.

The newest good one, the newest proven one, held and locked ones, those in flight and whatever any of these stands on
are kept whatever the rules say. With no rule at all everything is kept. Carrying out what is decided here is
`deletion`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from databosun.domain.claims import Claim, Reason, RetentionRules, claims
from databosun.domain.closure import BackupFact, Chain, by_age, chains, children_first, dependants

__all__ = ["BackupFact", "Reason", "RetentionPlan", "RetentionRules", "decide_retention", "failed_records_to_trim"]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """Every backup is either in `keep`, with its reasons, or in `delete`, children before what they stand on.

    `expires` has for a kept backup the instant at which its last rule is expected to let go, if backups go on coming
    (None: never, or nobody can say), and for one in `delete` the instant at which it was let go. `next_change` is when
    this plan changes by time alone. `announced` is `delete` and its instants as they would be if nothing were being
    deleted yet: the plan that stood in the status before its first members were marked. `chains` are all chains with a
    good backup, for the breaker.
    """

    keep: Mapping[str, tuple[Reason, ...]]
    delete: tuple[str, ...]
    expires: Mapping[str, datetime | None]
    next_change: datetime | None
    announced: Mapping[str, datetime]
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The claims on one backup, summed up. `until` as in `RetentionPlan.expires`."""

    reasons: tuple[Reason, ...]
    until: datetime | None


def decide_retention(facts: Sequence[BackupFact], rules: RetentionRules, now: datetime, zone: str) -> RetentionPlan:
    """Say of every backup whether it is kept. Total and deterministic; the order of `facts` does not matter.

    Each database, and each incarnation of it (system identifier), is judged by itself. Raising any limit never lets go
    of more, but for the first one: the first rule is what makes anything go at all.
    """
    before: Mapping[str, _Verdict] = {}
    if any(fact.deleting for fact in facts):
        before = _judge([replace(fact, deleting=False) for fact in facts], rules, now, zone, {}).verdicts
    judged = _judge(facts, rules, now, zone, before)
    return RetentionPlan(
        keep={id: verdict.reasons for id, verdict in judged.verdicts.items() if verdict.reasons},
        delete=tuple(id for id, verdict in judged.verdicts.items() if not verdict.reasons),
        expires={id: verdict.until for id, verdict in judged.verdicts.items()},
        next_change=judged.next_change,
        announced={
            id: verdict.until
            for id, verdict in (before or judged.verdicts).items()
            if not verdict.reasons and verdict.until is not None
        },
        chains=chains(fact for fact in facts if fact.succeeded and fact.governed),
    )


def failed_records_to_trim(facts: Sequence[BackupFact], keep: int) -> tuple[str, ...]:
    """Failed backups beyond the newest `keep` of each database: records without data, oldest first. Held ones stay."""
    failed: defaultdict[str, list[BackupFact]] = defaultdict(list)
    for fact in sorted(facts, key=by_age):
        if fact.governed and not (fact.succeeded or fact.in_flight or fact.deleting or fact.held):
            failed[fact.database_uid].append(fact)
    return tuple(fact.id for records in failed.values() for fact in records[: max(0, len(records) - keep)])


@dataclass(frozen=True, slots=True)
class _Judged:
    """Verdicts, children first, and the next instant at which time alone can change one."""

    verdicts: Mapping[str, _Verdict]
    next_change: datetime | None


def _judge(
    facts: Sequence[BackupFact], rules: RetentionRules, now: datetime, zone: str, before: Mapping[str, _Verdict]
) -> _Judged:
    """Judge every backup; `before` has the verdicts as they would be if nothing were being deleted."""
    said: defaultdict[str, list[Claim]] = defaultdict(list)
    for group in _groups(facts):
        for id, claim in claims(group, rules, now, zone):
            said[id].append(claim)
    ends = [claim.until for found in said.values() for claim in found if claim.holds and claim.timed]
    above = dependants(facts)
    verdicts: dict[str, _Verdict] = {}
    for fact in children_first(facts):
        needs = [_need(child, verdicts, before) for child in above.get(fact.id, ())]
        verdicts[fact.id] = _sum_up(fact, [*_standing(fact, rules), *said[fact.id], *needs])
    return _Judged(verdicts, min((end for end in ends if end is not None), default=None))


def _groups(facts: Iterable[BackupFact]) -> Iterable[Sequence[BackupFact]]:
    """What rules may count on: good backups that are not on their way out, by group, oldest first."""
    groups: defaultdict[tuple[str, str | None], list[BackupFact]] = defaultdict(list)
    for fact in sorted(facts, key=by_age):
        if fact.succeeded and fact.governed and not fact.deleting:
            groups[fact.group].append(fact)
    return groups.values()


def _standing(fact: BackupFact, rules: RetentionRules) -> Iterable[Claim]:
    """What is true of a backup by itself, whatever else is there."""
    if fact.deleting:
        yield Claim(Reason.DELETING, holds=True, until=None)
    elif not fact.governed:
        yield Claim(Reason.NOT_GOVERNED, holds=True, until=None)
    elif fact.in_flight:
        yield Claim(Reason.IN_FLIGHT, holds=True, until=None)
    elif not fact.succeeded:
        yield Claim(Reason.FAILED, holds=True, until=None)
    elif not rules.limit_anything:
        yield Claim(Reason.NO_RULES, holds=True, until=None)


def _need(child: BackupFact, verdicts: Mapping[str, _Verdict], before: Mapping[str, _Verdict]) -> Claim:
    """What a backup claims of one that it stands on. One in a circle of records that name each other counts as kept.

    A child on its way out needs nothing any more where the rules let it go; where they would keep it, a person is
    deleting it, and its data may well stay.
    """
    if not (child.succeeded or child.in_flight):
        return Claim(Reason.NEEDED, holds=False, until=child.arrived)
    verdict = (before if child.deleting else verdicts).get(child.id, _Verdict((Reason.NEEDED,), None))
    return Claim(Reason.NEEDED, holds=bool(verdict.reasons), until=verdict.until)


def _sum_up(fact: BackupFact, found: Sequence[Claim]) -> _Verdict:
    holding = [claim for claim in found if claim.holds]
    if not holding:
        return _Verdict((), max([fact.arrived, *(claim.until for claim in found if claim.until is not None)]))
    # Newest and NewestProven pass on to the next good backup, so they say nothing about when.
    lasting = [claim for claim in holding if claim.reason not in (Reason.NEWEST, Reason.NEWEST_PROVEN)]
    ends = [claim.until for claim in lasting if claim.until is not None]
    known = lasting and len(ends) == len(lasting)
    return _Verdict(tuple(dict.fromkeys(claim.reason for claim in holding)), max(ends) if known else None)
