"""What moving a database's backups to colder classes would break: retention, the recovery window, drills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from databosun.api.quantities import format_duration
from databosun.api.tiering import ARCHIVES, Conflict, Kept, TransitionOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.claims import RetentionRules
from databosun.domain.tiering import BILLED_DAYS, THAW

T = TypeVar("T")
_DAY = timedelta(days=1)
_ANY_AGE = frozenset({"Oldest", "Random"})


@dataclass(frozen=True, slots=True)
class RetentionSeen:
    """A BackupPolicy of the database in the storage. `interval`: the longest time between two of its slots."""

    policy: str
    rules: RetentionRules
    interval: timedelta


@dataclass(frozen=True, slots=True)
class DrillSeen:
    """A RestoreDrill of the database. `selects`: its selection.from."""

    name: str
    selects: str
    rto: timedelta


def longest_kept(seen: RetentionSeen) -> Kept:
    """How long its retention may keep a backup, rounded up to whole days."""
    rules = seen.rules
    if not rules.limit_anything:
        return Kept(policy=seen.policy, why="no rule of its retention lets one go")
    if rules.keep_forever != "None":
        return Kept(policy=seen.policy, why=f"keepForever: {rules.keep_forever}")
    window = rules.recovery_window or timedelta(0)
    spans = {
        f"keepLast: {rules.keep_last}": _days(rules.keep_last * seen.interval),
        f"daily: {rules.daily}": rules.daily,
        f"weekly: {rules.weekly}": 7 * rules.weekly,
        f"monthly: {rules.monthly}": 31 * rules.monthly,
        f"yearly: {rules.yearly}": 366 * rules.yearly,
        f"recoveryWindow: {format_duration(window)}": _days(window + seen.interval) if window else 0,
    }
    why = max(spans, key=lambda name: spans[name])
    return Kept(policy=seen.policy, days=spans[why], why=why)


def tier_conflicts(
    transitions: Sequence[TransitionOrder], policies: Sequence[RetentionSeen], drills: Iterable[DrillSeen]
) -> tuple[Conflict, ...]:
    """Each with its arithmetic; none: nothing is broken."""
    found = [
        *_of_retention(transitions, policies),
        *_of_windows(transitions, policies),
        *_of_drills(transitions, drills),
    ]
    return tuple(Conflict(reason=Reason.TRANSITION_CONFLICT, message=message) for message in found)


def _of_retention(transitions: Sequence[TransitionOrder], policies: Sequence[RetentionSeen]) -> Iterator[str]:
    """A class bills each object for its least time, also one that is deleted before."""
    kept = [longest_kept(one) for one in policies]
    if not kept or any(one.days is None for one in kept):
        return
    longest = max(kept, key=lambda one: one.days or 0)
    for step in transitions:
        billed = BILLED_DAYS[step.storage_class]
        if (longest.days or 0) < step.days + billed:
            yield (
                f"{step.storage_class} after {step.days} d is billed for {billed} d at least, until day"
                f" {step.days + billed}, and no BackupPolicy keeps a backup longer than {longest.days} d"
                f" ({longest.policy}, {longest.why}): leave that step out, or keep backups longer"
            )


def _of_windows(transitions: Sequence[TransitionOrder], policies: Sequence[RetentionSeen]) -> Iterator[str]:
    """Every instant of the window must be restorable at once: its bases are as old as the window and one interval."""
    for step, one in _archives(transitions, policies):
        window = one.rules.recovery_window
        if window is not None and step.days * _DAY < window + one.interval:
            yield (
                f"{step.storage_class} after {step.days} d would take the backups that the recoveryWindow of"
                f" BackupPolicy {one.policy} stands on: they are up to {_days(window + one.interval)} d old"
                f" ({format_duration(window)} and an interval of {format_duration(one.interval)})"
            )


def _of_drills(transitions: Sequence[TransitionOrder], drills: Iterable[DrillSeen]) -> Iterator[str]:
    for step, drill in _archives(transitions, [one for one in drills if one.selects in _ANY_AGE]):
        yield (
            f"RestoreDrill {drill.name} takes backups of any age (selection.from: {drill.selects}) and must be done in"
            f" {format_duration(drill.rto)}; one in {step.storage_class} has to be thawed first, which takes up to"
            f" {format_duration(THAW[step.storage_class])}: let it take the Latest"
        )


def _archives(transitions: Iterable[TransitionOrder], others: Sequence[T]) -> Iterator[tuple[TransitionOrder, T]]:
    for step in transitions:
        if step.storage_class in ARCHIVES:
            yield from ((step, one) for one in others)


def _days(span: timedelta) -> int:
    return -(-span // _DAY)
