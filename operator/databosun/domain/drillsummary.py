"""One RestoreDrill: what it comes to over all its databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.drill import CheckOutcome
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import DrillCursor
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrill import (
    Coverage,
    DrilledDatabases,
    LastDrill,
    RestoreDrillStatus,
    RunCounts,
    Trend,
)
from databosun.api.v1alpha1.restoredrillrun import DrillPhase
from databosun.domain.conditions import Wanted, merge_conditions
from databosun.domain.drillrun import TOLD
from databosun.domain.measured import for_people
from databosun.domain.policyruns import newest_run, no_run, on_schedule, ready_or_not, some, unhealthy


@dataclass(frozen=True, slots=True)
class DrilledDatabase:
    """One database of the drill: its entry in Database.status, whether it is proven, and whether it ought to be."""

    name: str
    uid: str
    entry: DrillCursor | None
    proven: bool
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class EndedDrill:
    """A finished run, from its metadata."""

    name: str
    database_uid: str
    created: datetime
    outcome: str
    rto_seconds: int | None = None
    rto_met: bool | None = None
    control: str = ""


@dataclass(frozen=True, slots=True)
class KeptBackup:
    """A successful backup of a database that the drill covers."""

    name: str
    created: datetime
    proven: bool


@dataclass(frozen=True, slots=True)
class DrillSummaryFacts:
    """What decides over a drill's status. `runs`: finished ones, oldest first. `joint`: the drill has an order, and
    `cursor` says how far its own schedule has come."""

    generation: int
    status: RestoreDrillStatus
    fault: tuple[str, str] | None
    suspended: bool
    databases: tuple[DrilledDatabase, ...]
    runs: tuple[EndedDrill, ...]
    run_now: str | None
    backups: tuple[KeptBackup, ...] = ()
    joint: bool = False
    cursor: DrillCursor | None = None

    @property
    def whole(self) -> tuple[EndedDrill, ...]:
        """The runs that the drill started itself: those of many databases are members' owners, not members."""
        return tuple(run for run in self.runs if not self.joint or not run.database_uid)


def decide_drill(facts: DrillSummaryFacts, now: datetime) -> dict[str, Any]:
    """The drill's status; total, deterministic."""
    entries = [one.entry for one in facts.databases if one.entry is not None]
    if facts.cursor is not None:
        entries = [facts.cursor]
    ended = facts.whole
    newest = {run.database_uid: run for run in facts.runs}
    failing = [one.name for one in facts.databases if one.uid in newest and newest[one.uid].outcome != "Passed"]
    last = ended[-1] if ended else None
    ready = ready_or_not(facts.fault, suspended=facts.suspended)
    conditions = [*ready, _last_run(last), _health(facts, failing, entries), *_overdue(facts), *_control(facts)]
    counts = Counter(run.outcome.lower() for run in ended)
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(facts.status.conditions, conditions, facts.generation, now),
        "databases": DrilledDatabases(
            matched=len(facts.databases),
            proven=sum(1 for one in facts.databases if one.proven),
            failing=len(failing),
        ),
        "runs": RunCounts(**{name: counts[name] for name in RunCounts.model_fields}),
        "coverage": _coverage(facts.backups),
        "trend": _trend([run.rto_seconds for run in ended if run.rto_seconds is not None]),
        "cursor": facts.cursor,
        "last_run": _last_drill(last) if last else None,
        "last_passed_time": max((run.created for run in ended if run.outcome == "Passed"), default=None)
        or facts.status.last_passed_time,
        "next_schedule_time": min((entry.next for entry in entries if entry.next is not None), default=None),
        "run_now_token": facts.run_now,
    }
    return facts.status.model_copy(update=update).dump()


def _last_run(last: EndedDrill | None) -> Wanted:
    if last is None:
        return no_run()
    reason = TOLD.get(DrillPhase(last.outcome), Reason.DRILL_ERROR)
    return newest_run(last.name, reason, good=last.outcome == DrillPhase.PASSED)


def _health(facts: DrillSummaryFacts, failing: Sequence[str], entries: Sequence[DrillCursor]) -> Wanted:
    if facts.fault is not None:
        return unhealthy(*facts.fault)
    if failing:
        return unhealthy(Reason.DRILLS_FAILING, f"the newest drill did not pass: {some(failing)}")
    return on_schedule(sum(entry.missed_slots for entry in entries))


def _last_drill(last: EndedDrill) -> LastDrill:
    return LastDrill(
        name=last.name,
        phase=last.outcome,
        at=last.created,
        rto_seconds=last.rto_seconds,
        rto=for_people(last.rto_seconds) if last.rto_seconds is not None else None,
        rto_met=last.rto_met,
    )


def _overdue(facts: DrillSummaryFacts) -> Sequence[Wanted]:
    """Abnormal-true: absent where every database has its proof in time."""
    names = [one.name for one in facts.databases if one.overdue]
    if not names or facts.suspended:
        return ()
    message = f"no drill has passed within one and a half intervals for: {some(names)}"
    return (Wanted(ConditionType.OVERDUE, True, Reason.DRILL_OVERDUE, message),)


def _control(facts: DrillSummaryFacts) -> Sequence[Wanted]:
    """What became of the newest control, of any database."""
    newest = next((run for run in reversed(facts.runs) if run.control), None)
    if newest is None:
        return ()
    kind = ConditionType.NEGATIVE_CONTROL_PASSED
    if newest.control == CheckOutcome.PASSED:
        return (Wanted(kind, True, Reason.CONTROL_NOTICED, f"run {newest.name} noticed the damage"),)
    message = f"run {newest.name} passed over a copy that it had damaged itself: drills prove nothing until that is so"
    return (Wanted(kind, False, Reason.CONTROL_PASSED, message),)


def _coverage(backups: Sequence[KeptBackup]) -> Coverage:
    undrilled = min((one for one in backups if not one.proven), key=lambda one: (one.created, one.name), default=None)
    return Coverage(
        backups_total=len(backups),
        backups_drilled=sum(one.proven for one in backups),
        oldest_undrilled=undrilled.name if undrilled else None,
        oldest_undrilled_time=undrilled.created if undrilled else None,
    )


def _trend(seconds: Sequence[int]) -> Trend | None:
    if not seconds:
        return None
    p50, p95 = (_percentile(seconds, percent) for percent in (50, 95))
    return Trend(
        runs=len(seconds),
        rto_p50_seconds=p50,
        rto_p95_seconds=p95,
        rto_p50=for_people(p50),
        rto_p95=for_people(p95),
    )


def _percentile(values: Sequence[int], percent: int) -> int:
    """The smallest value that so many of a hundred do not exceed (nearest rank): one that was really measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
