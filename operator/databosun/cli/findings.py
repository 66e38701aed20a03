"""What needs a human, from the conditions of objects alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from databosun.api.v1alpha1.backup import BackupStatus
from databosun.api.v1alpha1.conditions import Condition, ConditionType
from databosun.api.v1alpha1.reasons import WHAT_TO_DO, Reason
from databosun.controllers.seen import Meta, SeenDatabase, SeenPolicy, SeenStorage
from databosun.domain.conditions import find

# Long enough for the operator to take over from another and list ten thousand objects.
UNSEEN_AFTER: Final = timedelta(minutes=2)
NOT_OBSERVED: Final = "NotObserved"
# Said of a policy as a sum; the databases that it is about say it themselves, with their own reasons.
SUMMARIES: Final = frozenset({"RunsFailing", "Overdue"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should look at: about which object, why, and what to do about it."""

    kind: str
    namespace: str
    name: str
    reason: str
    message: str
    what_to_do: str

    def document(self) -> dict[str, str]:
        """For programs."""
        return {
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "reason": self.reason,
            "message": self.message,
            "whatToDo": self.what_to_do,
        }


def of_database(seen: SeenDatabase, failed: Mapping[str, BackupStatus], now: datetime) -> Iterable[Finding]:
    """What a Database says. `failed`: the status of its policies' newest runs where those failed, by name."""
    conditions = seen.status.conditions
    if not conditions:
        yield from _unseen("Database", seen.meta, now)
        return
    stalled = find(conditions, ConditionType.STALLED)
    reachable = find(conditions, ConditionType.REACHABLE)
    protected = find(conditions, ConditionType.PROTECTED)
    met = find(conditions, ConditionType.RPO_MET)
    yield from _first("Database", seen.meta, (stalled, "True"), (reachable, "False"))
    yield from _first("Database", seen.meta, (protected, "False"), (met, "False"))
    yield from _first("Database", seen.meta, (find(conditions, ConditionType.CONTINUOUS_HEALTHY), "False"))
    yield from _log_stopped(seen)
    proven = find(conditions, ConditionType.PROVEN)
    if proven is not None and proven.reason == Reason.NEVER_PROVEN:
        proven = None  # nobody has asked for a drill, or the first is still to come
    yield from _first("Database", seen.meta, (proven, "False"), (find(conditions, ConditionType.RTO_MET), "False"))
    yield from _failing(seen, failed)


def _log_stopped(seen: SeenDatabase) -> Iterable[Finding]:
    """A deletion of log that waits for a person."""
    plan = seen.status.archiver.expiring if seen.status.archiver is not None else None
    if plan is not None and plan.stopped is not None:
        todo = f"If that is right: kubectl bosun approve {seen.meta.name} --log -n {seen.meta.namespace}"
        reason = str(Reason.MASS_DELETION)
        yield Finding("Database", seen.meta.namespace, seen.meta.name, reason, plan.stopped, todo)


def _failing(seen: SeenDatabase, failed: Mapping[str, BackupStatus]) -> Iterable[Finding]:
    for entry in seen.status.policies:
        if not entry.consecutive_failures:
            continue
        run = failed.get(entry.last_run or "")
        why = run.failure if run is not None else None
        runs = "the newest run" if entry.consecutive_failures == 1 else f"the newest {entry.consecutive_failures} runs"
        message = f"{runs} of policy {entry.name} failed"
        if why is not None:
            message += f"; {entry.last_run}: {why.message}"
        reason = why.reason if why is not None else str(Reason.FAILED)
        todo = (
            what_to_do(reason)
            if why is not None
            else f"See: kubectl describe bbk -n {seen.meta.namespace} {entry.last_run}"
        )
        yield Finding("Database", seen.meta.namespace, seen.meta.name, reason, message, todo)


def of_policy(seen: SeenPolicy, now: datetime) -> Iterable[Finding]:
    """What a BackupPolicy says that its databases do not say themselves."""
    conditions = seen.status.conditions
    if not conditions:
        yield from _unseen("BackupPolicy", seen.meta, now)
        return
    stalled = find(conditions, ConditionType.STALLED)
    retention = find(conditions, ConditionType.RETENTION_HEALTHY)
    healthy = find(conditions, ConditionType.SCHEDULE_HEALTHY)
    if healthy is not None and healthy.reason in SUMMARIES:
        healthy = None
    yield from _first("BackupPolicy", seen.meta, (stalled, "True"), (healthy, "False"))
    if retention is not None and retention.status == "False":
        todo = what_to_do(retention.reason)
        if breaker_tripped(retention):
            command = f"kubectl bosun approve {seen.meta.name} -n {seen.meta.namespace}"
            todo = f"Look at the plan, and if it is right: {command}"
        yield Finding("BackupPolicy", seen.meta.namespace, seen.meta.name, retention.reason, retention.message, todo)


def of_storage(seen: SeenStorage, now: datetime) -> Iterable[Finding]:
    """What a BackupStorage says."""
    conditions = seen.status.conditions
    if not conditions:
        yield from _unseen("BackupStorage", seen.meta, now)
        return
    stalled = find(conditions, ConditionType.STALLED)
    reachable = find(conditions, ConditionType.REACHABLE)
    yield from _first("BackupStorage", seen.meta, (stalled, "True"), (reachable, "False"))


def breaker_tripped(retention: Condition) -> bool:
    """Whether retention waits for a person's Approval."""
    return retention.status == "False" and retention.reason in (Reason.MASS_DELETION, Reason.SAFETY_STOP)


def what_to_do(reason: str) -> str:
    """The reference's answer to a reason; empty for one that is not in it."""
    return next((todo for known, todo in WHAT_TO_DO.items() if known == reason), "")


def _first(kind: str, meta: Meta, *candidates: tuple[Condition | None, str]) -> Iterable[Finding]:
    """The first condition that has the status beside it; those after it follow from it."""
    for one, status in candidates:
        if one is not None and one.status == status:
            yield Finding(kind, meta.namespace, meta.name, one.reason, one.message, what_to_do(one.reason))
            return


def _unseen(kind: str, meta: Meta, now: datetime) -> Iterable[Finding]:
    if now - meta.created >= UNSEEN_AFTER:
        message = "the operator has not looked at it yet"
        todo = "Find out whether the operator runs and serves this namespace: kubectl bosun doctor"
        yield Finding(kind, meta.namespace, meta.name, NOT_OBSERVED, message, todo)


def broken(kind: str, body: Mapping[str, Any], message: str) -> Finding:
    """An object that this program cannot read."""
    metadata = body["metadata"]
    todo = "Correct the field, or use a databosun of the operator's version"
    return Finding(kind, metadata["namespace"], metadata["name"], str(Reason.INVALID_SPEC), message, todo)
