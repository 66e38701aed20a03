"""How the rules of a lifecycle fare over time: what is left, what goes and comes in a day, and when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import RuleBacklog, RuleResult

_DAY = timedelta(days=1)
PLANNED = "Planned"


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended since the policy looked last."""

    name: str
    created: datetime
    mode: LifecycleMode
    status: LifecycleRunStatus


def backlog_after(before: Sequence[RuleBacklog], run: EndedRun, interval: timedelta | None) -> list[RuleBacklog]:
    """How the rules fare after one run; of rules that the plan has no more nothing is kept."""
    plan = run.status.plan
    if plan is None:
        return list(before)
    known = {one.name: one for one in before}
    done = {one.name: one for one in run.status.rules or []}
    fares = []
    for planned in plan.rules:
        old, result = known.get(planned.name), done.get(planned.name)
        took = result.deleted + result.anonymized + result.expiring + result.moved if result else 0
        remaining = _remaining(planned.eligible, result, took)
        rate = _per_day(took, interval) if result else (old.rate_per_day if old else None)
        fares.append(
            RuleBacklog(
                name=planned.name,
                state=str(result.state) if result else (old.state if old else PLANNED),
                remaining=remaining,
                oldest_eligible=(result.oldest if result else planned.oldest) if remaining else None,
                rate_per_day=rate,
                inflow_per_day=planned.inflow_per_day,
                eta_days=eta_days(remaining, rate, planned.inflow_per_day),
                held_back=planned.held,
                processed=(old.processed if old else 0) + took,
                measured_at=run.status.completion_time,
            )
        )
    return fares


def eta_days(remaining: int, rate: int | None, inflow: int) -> int | None:
    """Whole days until nothing is left; None where that is not known, or never."""
    if not remaining:
        return 0
    if rate is None or rate <= inflow:
        return None
    return -(-remaining // (rate - inflow))


def _remaining(eligible: int, result: RuleResult | None, took: int) -> int:
    if result is None:
        return eligible
    return result.remaining if result.remaining is not None else max(0, eligible - took)


def _per_day(rows: int, interval: timedelta | None) -> int | None:
    return round(rows * (_DAY / interval)) if interval else None


def since(last: datetime | None, at: datetime) -> timedelta | None:
    """Without a schedule: the time since the enforced run before, at least a minute."""
    return max(at - last, timedelta(minutes=1)) if last is not None else None
