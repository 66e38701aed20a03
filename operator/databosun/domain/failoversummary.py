"""One FailoverTest: how it fares, from its runs and its own timetable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import PolicyCursor
from databosun.api.v1alpha1.failovertest import FailoverCounts, FailoverHistory, FailoverTestStatus, LastFailover
from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted, kstatus, merge_conditions
from databosun.domain.failoververdict import TOLD


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
    passed = max((run.created for run in facts.runs if run.outcome == FailoverPhase.PASSED), default=None)
    conditions = [*_ready(facts), _last_run(last), _health(facts, last)]
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


def beyond_failover_history(runs: Sequence[EndedTest], limits: FailoverHistory) -> frozenset[str]:
    """The finished runs to let go of: beyond the newest so many that passed, and so many that did not."""
    over: set[str] = set()
    for passed, limit in ((True, limits.passed), (False, limits.others)):
        of_sort = [run.name for run in runs if (run.outcome == FailoverPhase.PASSED) is passed]
        over.update(of_sort[: max(0, len(of_sort) - limit)])
    return frozenset(over)


def _ready(facts: TestFacts) -> Sequence[Wanted]:
    if facts.fault is not None:
        return kstatus(ready=False, reason=facts.fault[0], message=facts.fault[1], stalled=True)
    if facts.suspended:
        message = "spec.suspend is true: nothing is started"
        return kstatus(ready=True, reason=Reason.SUSPENDED, message=message)
    return kstatus(ready=True, reason=Reason.READY)


def _last_run(last: EndedTest | None) -> Wanted:
    kind = ConditionType.LAST_RUN_SUCCEEDED
    if last is None:
        return Wanted(kind, None, Reason.NO_RUN, "no run has finished yet")
    reason = TOLD.get(FailoverPhase(last.outcome), Reason.FAILOVER_INCONCLUSIVE)
    return Wanted(kind, last.outcome == FailoverPhase.PASSED, reason, f"the newest run is {last.name}")


def _health(facts: TestFacts, last: EndedTest | None) -> Wanted:
    kind = ConditionType.SCHEDULE_HEALTHY
    if facts.fault is not None:
        return Wanted(kind, False, facts.fault[0], facts.fault[1])
    if last is not None and last.outcome != FailoverPhase.PASSED:
        return Wanted(kind, False, Reason.TEST_FAILING, f"the newest run, {last.name}, is {last.outcome}")
    missed = facts.cursor.missed_slots if facts.cursor else 0
    return Wanted(kind, True, Reason.ON_SCHEDULE, f"{missed} slots were missed so far" if missed else "")
