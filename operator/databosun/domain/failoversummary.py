"""One FailoverTest: how it fares, from its runs and its own timetable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.databasestatus import PolicyCursor
from databosun.api.v1alpha1.failovertest import FailoverCounts, FailoverHistory, FailoverTestStatus, LastFailover
from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted, merge_conditions
from databosun.domain.failoververdict import TOLD
from databosun.domain.policyruns import beyond_limits, newest_run, no_run, on_schedule, ready_or_not, unhealthy


@dataclass(frozen=True, slots=True)
class EndedTest:
    """A finished run, from its metadata."""

    name: str
    created: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class TestFacts:
    """What decides over a test's status. `runs`: finished ones, oldest first."""

    generation: int
    status: FailoverTestStatus
    fault: tuple[str, str] | None
    suspended: bool
    runs: tuple[EndedTest, ...]
    cursor: PolicyCursor | None
    run_now: str | None


def decide_test(facts: TestFacts, now: datetime) -> dict[str, Any]:
    """The test's status; total, deterministic."""
    last = facts.runs[-1] if facts.runs else None
    counts = Counter(run.outcome.lower() for run in facts.runs)
    passed = max((run.created for run in facts.runs if _passed(run)), default=None)
    ready = ready_or_not(facts.fault, suspended=facts.suspended)
    conditions = [*ready, _last_run(last), _health(facts, last)]
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(facts.status.conditions, conditions, facts.generation, now),
        "runs": FailoverCounts(**{name: counts[name] for name in FailoverCounts.model_fields}),
        "last_run": LastFailover(name=last.name, phase=last.outcome, at=last.created) if last else None,
        "last_passed_time": passed or facts.status.last_passed_time,
        "cursor": facts.cursor,
        "next_schedule_time": facts.cursor.next if facts.cursor else None,
        "run_now_token": facts.run_now,
    }
    return facts.status.model_copy(update=update).dump()


def beyond_failover_history(runs: Sequence[EndedTest], limits: FailoverHistory) -> tuple[str, ...]:
    """The finished runs to let go of: beyond the newest so many that passed, and so many that did not."""
    return beyond_limits(runs, _passed, lambda run: limits.passed if _passed(run) else limits.others)


def _passed(run: EndedTest) -> bool:
    return run.outcome == FailoverPhase.PASSED


def _last_run(last: EndedTest | None) -> Wanted:
    if last is None:
        return no_run()
    reason = TOLD.get(FailoverPhase(last.outcome), Reason.FAILOVER_INCONCLUSIVE)
    return newest_run(last.name, reason, good=_passed(last))


def _health(facts: TestFacts, last: EndedTest | None) -> Wanted:
    if facts.fault is not None:
        return unhealthy(*facts.fault)
    if last is not None and not _passed(last):
        return unhealthy(Reason.TEST_FAILING, f"the newest run, {last.name}, is {last.outcome}")
    return on_schedule(facts.cursor.missed_slots if facts.cursor else 0)
