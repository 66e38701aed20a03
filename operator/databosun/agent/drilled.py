"""What a drill has found, and what it comes to: times, the verdict, and the evidence that is written of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime

from databosun.agent.backups import Chosen
from databosun.agent.context import Context
from databosun.agent.evidence import RECORDED, compose_evidence, put_record
from databosun.agent.until import Goal
from databosun.api.drill import (
    CheckResult,
    Level,
    PointKind,
    RecoveryPoint,
    Rpo,
    Rto,
    Verdict,
)
from databosun.api.restoretasks import DrillTask
from databosun.api.result import DrillResult, Outcome, Result
from databosun.api.v1alpha1.backup import Position
from databosun.domain.drill import (
    Broken,
    DrillFacts,
    Newest,
    decide_rpo,
    judge,
    only_collation_differs,
)
from databosun.engines.recovery import Copy


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


def rto_of(task: DrillTask, copy: Copy, started: datetime, ready: float) -> Rto:
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


def rpo_of(task: DrillTask, found: Drilled, goal: Goal, copy: Copy) -> Rpo | None:
    """None for a point in the past: what was left out on purpose is no loss."""
    if task.until.kind not in (PointKind.NONE, PointKind.LATEST) or found.chosen is None:
        return None
    newest = Newest(
        started=found.started,
        last_commit=copy.reached.last_commit,
        snapshot=found.chosen.last.manifest.shows,
        log=(goal.covers or copy.reached.covers) if task.until.kind is PointKind.LATEST else None,
        heartbeat=task.heartbeat,
    )
    return decide_rpo(newest, task.rpo_seconds)


def conclude(ctx: Context, task: DrillTask, found: Drilled) -> Result:
    """Judge what was found, and write the evidence where the verdict is one to be kept."""
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
    return _report(_on_record(ctx, task, found, result) if judged.verdict in RECORDED else result)


def _on_record(ctx: Context, task: DrillTask, found: Drilled, result: DrillResult) -> DrillResult:
    """The result, with where its evidence was written."""
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
        return result.model_copy(update=written)


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
