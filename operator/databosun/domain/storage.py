"""A BackupStorage: when to validate it, and what a validation means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.v1alpha1.backupstorage import BackupStorageStatus, Owner, Usage
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.domain.attempt import Ending
from databosun.domain.conditions import Wanted, find, kstatus, merge_conditions

SHORTEST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """One storage as it stands."""

    generation: int
    status: BackupStorageStatus
    interval: timedelta
    cluster_id: str


def validation_due(facts: StorageFacts, now: datetime) -> datetime:
    """When the next validation is due: at once for a changed spec, soon after a failure, else by interval."""
    status = facts.status
    if status.validated_generation != facts.generation or status.last_attempt_time is None:
        return now
    return status.last_attempt_time + (facts.interval if _ready(status) else retry_after(status.conditions, now))


def _ready(status: BackupStorageStatus) -> bool:
    ready = find(status.conditions, ConditionType.READY)
    return ready is not None and ready.status == "True"


def retry_after(conditions: Any, now: datetime, kind: ConditionType = ConditionType.READY) -> timedelta:
    """Half of how long it has been failing, between 15 s and 30 min: quick for a slip, quiet for a lasting fault."""
    ready = find(conditions, kind)
    failing_for = (
        now - ready.last_transition_time
        if ready is not None and ready.last_transition_time is not None
        else timedelta(0)
    )
    return min(LONGEST_RETRY, max(SHORTEST_RETRY, failing_for / 2))


def validating(facts: StorageFacts, now: datetime) -> dict[str, Any]:
    """The status while the first validation of a spec runs; a storage that was good stays so until proven otherwise."""
    if facts.status.validated_generation == facts.generation:
        return facts.status.dump()
    message = "the storage is being validated"
    wanted = kstatus(ready=False, reason="Validating", message=message, reconciling=message)
    conditions = merge_conditions(facts.status.conditions, wanted, facts.generation, now)
    return facts.status.model_copy(update={"conditions": conditions, "observed_generation": facts.generation}).dump()


def invalid(facts: StorageFacts, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The status of a spec that cannot be served."""
    wanted = kstatus(ready=False, reason=reason, message=message, stalled=True)
    conditions = merge_conditions(facts.status.conditions, wanted, facts.generation, now)
    update = {"conditions": conditions, "observed_generation": facts.generation, "error": f"{reason}: {message}"}
    return facts.status.model_copy(update=update).dump()


def validated(facts: StorageFacts, ending: Ending, now: datetime) -> dict[str, Any]:
    """The status after a validation."""
    status = facts.status
    found = ending.result.storage if ending.succeeded and ending.result is not None else None
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "validated_generation": facts.generation,
        "last_attempt_time": now.replace(microsecond=0),
    }
    if found is not None:
        wanted: tuple[Wanted, ...] = (
            *kstatus(ready=True, reason="Validated", message="written, read, listed and deleted"),
            Wanted(ConditionType.REACHABLE, True, "Validated", ""),
        )
        update |= {
            "owner": Owner(cluster_id=found.owner),
            "usage": Usage(objects=found.objects, bytes=found.bytes),
            "error": None,
            "last_validated_time": now.replace(microsecond=0),
        }
    else:
        message = ending.message or "the validation did not succeed"
        wanted = (
            *kstatus(
                ready=False,
                reason=ending.reason,
                message=message,
                stalled=not ending.retryable,
                reconciling=message if ending.retryable else None,
            ),
            Wanted(ConditionType.REACHABLE, False, ending.reason, message),
        )
        update |= {"error": f"{ending.reason}: {message}"[:1024]}
    update["conditions"] = merge_conditions(status.conditions, wanted, facts.generation, now)
    return status.model_copy(update=update).dump()
