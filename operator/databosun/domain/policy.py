"""One policy: what it comes to over all its databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.backuppolicy import BackupPolicyStatus, DatabaseCounts
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import PolicyCursor
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted, merge_conditions
from databosun.domain.policyruns import newest_run, no_run, on_schedule, ready_or_not, some, unhealthy
from databosun.domain.presets import EffectivePolicy


@dataclass(frozen=True, slots=True)
class CoveredDatabase:
    """One database of the policy: its entry in Database.status, and whether it is protected."""

    name: str
    entry: PolicyCursor
    protected: bool
    overdue: bool


@dataclass(frozen=True, slots=True)
class PolicySummaryFacts:
    """What decides over its status, retention apart. `conflict`: which other one ships a log that it asks for."""

    generation: int
    status: BackupPolicyStatus
    effective: EffectivePolicy | None
    fault: tuple[str, str] | None
    suspended: bool
    databases: tuple[CoveredDatabase, ...]
    run_now: str | None
    last_run_succeeded: bool | None
    last_run: str | None
    conflict: str | None = None


@dataclass(frozen=True, slots=True)
class RetentionSummary:
    """What retention adds to the status."""

    condition: Wanted
    changes: dict[str, Any]


def decide_policy(facts: PolicySummaryFacts, retention: RetentionSummary | None, now: datetime) -> dict[str, Any]:
    """The policy's status; total, deterministic."""
    entries = [one.entry for one in facts.databases]
    conditions = [*_ready(facts), *_health(facts)]
    if retention is not None:
        conditions.append(retention.condition)
    else:
        conditions += [
            Wanted(
                ConditionType.RETENTION_HEALTHY, {"True": True, "False": False}.get(one.status), one.reason, one.message
            )
            for one in facts.status.conditions
            if one.type == ConditionType.RETENTION_HEALTHY
        ]
    slots = [cursor.slot for entry in entries for cursor in entry.schedules if cursor.slot is not None]
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(facts.status.conditions, conditions, facts.generation, now),
        "effective": facts.effective.document() if facts.effective else None,
        "databases": DatabaseCounts(
            matched=len(entries),
            protected=sum(1 for one in facts.databases if one.protected),
            failing=sum(1 for entry in entries if entry.consecutive_failures),
        ),
        "next_schedule_time": min((entry.next for entry in entries if entry.next is not None), default=None),
        "last_schedule_time": max(slots, default=None),
        "last_successful_time": max(
            (entry.last_success for entry in entries if entry.last_success is not None), default=None
        ),
        "run_now_token": facts.run_now,
        **(retention.changes if retention else {}),
    }
    return facts.status.model_copy(update=update).dump()


def _ready(facts: PolicySummaryFacts) -> Sequence[Wanted]:
    conflict = (Reason.CONFLICT, facts.conflict) if facts.conflict is not None else None
    notes = facts.effective.notes if facts.effective else ()
    return ready_or_not(facts.fault or conflict, suspended=facts.suspended, notes="; ".join(notes))


def _health(facts: PolicySummaryFacts) -> Sequence[Wanted]:
    if facts.fault is not None:
        return (unhealthy(*facts.fault),)
    failing = [one.name for one in facts.databases if one.entry.consecutive_failures]
    overdue = [one.name for one in facts.databases if one.overdue]
    if failing:
        healthy = unhealthy(Reason.RUNS_FAILING, f"the newest runs failed for: {some(failing)}")
    elif overdue:
        healthy = unhealthy(Reason.OVERDUE, f"no recent backup of: {some(overdue)}")
    else:
        healthy = on_schedule(sum(one.entry.missed_slots for one in facts.databases))
    if facts.last_run is None or facts.last_run_succeeded is None:
        return (healthy, no_run())
    reason = Reason.SUCCEEDED if facts.last_run_succeeded else Reason.FAILED
    return (healthy, newest_run(facts.last_run, reason, good=facts.last_run_succeeded))
