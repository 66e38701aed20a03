"""What must hold before a primary is moved, as the operator can see it: asked when the plan is made, and again right
before the switch. The agent looks at lag and health itself, at both times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.failover import GuardResult
from databosun.api.quantities import format_duration
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.consent import Consent
from databosun.domain.failovertest import BackupAges, EffectiveFailover
from databosun.domain.run import Blocked
from databosun.domain.timing import window_at

SETTLES = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Backups:
    """When the newest backup of the database was complete, and when the newest drill proved one."""

    newest: datetime | None = None
    proven: datetime | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides over the moment of a switch. `approval_needed`: by the test, or since it is Production."""

    approval_needed: bool
    consent: Consent | None
    moved: datetime | None
    blocked: Blocked | None


def backup_guards(ages: BackupAges, backups: Backups, now: datetime) -> tuple[GuardResult, ...]:
    """One result for each guard that the test asks for."""
    asked = (
        ("requireRecentBackup", ages.recent, backups.newest, "let a backup succeed first"),
        ("requireProvenBackup", ages.proven, backups.proven, "let a RestoreDrill prove a backup first"),
    )
    return tuple(
        _age_guard(name, limit, at, todo, now) for name, limit, at, todo in asked if limit is not None
    )  # fmt: skip


def broken(guards: Sequence[GuardResult]) -> str | None:
    """What a refusal says of those that did not hold; None where all held."""
    found = [one for one in guards if not one.ok]
    if not found:
        return None
    told = (
        f"{one.name}: found {one.observed}, expected {one.limit}{f'; {one.message}' if one.message else ''}"
        for one in found
    )
    return "nothing was moved: " + ". ".join(told)


def not_yet(effective: EffectiveFailover, seen: Circumstances, now: datetime) -> Blocked | None:
    """What the switch still waits for, in the order in which people can do something about it; None: nothing."""
    if seen.approval_needed and seen.consent is None:
        return Blocked(Reason.AWAITING_APPROVAL, "it waits for an Approval of this very plan")
    _, opens = window_at(effective.windows, now)
    if opens is not None:
        return Blocked(Reason.OUTSIDE_WINDOW, f"no window is open; the next one opens at {opens.isoformat()}", opens)
    if seen.moved is not None and now < seen.moved + effective.cooldown:
        over = seen.moved + effective.cooldown
        message = f"a test moved this primary at {seen.moved.isoformat()}; spec.cooldown is over at {over.isoformat()}"
        return Blocked(Reason.COOLDOWN, message, over)
    return seen.blocked


def latest_start(effective: EffectiveFailover, seen: Circumstances, until: datetime, now: datetime) -> datetime:
    """After this no switch is ordered: the window, the consent, or the plan's own time is over."""
    closes, _ = window_at(effective.windows, now)
    ends = [until, closes, seen.consent.not_after if seen.consent else None]
    return min(one for one in ends if one is not None)


def _age_guard(name: str, limit: timedelta, at: datetime | None, todo: str, now: datetime) -> GuardResult:
    ok = at is not None and now - at <= limit
    observed = f"{format_duration(max(now - at, timedelta(0)))} old" if at is not None else "none"
    expected = f"at most {format_duration(limit)} old"
    return GuardResult(name=name, ok=ok, observed=observed, limit=expected, message=None if ok else todo)
