"""A Restore: what the steps of its run mean, the Job that restores, and what its verdict says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.quantities import parse_duration
from databosun.api.result import RestoreResult
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restore import Placed, RestorePhase, RestoreSpec, RestoreStatus, Staged
from databosun.domain.attempt import Ending
from databosun.domain.conditions import kstatus
from databosun.domain.measured import check_results, target_point
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.restorenames import short_id
from databosun.domain.restoreorder import Mode, RestoreOrder, bridge_task, volume_task
from databosun.domain.run import Conclude, Recover, Start, Wait, Watch
from databosun.domain.runjobs import Unfinished, attempt_job, follow, look_for
from databosun.domain.running import (
    LOOK_AFTER_START,
    RunKind,
    chosen,
    ended,
    go_on,
    started,
    with_success,
    without_success,
)

RESTORE_RUN = RunKind("Restore", RestorePhase.PENDING, RestorePhase.RUNNING)
STAGE = ".databosun-restore-"
LONGEST_STAGE = timedelta(days=7)
# After a decision the run may still have to wait for others; not for ever.
STAGED_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RestoreFacts(Unfinished[RestoreSpec, RestoreStatus, RestoreOrder]):
    """One unfinished restore. `consent`: the Approval of what is staged."""

    consent: str | None = None


def decide_restore(facts: RestoreFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished restore; total, deterministic."""
    if facts.status.phase is RestorePhase.STAGED and facts.status.staged is not None:
        return decide_staged(facts, facts.status.staged, now)
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: RestoreFacts, step: Start, now: datetime) -> Plan:
    order, spec = facts.ordered, facts.spec
    if facts.status.candidates is None:
        choice = {"candidates": list(order.candidates), "until": order.until}
        return chosen(facts.state, f"{order.candidates[0].name} is to be restored", now, **choice)
    ref, staged = facts.state.ref, facts.status.staged
    mode: Mode = staged.decision if staged is not None and staged.decision is not None else "Restore"
    task = (
        bridge_task(ref, spec, order, order.target, mode) if order.target is not None else volume_task(ref, spec, order)
    )
    job = attempt_job(
        facts.state,
        order,
        step,
        task,
        not_after=spec.not_after if step.number == 1 and mode == "Restore" else None,
        scratch_bytes=order.scratch_bytes if mode == "Restore" else None,
        target_claim=spec.target.volume.claim_name if spec.target.volume else None,
    )
    return started(facts.state, job, now)


def _recover(facts: RestoreFacts, step: Recover, now: datetime) -> Plan:
    """Read the record, where nobody heard what came of it."""
    order = facts.ordered
    task = RecoverTask(database=order.candidates[0].database, id=facts.state.ref.name, durable="result")
    return look_for(facts.state, order, step, task, now)


def _conclude(facts: RestoreFacts, step: Conclude, now: datetime) -> Plan:
    ending = step.ending
    if ending.succeeded and ending.result is not None and (found := ending.result.restore) is not None:
        other = _of_another(facts, found)
        if other is None and found.staged:
            return _staged(facts, step, found, now)
        if other is None:
            return _succeeded(facts, step, found, now)
        ending = Ending(Reason.NAME_TAKEN, other, certain=True, refused=True)
    refused = replace(step, ending=ending).refused
    if not refused and not ending.certain:
        ending = replace(ending, message=f"{ending.message}; {_state_of_target(facts)}")
    phase = RestorePhase.REFUSED if refused else RestorePhase.FAILED
    status = without_success(facts.state, step.attempt, ending, now, phase=phase)
    event = PostEvent(Reason.RESTORE_REFUSED if refused else Reason.RESTORE_FAILED, _told(ending), warning=True)
    return Plan(status=status, after=(event,), wake_at=now)


def _of_another(facts: RestoreFacts, found: RestoreResult) -> str | None:
    """Why a record is not this restore's own: one of the same name was made, and deleted, before it."""
    target = facts.spec.target.named
    chosen = {one.name for one in facts.status.candidates or ()}
    if (found.claim or found.target) not in (None, target):
        other = f"{f'volume {found.claim}' if found.claim else found.target}, not {target}"
    elif chosen and found.backup not in chosen:
        other = f"backup {found.backup}, which is none of those chosen here"
    else:
        return None
    return f"a restore of this name was done before, of {other}; nothing was done: give this one a new name"


def _state_of_target(facts: RestoreFacts) -> str:
    """What an agent that was lost may have left: it works in one folder of its own, which is renamed last."""
    target, name = facts.spec.target.named, facts.state.ref.name
    if facts.spec.target.volume is None:
        short = short_id(facts.state.ref.uid)
        return (
            f"{target} may hold databases, or schemas, whose names end with _restore_{short}: they are unfinished, and"
            " can be dropped. What was there is there still under its own name, or, where names that end with"
            f" _before_{short} exist, under these, and the restored data are in place"
        )
    return (
        f"volume {target} may hold an unfinished {STAGE}{name}, or, where the agent was lost at the very end, the"
        " restored data; what was there before is there still"
    )


def _told(ending: Ending) -> str:
    return f"{ending.reason}: {ending.message}"[:1024]


def _found(result: RestoreResult) -> dict[str, Any]:
    """What the agent says of the restored data."""
    return {
        "backup": result.backup,
        "chosen": result.chosen,
        "until": target_point(result.until),
        "reached": result.reached,
        "last_commit": result.last_commit,
        "data_directory": result.data_directory,
        "placed": [Placed(**one.model_dump()) for one in result.placed] or None,
        "engine_version": result.engine_version,
        "bytes": result.bytes,
        "hand_over": result.hand_over or None,
        "checks": check_results(result.checks),
        "notes": list(dict.fromkeys(result.notes))[:32] or None,
    }


def _succeeded(facts: RestoreFacts, step: Conclude, result: RestoreResult, now: datetime) -> Plan:
    changes: dict[str, Any] = {
        **_found(result),
        "phase": RestorePhase.SUCCEEDED,
        "record": StoredRecord(uri=result.record, sha256=result.record_sha256),
    }
    where = f"volume {result.claim or facts.spec.target.named}, at {result.data_directory}"
    if result.target is not None:
        where = f"{result.target}: {', '.join(one.table or one.at for one in result.placed[:5])}"
    message = f"{result.backup} is restored into {where}"
    status = with_success(facts.state, step.attempt, step.ending, now, reason="Restored", message=message, **changes)
    return Plan(status=status, after=(PostEvent("Restored", message),), wake_at=now)


def _staged(facts: RestoreFacts, step: Conclude, result: RestoreResult, now: datetime) -> Plan:
    """All is checked, beside what is there: wait for a person."""
    at = now.replace(microsecond=0)
    until = at + min(parse_duration(facts.spec.stage_for), LONGEST_STAGE)
    staged = Staged(at=at, until=until, plan_hash=plan_hash(facts.state.ref.uid, result), attempt=step.attempt)
    name = facts.state.ref.name
    names = ", ".join(dict.fromkeys(one.at for one in result.placed[:5]))
    message = (
        f"{result.backup} is staged at {result.target} and checked ({names}); put it in place with kubectl bosun"
        f" restore --promote {name} until {until.isoformat()}, or it is removed"
    )
    found = _found(result)
    changes = {**found, "phase": RestorePhase.STAGED, "staged": staged, "progress": None, "failure": None}
    ending = replace(step.ending, reason=str(Reason.STAGED), certain=True, retryable=False)
    changes["attempts"] = ended(facts.state, step.attempt, ending, now)
    conditions = kstatus(ready=False, reason=Reason.STAGED, message=message)
    status = facts.state.write(conditions, now, **changes)
    # At once: the look that finds it staged lets go of its turn.
    return Plan(status=status, after=(PostEvent(Reason.STAGED, message),), wake_at=now)


def decide_staged(facts: RestoreFacts, staged: Staged, now: datetime) -> Plan:
    """Put it in place where somebody consented, remove it where nobody did in time; written down before it is done."""
    run, number = facts.state.facts, staged.attempt + 1
    if staged.decision is None:
        if facts.consent is not None:
            decided = staged.model_copy(update={"decision": "Promote", "approval": facts.consent})
        elif now >= staged.until:
            decided = staged.model_copy(update={"decision": "Discard"})
        else:
            return Plan(wake_at=staged.until)
        update = {"staged": decided}
        return Plan(status=facts.state.status.model_copy(update=update).dump(), wake_at=now)
    if run.job is not None and run.job.attempt == number:
        return go_on(facts.state, Watch(number, wake_at=now), now, facts.order.image if facts.order else None)
    if run.blocked is not None and now < staged.until + STAGED_PATIENCE:
        wait = Wait(run.blocked.reason, run.blocked.message, run.blocked.again or now + LOOK_AFTER_START)
        return Plan(status=facts.state.under_way(wait.reason, wait.message, now), wake_at=wait.wake_at)
    if facts.order is None or run.blocked is not None:
        blocked = run.blocked or run.doomed
        why = f"{blocked.reason}: {blocked.message}" if blocked else "the target is not known any more"
        ending = Ending(Reason.NOT_PROMOTED, f"{why}; {_state_of_target(facts)}", certain=True)
        return _conclude(facts, Conclude(ending, staged.attempt), now)
    return _start(facts, Start(number, now + run.limits.deadline), now)


def plan_hash(uid: str, result: RestoreResult) -> str:
    """What an Approval consents to: this restore, this backup, these places."""
    plan = {"uid": uid, "backup": result.backup, "placed": [one.dump() for one in result.placed]}
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
