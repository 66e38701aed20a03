"""One RestoreDrill: what it comes to over all its databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import DrillCursor
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrill import DrilledDatabases, LastDrill, RestoreDrillStatus, RunCounts
from databosun.api.v1alpha1.restoredrillrun import DrillPhase
from databosun.domain.conditions import Wanted, kstatus, merge_conditions
from databosun.domain.drillrun import TOLD


@dataclass(frozen=True, slots=True)
class DrilledDatabase:
    """One database of the drill: its entry in Database.status, and whether it is proven."""

    name: str
    uid: str
    entry: DrillCursor | None
    proven: bool


@dataclass(frozen=True, slots=True)
class EndedDrill:
    """A finished run, from its metadata."""

    name: str
    database_uid: str
    created: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class DrillSummaryFacts:
    """What decides over a drill's status. `runs`: finished ones, oldest first."""

    generation: int
    status: RestoreDrillStatus
    fault: tuple[str, str] | None
    suspended: bool
    databases: tuple[DrilledDatabase, ...]
    runs: tuple[EndedDrill, ...]
    run_now: str | None


def decide_drill(facts: DrillSummaryFacts, now: datetime) -> dict[str, Any]:
    """The drill's status; total, deterministic."""
    entries = [one.entry for one in facts.databases if one.entry is not None]
    newest = {run.database_uid: run for run in facts.runs}
    failing = [one.name for one in facts.databases if one.uid in newest and newest[one.uid].outcome != "Passed"]
    last = facts.runs[-1] if facts.runs else None
    conditions = [*_ready(facts), _last_run(last), _health(facts, failing, entries)]
    counts = Counter(run.outcome.lower() for run in facts.runs)
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(facts.status.conditions, conditions, facts.generation, now),
        "databases": DrilledDatabases(
            matched=len(facts.databases),
            proven=sum(1 for one in facts.databases if one.proven),
            failing=len(failing),
        ),
        "runs": RunCounts(**{name: counts[name] for name in RunCounts.model_fields}),
        "last_run": LastDrill(name=last.name, phase=last.outcome, at=last.created) if last else None,
        "last_passed_time": max((run.created for run in facts.runs if run.outcome == "Passed"), default=None)
        or facts.status.last_passed_time,
        "next_schedule_time": min((entry.next for entry in entries if entry.next is not None), default=None),
        "run_now_token": facts.run_now,
    }
    return facts.status.model_copy(update=update).dump()


def _ready(facts: DrillSummaryFacts) -> Sequence[Wanted]:
    if facts.fault is not None:
        return kstatus(ready=False, reason=facts.fault[0], message=facts.fault[1], stalled=True)
    if facts.suspended:
        return kstatus(ready=True, reason="Suspended", message="spec.suspend is true: nothing is started")
    return kstatus(ready=True, reason="Ready", message="")


def _last_run(last: EndedDrill | None) -> Wanted:
    kind = ConditionType.LAST_RUN_SUCCEEDED
    if last is None:
        return Wanted(kind, None, "NoRun", "no run has finished yet")
    reason = TOLD.get(DrillPhase(last.outcome), Reason.DRILL_ERROR)
    return Wanted(kind, last.outcome == DrillPhase.PASSED, reason, f"the newest run is {last.name}")


def _health(facts: DrillSummaryFacts, failing: Sequence[str], entries: Sequence[DrillCursor]) -> Wanted:
    kind = ConditionType.SCHEDULE_HEALTHY
    if facts.fault is not None:
        return Wanted(kind, False, facts.fault[0], facts.fault[1])
    if failing:
        more = f" and {len(failing) - 10} more" if len(failing) > 10 else ""
        return Wanted(kind, False, "DrillsFailing", f"the newest drill did not pass: {', '.join(failing[:10])}{more}")
    missed = sum(entry.missed_slots for entry in entries)
    return Wanted(kind, True, "OnSchedule", f"{missed} slots were missed so far" if missed else "")
