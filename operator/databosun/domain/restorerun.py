"""A Restore: what the steps of its run mean, the Job that restores, and what its verdict says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from databosun.api.drill import Check, Level
from databosun.api.request import DatabaseTarget, RecoverTask, Request, RestoreTask, SecretUse, StorageTarget
from databosun.api.result import RestoreResult
from databosun.api.v1alpha1.common import PodTemplate
from databosun.api.v1alpha1.proving import ChosenBackup, StoredRecord, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restore import RestorePhase, RestoreSpec, RestoreStatus
from databosun.domain.conditions import kstatus
from databosun.domain.measured import backup_ref, check_results, recovery_point, target_point
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import Plan, PostEvent, StartJob
from databosun.domain.run import Conclude, Ending, Recover, Start, decide_run
from databosun.domain.running import (
    LOOK_AFTER_START,
    RunKind,
    RunState,
    closed_attempts,
    go_on,
    recover_request,
    references,
    started,
    without_success,
)

RESTORE_RUN = RunKind("Restore", RestorePhase.PENDING, RestorePhase.RUNNING)
STAGE = ".databosun-restore-"


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """All that the Job of one restore needs to be told. It never talks to the source, which may be long gone."""

    database: DatabaseTarget
    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    image: str
    candidates: tuple[ChosenBackup, ...]
    until: TargetPoint
    checks: tuple[Check, ...] = ()
    level: Level = Level.RESTORE
    storage_uid: str | None = None
    storage_claim: str | None = None
    pod_template: PodTemplate | None = None
    scratch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """One unfinished restore. `order` is None where it is not known what to restore."""

    state: RunState
    spec: RestoreSpec
    status: RestoreStatus
    order: RestoreOrder | None


def decide_restore(facts: RestoreFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished restore; total, deterministic."""
    step = decide_run(facts.state.facts, now)
    match step:
        case Start():
            return _choose(facts, now) if facts.status.candidates is None else _start(facts, step, now)
        case Conclude():
            return _conclude(facts, step, now)
        case Recover():
            return _recover(facts, step, now)
        case _:
            return go_on(facts.state, step, now, facts.order.image if facts.order else None)


def _order(facts: RestoreFacts) -> RestoreOrder:
    assert facts.order is not None  # noqa: S101 (decide_run starts nothing that is doomed)
    return facts.order


def _choose(facts: RestoreFacts, now: datetime) -> Plan:
    """Write down what will be tried before anything starts: retention must keep it from here on."""
    order = _order(facts)
    message = f"{order.candidates[0].name} is to be restored"
    status = facts.state.write(
        kstatus(ready=False, reason="Chosen", message=message, reconciling=message),
        now,
        phase=RestorePhase.PENDING,
        candidates=list(order.candidates),
        until=order.until,
    )
    return Plan(status=status, wake_at=now)


def _start(facts: RestoreFacts, step: Start, now: datetime) -> Plan:
    order, ref, spec = _order(facts), facts.state.ref, facts.spec
    task = RestoreTask(
        id=ref.name,
        candidates=[backup_ref(one) for one in order.candidates],
        claim=spec.target.volume.claim_name,
        until=recovery_point(order.until),
        replace=spec.overwrite == "Replace",
        reindex=spec.reindex,
        checks=list(order.checks),
        level=order.level,
    )
    request = Request(
        run=ref.name,
        attempt=step.number,
        deadline=step.deadline.replace(microsecond=0),
        # Also the agent starts nothing after it: its Job may have waited for a node.
        not_after=spec.not_after if step.number == 1 else None,
        database=order.database,
        storage=order.storage,
        secrets=list(order.secrets),
        image=order.image,
        job=task,
    )
    job = _job(facts, order, attempt_job_name(ref.name, step.number), request)
    claim = spec.target.volume.claim_name
    return started(facts.state, replace(job, scratch_bytes=order.scratch_bytes, target_claim=claim), now)


def _job(facts: RestoreFacts, order: RestoreOrder, name: str, request: Request) -> StartJob:
    return StartJob(
        name=name,
        namespace=facts.state.ref.namespace,
        owner=facts.state.owner,
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=references(None, None, order.storage_uid),
        storage_claim=order.storage_claim,
    )


def _recover(facts: RestoreFacts, step: Recover, now: datetime) -> Plan:
    """Read the record, where nobody heard what came of it."""
    order, name = _order(facts), facts.state.ref.name
    request = recover_request(facts.state, step, order.storage, order.secrets, order.image, now)
    task = RecoverTask(database=order.candidates[0].database, id=name, durable="result")
    job = _job(facts, order, recover_job_name(name, step.number), request(task))
    return Plan(before=(job,), wake_at=now + LOOK_AFTER_START)


def _conclude(facts: RestoreFacts, step: Conclude, now: datetime) -> Plan:
    ending = step.ending
    if ending.succeeded and ending.result is not None and (found := ending.result.restore) is not None:
        other = _of_another(facts, found)
        if other is None:
            return _succeeded(facts, step, found, now)
        ending = Ending(Reason.NAME_TAKEN, other, certain=True, refused=True)
    refused = ending.refused or step.attempt == 0
    if not refused and not ending.certain:
        ending = replace(ending, message=f"{ending.message}; {_state_of_target(facts)}")
    phase = RestorePhase.REFUSED if refused else RestorePhase.FAILED
    status = without_success(facts.state, step.attempt, ending, now, phase=phase)
    event = PostEvent(Reason.RESTORE_REFUSED if refused else Reason.RESTORE_FAILED, _told(ending), warning=True)
    return Plan(status=status, after=(event,), wake_at=now)


def _of_another(facts: RestoreFacts, found: RestoreResult) -> str | None:
    """Why a record is not this restore's own: one of the same name was made, and deleted, before it."""
    claim = facts.spec.target.volume.claim_name
    chosen = {one.name for one in facts.status.candidates or ()}
    if found.claim not in (None, claim):
        other = f"volume {found.claim}, not {claim}"
    elif chosen and found.backup not in chosen:
        other = f"backup {found.backup}, which is none of those chosen here"
    else:
        return None
    return f"a restore of this name was done before, of {other}; nothing was done: give this one a new name"


def _state_of_target(facts: RestoreFacts) -> str:
    """What an agent that was lost may have left: it works in one folder of its own, which is renamed last."""
    claim, name = facts.spec.target.volume.claim_name, facts.state.ref.name
    return (
        f"volume {claim} may hold an unfinished {STAGE}{name}, or, where the agent was lost at the very end, the"
        " restored data; what was there before is there still"
    )


def _told(ending: Ending) -> str:
    return f"{ending.reason}: {ending.message}"[:1024]


def _succeeded(facts: RestoreFacts, step: Conclude, result: RestoreResult, now: datetime) -> Plan:
    changes: dict[str, Any] = {
        "phase": RestorePhase.SUCCEEDED,
        "completion_time": now.replace(microsecond=0),
        "duration": facts.state.duration(now),
        "attempts": closed_attempts(facts.state, step.attempt, step.ending, now),
        "progress": None,
        "failure": None,
        "backup": result.backup,
        "chosen": result.chosen,
        "until": target_point(result.until),
        "reached": result.reached,
        "last_commit": result.last_commit,
        "data_directory": result.data_directory,
        "engine_version": result.engine_version,
        "bytes": result.bytes,
        "hand_over": result.hand_over or None,
        "checks": check_results(result.checks),
        "record": StoredRecord(uri=result.record, sha256=result.record_sha256),
        "notes": list(dict.fromkeys(result.notes))[:16] or None,
    }
    claim = facts.spec.target.volume.claim_name
    message = f"{result.backup} is restored into volume {claim}, at {result.data_directory}"
    status = facts.state.write(kstatus(ready=True, reason="Restored", message=message), now, **changes)
    return Plan(status=status, after=(PostEvent("Restored", message),), wake_at=now)
