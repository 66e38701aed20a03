"""The drill task: restore one backup into this pod, check it, measure, write down what was found.

It only reads the storage, but for its own evidence, and never talks to the source: it has no credentials of it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from databosun.agent.backups import Chosen, choose, identities_of
from databosun.agent.context import Context
from databosun.agent.damage import damaged
from databosun.agent.drilled import Drilled, conclude, rpo_of, rto_of
from databosun.agent.erasures.repeat import notes_of, outstanding, repeat
from databosun.agent.evidence import read_drill
from databosun.agent.fetch import ChainSource, FetchLane
from databosun.agent.readable import demand_readable
from databosun.agent.reasons import AgentReason
from databosun.agent.recovering import Wanted, recovering
from databosun.agent.stop import Stopped
from databosun.api.drill import (
    Check,
    CheckOutcome,
    CheckResult,
    CheckType,
    Level,
    Severity,
    Verdict,
)
from databosun.api.restoretasks import DrillTask
from databosun.api.result import Outcome, Result
from databosun.domain.drill import (
    NEGATIVE_CONTROL,
    Blame,
    Broken,
    CheckReason,
)
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.engines.recovery import Copy

# The user can do nothing that would make this very backup restore: it fails, whoever is to be blamed.
_OF_THE_BACKUP = frozenset(
    {"IdentityWrong", "BackupMissing", "PointNotReached", "TablespaceCreated", "ErasureNotRepeatable"}
)
_PASSES = frozenset({Verdict.PASSED, Verdict.PARTIAL})


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
    return conclude(ctx, task, found)


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
        found.rto = rto_of(task, copy, found.started, ready)
        if ctx.managed is not None:
            available = round(found.rto.seconds - found.rto.start - found.rto.sync, 3)
            found.rto = found.rto.model_copy(update={"available": available})
        found.until, found.position, found.notes = goal.until, copy.reached.position, list(copy.notes)
        found.rpo = rpo_of(task, found, goal, copy)
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
