"""When a retention plan is carried out, and what becomes of a person's own delete.

**The promise**: no data is deleted by retention that has not stood in the policy's status, in one unchanged plan, for
`grace`.

A plan that gains a backup every hour would never stand unchanged for a day. So the plan that is shown is a *batch*: all
that was let go when it was first shown. What is let go later waits for the next batch, which starts once this one is
carried out; so a backup is deleted between one and two graces after it was let go, and no plan starves. Who belongs to
the batch need not be stored: it is everything let go by `since` (`RetentionPlan.announced`), and only where the hash
over exactly these names equals the hash in the status is it the plan that was shown. Anything else (a hold, another
rule, a backup deleted by hand) starts the grace anew: a wrong guess can delay a deletion, never bring it forward.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from databosun.api.v1alpha1.backuppolicy import DeletionPolicy
from databosun.domain.claims import Reason, RetentionRules, claims
from databosun.domain.closure import BackupFact, by_age, children_first, dependants
from databosun.domain.consent import Consent, in_force
from databosun.domain.retention import RetentionPlan

MAX_NAMES = 50
# 128 bits: nobody can make a second plan for a hash that a person approved.
HASH_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class PendingPlan:
    """The batch as the policy's status shows it: `names` are the first 50, `hash` covers all."""

    hash: str
    since: datetime
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be deleted; the status shows no plan."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Show `pending`, look again at `until`."""

    pending: PendingPlan
    until: datetime


@dataclass(frozen=True, slots=True)
class Lost:
    """How many of a database's chains a plan would take."""

    database_uid: str
    chains: int
    of: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """The breaker: show `pending` and wait for a person, however long. Said at once, not only after the grace."""

    pending: PendingPlan
    lost: tuple[Lost, ...]

    @property
    def message(self) -> str:
        """For the condition: what would be lost, and what to do."""
        worst = max(self.lost, key=lambda lost: (lost.chains, lost.of, lost.database_uid))
        return (
            f"the plan deletes {self.pending.count} backups, with them {worst.chains} of {worst.of} chains of one"
            " database; expected at most half at once. Create an Approval with planHash"
            f" {self.pending.hash}, or change the retention"
        )


@dataclass(frozen=True, slots=True)
class Go:
    """Delete the data of `ids`, children first, then the objects.

    All of them are to be marked (phase Deleting) before the first one's data goes, and `pending` stays in the status
    until then: so a restart between two marks finds the very plan that was shown. `approved_by` names the Approval that
    released the breaker.
    """

    ids: tuple[str, ...]
    pending: PendingPlan
    approved_by: str | None = None


DeletionDecision = Nothing | Wait | Blocked | Go


def plan_hash(ids: Iterable[str]) -> str:
    """The hash that names a plan: of its members' sorted names, one on each line."""
    return hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()[:HASH_CHARACTERS]


def decide_deletion(
    plan: RetentionPlan, pending: PendingPlan | None, given: Sequence[Consent], now: datetime, grace: timedelta
) -> DeletionDecision:
    """Say whether the plan may be carried out now; `pending` is what the status shows, None where it shows none."""
    if not plan.delete:
        return Nothing()
    batch = () if pending is None else _batch(plan, pending, now)
    if pending is None or not batch:
        batch = plan.delete
        pending = PendingPlan(plan_hash(batch), now, len(batch), tuple(sorted(batch)[:MAX_NAMES]))
    lost = _breaks(plan, batch)
    consent = in_force(given, pending.hash, now)
    if lost and consent is None:
        return Blocked(pending, lost)
    if now < pending.since + grace:
        return Wait(pending, pending.since + grace)
    return Go(batch, pending, consent.name if lost and consent is not None else None)


def _batch(plan: RetentionPlan, pending: PendingPlan, now: datetime) -> tuple[str, ...]:
    """What is left to delete of the plan that was shown, children first; empty where that plan no longer stands.

    Members that are being deleted already belong to what was shown; once their marking is complete the rest is a plan
    of its own. A `since` ahead of the clock was written by another one, and proves nothing.
    """
    if pending.since > now:
        return ()
    shown = {id for id, let_go in plan.announced.items() if let_go <= pending.since}
    left = tuple(id for id in plan.delete if id in shown)
    return left if pending.hash in (plan_hash(left), plan_hash(shown)) else ()


def _breaks(plan: RetentionPlan, batch: Collection[str]) -> tuple[Lost, ...]:
    """The databases that would lose more than half of their chains, and more than one, with those already going."""
    going = {*batch, *(id for id, reasons in plan.keep.items() if Reason.DELETING in reasons)}
    every = Counter(chain.group for chain in plan.chains)
    taken = Counter(chain.group for chain in plan.chains if going.issuperset(chain.members))
    return tuple(
        Lost(group[0], count, every[group]) for group, count in taken.items() if count > 1 and 2 * count > every[group]
    )


class Guard(StrEnum):
    """Why a person's delete does not take the data."""

    RETAIN_POLICY = "RetainPolicy"
    HELD = "Held"
    NEWEST = "Newest"
    NEWEST_PROVEN = "NewestProven"
    RECOVERY_WINDOW = "RecoveryWindow"
    LOCKED = "Locked"
    NEEDED = "Needed"
    IN_FLIGHT = "InFlight"


_GUARDS = {
    Guard.RETAIN_POLICY: "its deletionPolicy is Retain",
    Guard.HELD: "a legal hold lies on it; release the hold first",
    Guard.NEWEST: "it is the newest good backup of its database",
    Guard.NEWEST_PROVEN: "it is the newest backup of its database that a drill has proven",
    Guard.RECOVERY_WINDOW: "the policy's recoveryWindow needs it",
    Guard.LOCKED: "its objects are locked in the store",
    Guard.NEEDED: "another backup stands on it",
    Guard.IN_FLIGHT: "a run is still writing or reading it",
}


@dataclass(frozen=True, slots=True)
class DeleteData:
    """The data go, then the object."""


@dataclass(frozen=True, slots=True)
class RetainInstead:
    """The object goes, the data stay."""

    guard: Guard

    @property
    def message(self) -> str:
        """For the Event."""
        return f"the data stay in the store: {_GUARDS[self.guard]}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Neither goes."""

    guard: Guard

    @property
    def message(self) -> str:
        """For the Event and the status."""
        return f"not deleted: {_GUARDS[self.guard]}"


PersonDelete = DeleteData | RetainInstead | Refuse


def person_delete(fact: BackupFact, facts: Sequence[BackupFact], rules: RetentionRules, now: datetime) -> PersonDelete:
    """What becomes of a person's delete of one Backup; `facts` are all of its database, itself included.

    The guards are retention's own, without the rules that only count (a person may thin out the dailies). Deleting
    several at once is judged as if all of them were still there: so the newest of them stays whoever is asked first,
    and a full goes together with its incrementals.
    """
    if fact.held:
        return Refuse(Guard.HELD)
    group = [other for other in sorted(facts, key=by_age) if other.group == fact.group and other.succeeded]
    window = RetentionRules(recovery_window=rules.recovery_window)
    guarded: dict[str, Guard] = {}
    for id, claim in claims(group, window, now, "UTC"):
        if claim.holds:
            guarded.setdefault(id, Guard(claim.reason))
    above = dependants(facts)
    going: set[str] = set()
    for other in children_first([other for other in facts if other.deleting and other.id != fact.id]):
        if _guard(other, guarded, above, going) is None:
            going.add(other.id)
    guard = _guard(fact, guarded, above, going)
    return DeleteData() if guard is None else RetainInstead(guard)


def _guard(
    fact: BackupFact,
    guarded: Mapping[str, Guard],
    above: Mapping[str, Sequence[BackupFact]],
    going: Collection[str],
) -> Guard | None:
    if fact.deletion_policy is DeletionPolicy.RETAIN:
        return Guard.RETAIN_POLICY
    if fact.in_flight:
        return Guard.IN_FLIGHT
    if fact.id in guarded:
        return guarded[fact.id]
    return Guard.NEEDED if _carries(fact, above, going) else None


def _carries(fact: BackupFact, above: Mapping[str, Sequence[BackupFact]], going: Collection[str]) -> bool:
    """Whether anything good that stays stands on it, however far above: one that is called failed may have data that a
    later one was taken against."""
    seen, looking = {fact.id}, [fact.id]
    while looking:
        for child in above.get(looking.pop(), ()):
            if child.id in going or child.id in seen:
                continue
            if child.succeeded or child.in_flight:
                return True
            seen.add(child.id)
            looking.append(child.id)
    return False
