"""What drills say of a database: is it proven, was the RTO met, how long would a restore take now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.drill import Level
from databosun.api.quantities import format_duration, humanize_bytes
from databosun.api.v1alpha1.backup import Proof
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import Estimate, LastBackup, LastProven
from databosun.domain.conditions import Wanted
from databosun.domain.drill import LEVELS

# A drill may come half an interval late before what it proved counts as too old (docs/concepts/truth.md).
INTERVALS_UNTIL_STALE = 1.5


@dataclass(frozen=True, slots=True)
class FailedDrill:
    """The newest drill of a database that failed."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """What decides over `Proven` and `RTOMet`. `interval`: the shortest drill's; None where none covers the database,
    and `usual` is what its tier would have. `covered_since`: when database and drill were both there."""

    last: LastProven | None
    last_at: datetime | None
    failed: FailedDrill | None
    interval: timedelta | None
    usual: timedelta
    rto: timedelta
    covered_since: datetime | None = None


def decide_proof(facts: ProofFacts, now: datetime) -> tuple[tuple[Wanted, ...], datetime | None]:
    """Say whether the database is proven and within its RTO, and when that turns by itself."""
    proven, wake_at = _proven(facts, now)
    return (proven, _rto_met(facts)), wake_at


def _proven(facts: ProofFacts, now: datetime) -> tuple[Wanted, datetime | None]:
    kind, last = ConditionType.PROVEN, facts.last
    if facts.failed is not None and (facts.last_at is None or facts.failed.at > facts.last_at):
        message = f"drill {facts.failed.name} failed, and none has passed since"
        return Wanted(kind, False, "DrillFailed", message), None
    if last is None or facts.last_at is None:
        return _never_proven(facts, now)
    every = facts.interval or facts.usual
    until = last.at + every * INTERVALS_UNTIL_STALE
    if now >= until:
        message = f"drill {last.run} passed at {last.at.isoformat()}, more than one and a half intervals ago"
        return Wanted(kind, False, "ProofTooOld", f"{message} ({format_duration(every)} each)"), None
    return Wanted(kind, True, "DrillPassed", f"drill {last.run} restored {last.backup or 'a backup'}"), until


def _never_proven(facts: ProofFacts, now: datetime) -> tuple[Wanted, datetime | None]:
    kind, why = ConditionType.PROVEN, "no restore drill has passed yet"
    if facts.interval is None or facts.covered_since is None:
        message = f"{why}; apply a RestoreDrill that names this database or selects its labels"
        return Wanted(kind, False, "NeverProven", message), None
    until = facts.covered_since + facts.interval * INTERVALS_UNTIL_STALE
    if now >= until:
        message = f"{why}, in more than one and a half intervals ({format_duration(facts.interval)} each)"
        return Wanted(kind, False, "DrillOverdue", f"{message}; see the database's drill runs"), None
    return Wanted(kind, False, "NeverProven", why), until


def _rto_met(facts: ProofFacts) -> Wanted:
    kind, last = ConditionType.RTO_MET, facts.last
    limit = format_duration(facts.rto)
    if last is None or last.rto_seconds is None:
        return Wanted(kind, None, "NeverMeasured", "no drill has measured yet how long a restore takes")
    took = format_duration(timedelta(seconds=last.rto_seconds))
    if last.rto_seconds > facts.rto.total_seconds():
        message = f"drill {last.run} took {took} to restore; the objective is {limit}"
        return Wanted(kind, False, "RestoreTooSlow", message)
    return Wanted(kind, True, "WithinObjective", f"drill {last.run} took {took} of {limit}")


def estimate(last: LastProven | None, newest: LastBackup | None, *, shipped: bool = False) -> Estimate | None:
    """How long a restore of the newest backup would take, were it to go on as the last drill did.

    Reckoned by size and never below what was measured for less: phases that do not grow with the size are taken to.
    Where a log is `shipped` and that drill replayed none, replaying is not in it, and the basis says so.
    """
    if last is None or newest is None or last.rto_seconds is None or not last.restore_bytes:
        return None
    size = newest.restore_bytes or newest.size_bytes
    seconds = math.ceil(last.rto_seconds * max(1.0, size / last.restore_bytes))
    took = format_duration(timedelta(seconds=last.rto_seconds))
    basis = (
        f"drill {last.run} took {took} for {humanize_bytes(last.restore_bytes)} stored; {newest.name} has"
        f" {humanize_bytes(size)}"
    )
    if shipped and not last.replayed:
        basis += "; replaying the shipped log comes on top: drill with selection.pointInTime Latest to measure it"
    return Estimate(restore_now_seconds=seconds, restore_now=format_duration(timedelta(seconds=seconds)), basis=basis)


def better_proof(old: Proof | None, new: Proof) -> Proof:
    """What stands on the backup: the deepest look, and of equally deep ones the newest."""
    if old is None or (_rank(new.level), new.at) >= (_rank(old.level), old.at):
        return new
    return old


def _rank(level: str) -> int:
    return LEVELS.index(Level(level)) if level in set(LEVELS) else -1
