"""The drill task: restore one backup into this pod, check it, measure, write down what was found.

It only reads the storage, but for its own evidence, and never talks to the source: it has no credentials of it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from databosun.agent.backups import Chosen, choose, identities_of
from databosun.agent.context import Context
from databosun.agent.damage import damaged
from databosun.agent.erasures.repeat import notes_of, outstanding, repeat
from databosun.agent.evidence import RECORDED, compose_evidence, put_record, read_drill
from databosun.agent.fetch import ChainSource, FetchLane
from databosun.agent.readable import demand_readable
from databosun.agent.reasons import AgentReason
from databosun.agent.recovering import Wanted, recovering
from databosun.agent.stop import Stopped
from databosun.agent.until import Goal
from databosun.api.drill import (
    Check,
    CheckOutcome,
    CheckResult,
    CheckType,
    Level,
    PointKind,
    RecoveryPoint,
    Rpo,
    Rto,
    Severity,
    Verdict,
)
from databosun.api.restoretasks import DrillTask
from databosun.api.result import DrillResult, Outcome, Result
from databosun.api.v1alpha1.backup import Position
from databosun.domain.drill import (
    NEGATIVE_CONTROL,
    Blame,
    Broken,
    CheckReason,
    DrillFacts,
    Newest,
    decide_rpo,
    judge,
    only_collation_differs,
)
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.engines.base import Copy

# The user can do nothing that would make this very backup restore: it fails, whoever is to be blamed.
_OF_THE_BACKUP = frozenset(
    {"IdentityWrong", "BackupMissing", "PointNotReached", "TablespaceCreated", "ErasureNotRepeatable"}
)
_PASSES = frozenset({Verdict.PASSED, Verdict.PARTIAL})


@dataclass
class Drilled:
    """What a drill has found so far."""

    started: datetime
    began: float = field(default_factory=time.monotonic)
    chosen: Chosen | None = None
    reached_level: Level | None = None
    checks: list[CheckResult] = field(default_factory=list)
    until: RecoveryPoint = field(default_factory=RecoveryPoint)
    position: Position | None = None
    rto: Rto | None = None
    rpo: Rpo | None = None
    notes: list[str] = field(default_factory=list)
    broken: Broken | None = None


def run(ctx: Context) -> Result:
    """The verdict of the drill, or of the one that was done already under this name."""
    task = ctx.request.job
    if not isinstance(task, DrillTask):
        raise TypeError(task)
    records = ctx.of_records(task.record)
    _ = records.signing_key  # a wrong key is said before anything is done
    if done := read_drill(records, task.backup.database, task.id, task.backup):
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, drill=done)
    ctx.started = True
    found = Drilled(ctx.clock(), until=task.until)
    try:
        _drill(ctx, task, found)
    except Stopped:
        raise
    except DatabosunError as error:
        ctx.log.error("drill broken", reason=error.reason, message=error.message)
        found.broken = Broken(_blame(error), error.reason, error.message)
    if ctx.managed is not None:
        for one in ctx.managed.warnings:
            ctx.log.warning("left", message=one)
            found.notes.append(one)
    return _conclude(ctx, task, found)


def _drill(ctx: Context, task: DrillTask, found: Drilled) -> None:
    with ctx.phase("select"):
        found.chosen = choose(ctx, task.backup)
        demand_readable(ctx, found.chosen.members)
    if task.level is Level.ARTIFACT:
        with ctx.phase("verify"):
            _inspect(ctx, found.chosen, found)
    else:
        with _folder(ctx.paths.scratch) as place:
            _restore(ctx, task, found, found.chosen, place)
    if task.negative_control:
        with ctx.phase("control"):
            found.checks.append(_control(ctx, found.chosen))


def _inspect(ctx: Context, chosen: Chosen, found: Drilled) -> None:
    chain = [member.manifest.dump() for member in chosen.members]
    source = ChainSource(_lane(ctx), chosen.members)
    observed = ctx.engine.inspect(chain, source, ctx.stop.check)
    check = Check(name="artefacts", type=CheckType.ENGINE_INTEGRITY)
    found.checks.append(_result(check, CheckOutcome.PASSED, observed))
    found.reached_level = Level.ARTIFACT


def _restore(ctx: Context, task: DrillTask, found: Drilled, chosen: Chosen, place: Path) -> None:
    due = outstanding(ctx, chosen, task.erased)
    deep = task.level is not Level.RESTORE
    wanted = Wanted(chosen, task.until, task.timeline, place, verify=deep, assumed_at=found.started)
    with ctx.phase("restore"), recovering(ctx, wanted) as (copy, goal):
        ready = time.monotonic() - found.began
        copy.flush()
        found.rto = _rto(task, copy, found.started, ready)
        if ctx.managed is not None:
            available = round(found.rto.seconds - found.rto.start - found.rto.sync, 3)
            found.rto = found.rto.model_copy(update={"available": available})
        found.until, found.position, found.notes = goal.until, copy.reached.position, list(copy.notes)
        found.rpo = _rpo(task, found, goal, copy)
        if copy.seconds.get("verify"):
            check = Check(name="files", type=CheckType.ENGINE_INTEGRITY)
            found.checks.append(_result(check, CheckOutcome.PASSED, "as in the server's own manifest"))
        with ctx.phase("verify"):
            _check_all(ctx, task, found, copy, lambda: repeat(ctx, due, chosen, copy))
        found.rto = found.rto.model_copy(
            update={"verify": round(found.rto.verify + sum(one.seconds for one in found.checks), 3)}
        )


def _check_all(
    ctx: Context, task: DrillTask, found: Drilled, copy: Copy, erase: Callable[[], list[CheckResult]]
) -> None:
    """What the backup recorded of itself comes first: people who were erased since are still in it. What the user asks
    comes last, of the data as a restore would leave them."""
    for check in copy.builtin(task.level):
        _check(ctx, found, copy, check)
    found.checks += (again := erase())
    found.notes += notes_of(again)
    if ctx.managed is not None and found.rto is not None and not any(map(_failed, found.checks)):
        readable = round(found.rto.queue + time.monotonic() - found.began, 3)
        found.rto = found.rto.model_copy(update={"readable": readable})
    for check in task.checks:
        _check(ctx, found, copy, check)
    found.reached_level = task.level


def _check(ctx: Context, found: Drilled, copy: Copy, check: Check) -> None:
    ctx.stop.check()
    ctx.progress.stage(f"check {check.name}")
    result = copy.check(check)
    ctx.stop.check()  # a copy that was ended under a check fails it, and that says nothing
    ctx.log.info("check", name=check.name, outcome=result.outcome, message=result.message, seconds=result.seconds)
    found.checks.append(result)


def _failed(result: CheckResult) -> bool:
    return result.outcome is CheckOutcome.FAILED


def _rto(task: DrillTask, copy: Copy, started: datetime, ready: float) -> Rto:
    """Wall clock from the start to the first answer, without what was verified on the way; then the flush."""
    seconds = {name: round(value, 3) for name, value in copy.seconds.items()}
    verify, sync = seconds.get("verify", 0.0), seconds.get("sync", 0.0)
    phases = {name: seconds.get(name, 0.0) for name in ("fetch", "restore", "replay", "start")}
    # Selecting, judging the log, writing configurations: part of getting at the data.
    phases["fetch"] = round(phases["fetch"] + max(0.0, ready - verify - sum(phases.values())), 3)
    # Scheduling, the image, the start of the pod; the two clocks may differ by a little.
    queue = round(max(0.0, (started - task.ordered_at).total_seconds()), 3) if task.ordered_at else 0.0
    total = round(queue + ready - verify + sync, 3)
    met = None if task.rto_seconds is None else total <= task.rto_seconds
    return Rto(seconds=total, objective=task.rto_seconds, met=met, queue=queue, sync=sync, verify=verify, **phases)


def _rpo(task: DrillTask, found: Drilled, goal: Goal, copy: Copy) -> Rpo | None:
    """None for a point in the past: what was left out on purpose is no loss."""
    if task.until.kind not in (PointKind.NONE, PointKind.LATEST) or found.chosen is None:
        return None
    newest = Newest(
        started=found.started,
        last_commit=copy.reached.last_commit,
        snapshot=found.chosen.last.manifest.snapshot_time,
        log=(goal.covers or copy.reached.covers) if task.until.kind is PointKind.LATEST else None,
        heartbeat=task.heartbeat,
    )
    return decide_rpo(newest, task.rpo_seconds)


def _control(ctx: Context, chosen: Chosen) -> CheckResult:
    """Read a damaged copy of the artefacts; noticing it is what passes."""
    check = Check(name=NEGATIVE_CONTROL, type=CheckType.ENGINE_INTEGRITY)
    lane = replace(_lane(ctx), store=damaged(ctx.store, chosen.members))
    last = replace(chosen, members=chosen.members[-1:])
    try:
        ctx.engine.inspect([last.last.manifest.dump()], ChainSource(lane, last.members), ctx.stop.check)
    except SafetyStop as noticed:
        return _result(check, CheckOutcome.PASSED, f"{noticed.reason}: {noticed.message}"[:500])
    failed = _result(check, CheckOutcome.FAILED, "nothing was noticed")
    message = "a bit was flipped in a copy of an artefact, and reading it back did not fail"
    return failed.model_copy(update={"reason": CheckReason.CONTROL_PASSED, "message": message})


def _conclude(ctx: Context, task: DrillTask, found: Drilled) -> Result:
    verified = task.backup.verified or ctx.public_key is not None
    judged = judge(DrillFacts(task.level, found.reached_level, found.checks, found.broken, verified))
    # What a cloud restores to a point in time comes of its own backups, and says nothing of this one.
    own = ctx.managed is None or task.until.kind is PointKind.NONE
    proven = (
        own
        and task.level is not Level.ARTIFACT
        and (
            judged.verdict is Verdict.PASSED
            or (judged.verdict is Verdict.PARTIAL and verified and only_collation_differs(found.checks))
        )
    )
    result = DrillResult(
        id=task.id,
        verdict=judged.verdict,
        reason=judged.reason,
        message=judged.message,
        backup=task.backup.id,
        level_asked=task.level,
        level_reached=judged.level,
        checks=found.checks,
        rto=found.rto,
        rpo=found.rpo,
        ordered_at=(task.ordered_at or found.started) if found.rto else None,
        until=found.until,
        reached=found.position,
        proven=proven,
        notes=found.notes,
    )
    if judged.verdict in RECORDED:
        with ctx.phase("evidence"):
            completed = ctx.clock()
            evidence = compose_evidence(ctx, task, found.chosen, result, (found.started, completed))
            records = ctx.of_records(task.record)
            key = records.layout.drill(task.backup.database, task.id)
            sha256 = put_record(records, key, evidence.dump(), task.record.lock_seconds)
            written = {
                "evidence": records.store.url(key),
                "evidence_sha256": sha256,
                "evidence_storage": records.storage.name,
                "completed_at": completed,
            }
            result = result.model_copy(update=written)
    return _report(result)


def _report(result: DrillResult) -> Result:
    """A drill that reached a verdict has done its work, also where the verdict is Failed."""
    outcome = {Verdict.REFUSED: Outcome.REFUSED, Verdict.ERROR: Outcome.FAILED}.get(result.verdict, Outcome.SUCCEEDED)
    return Result(
        outcome=outcome,
        reason=result.reason,
        message=result.message,
        retryable=result.verdict is Verdict.ERROR,
        drill=result,
    )


def _blame(error: DatabosunError) -> Blame:
    if isinstance(error, SafetyStop) or error.reason in _OF_THE_BACKUP:
        return Blame.BACKUP
    return Blame.PRECONDITION if isinstance(error, UserFault) else Blame.OURS


def _lane(ctx: Context) -> FetchLane:
    return FetchLane(ctx.store, identities_of(ctx), ctx.children, ctx.stop, ctx.progress)


def _result(check: Check, outcome: CheckOutcome, observed: str) -> CheckResult:
    return CheckResult(name=check.name, type=check.type, severity=Severity.CRITICAL, outcome=outcome, observed=observed)


class _folder:
    """A folder on scratch that is gone afterwards."""

    def __init__(self, scratch: Path) -> None:
        self._path = Path(tempfile.mkdtemp(prefix="drill-", dir=scratch))

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            shutil.rmtree(self._path)
