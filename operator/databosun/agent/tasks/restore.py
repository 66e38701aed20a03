"""The restore task: a recovered, promoted, cleanly stopped data directory in a volume, and how to hand it over.

The volume is as it was until the very end: everything happens in one folder of our own, which is renamed last.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from databosun.agent.backups import choose
from databosun.agent.context import Context
from databosun.agent.erasures.repeat import notes_of, outstanding, repeat
from databosun.agent.evidence import read_restore
from databosun.agent.readable import have_readable
from databosun.agent.reasons import AgentReason
from databosun.agent.recovering import Wanted, recovering
from databosun.agent.restoring import Restored, first_good, run_checks, why_this, write_record
from databosun.agent.timeline import timeline_of
from databosun.api.drill import Check, CheckOutcome, CheckResult, CheckType
from databosun.api.restoretasks import BackupRef, RestoreTask
from databosun.api.result import Outcome, RestoreResult, Result
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault
from databosun.engines.recovery import Copy

DATA, TABLESPACES = "data", "tablespaces"
_STAGE = ".databosun-restore-"
_IGNORED = frozenset({"lost+found"})
_AS_WAS = "the volume is as it was"


def run(ctx: Context) -> Result:
    """The restore. On failure the volume is as it was before."""
    task = ctx.request.job
    if not isinstance(task, RestoreTask):
        raise TypeError(task)
    _ = ctx.signing_key
    database = task.candidates[0].database
    if ctx.managed is not None:
        message = (
            f"the backups of engine {ctx.database.engine} stay with the cloud, which restores them into an instance, "
            "never into a volume; follow RESTORE.md beside the backup"
        )
        raise UserFault(AgentReason.VOLUME_UNSUPPORTED, message)
    if done := read_restore(ctx, database, task.id, task):
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, restore=done)
    root = ctx.paths.restore
    with ctx.phase("assess"):
        _demand_target(root, task)
    stage = root / f"{_STAGE}{task.id}"
    shutil.rmtree(stage, ignore_errors=True)  # of an attempt that was killed
    started = ctx.clock()
    try:
        clean = partial(shutil.rmtree, stage, ignore_errors=True)
        restored = first_good(ctx, task.candidates, partial(_restore, ctx, task, stage), clean, _AS_WAS)
        with ctx.phase("place"):
            aside = _place(root, stage, task)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return _conclude(ctx, task, restored, aside, started)


def _restore(ctx: Context, task: RestoreTask, stage: Path, ref: BackupRef, turned_down: list[str]) -> Restored:
    with ctx.phase("select"):
        chosen = choose(ctx, ref)
        due = outstanding(ctx, chosen, task.erased, wanted=task.erasures)
        thawed = have_readable(ctx, chosen.members, task.thaw)
    stage.mkdir(mode=0o700)
    now = ctx.clock()
    wanted = Wanted(chosen, task.until, task.timeline, stage, verify=True, assumed_at=now)
    with ctx.phase("restore"), recovering(ctx, wanted) as (copy, goal):
        restored = Restored(chosen, goal, copy, why_this(ref, task.candidates, turned_down), thawed)
        with ctx.phase("verify"):
            mend = partial(_mended, task, copy)
            restored.checks += run_checks(ctx, copy, copy.builtin(task.level), (), _AS_WAS, mend)
            restored.checks += repeat(ctx, due, chosen, copy)
            restored.checks += run_checks(ctx, copy, task.checks, task.checks, _AS_WAS, mend)
        copy.finish()
    return restored


def _mended(task: RestoreTask, copy: Copy, check: Check, result: CheckResult) -> CheckResult:
    """Collations refuse, unless told to reindex."""
    if result.type is CheckType.COLLATION and result.outcome is CheckOutcome.FAILED:
        return _reindexed(task, copy, check, result)
    return result


def _reindexed(task: RestoreTask, copy: Copy, check: Check, result: CheckResult) -> CheckResult:
    if not task.reindex:
        message = f"{result.message}; set spec.reindex to have them rebuilt, or use an image with the same libraries"
        raise UserFault(CheckReason.COLLATION_MISMATCH, message)
    copy.reindex()
    again = copy.check(check)
    return again.model_copy(update={"message": f"indexes were rebuilt: {result.message}"})


def _demand_target(root: Path, task: RestoreTask) -> None:
    """UserFault(TargetNotEmpty) unless nothing is there, or it may be put aside."""
    if not root.is_dir():
        raise UserFault(AgentReason.BAD_REQUEST, f"no volume is mounted at {root} to restore into")
    found = sorted(path.name for path in root.iterdir() if path.name not in _IGNORED and not _own(path.name))
    if found and not task.replace:
        message = (
            f"the volume holds {', '.join(found[:5])}{' …' if len(found) > 5 else ''}; a restore goes into an empty "
            "one, or puts what is there aside with overwrite: Replace, confirm and notAfter"
        )
        raise UserFault(AgentReason.TARGET_NOT_EMPTY, message)


def _place(root: Path, stage: Path, task: RestoreTask) -> list[str]:
    """Rename the finished folders into their place; what was there goes aside, and is never deleted."""
    _demand_target(root, task)  # something may have come while we worked: another restore, or a server
    aside = []
    for name in (DATA, TABLESPACES):
        if (stage / name).exists():
            target = root / name
            if target.exists():
                kept = root / f"{name}.before-{task.id}"
                target.rename(kept)
                aside.append(kept.name)
            (stage / name).rename(target)
    _flush(root)
    return aside


def _conclude(ctx: Context, task: RestoreTask, restored: Restored, aside: list[str], started: datetime) -> Result:
    manifest = restored.chosen.last.manifest
    seconds = {name: round(value, 3) for name, value in restored.copy.seconds.items()}
    result = RestoreResult(
        id=task.id,
        claim=task.claim,
        backup=manifest.id,
        chosen=restored.why,
        data_directory=DATA,
        until=restored.goal.until,
        reached=restored.copy.reached.position,
        last_commit=restored.copy.reached.last_commit,
        engine_version=manifest.database.engine_version,
        bytes=manifest.logical_bytes,
        seconds=seconds,
        timeline=timeline_of(ctx, seconds),
        checks=restored.checks,
        hand_over=ctx.engine.hand_over(manifest.dump(), DATA),
        notes=[
            *restored.thawed,
            *restored.copy.notes,
            *notes_of(restored.checks),
            *(f"what was in the volume is now {name}" for name in aside),
        ],
        record="",
        record_sha256="",
    )
    with ctx.phase("record"):
        sha256 = restored.chosen.last.sha256
        result = write_record(ctx, task, manifest.database.name, sha256, result, started)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, restore=result)


def _own(name: str) -> bool:
    return name.startswith(_STAGE)


def _flush(folder: Path) -> None:
    """Have the renames on disk."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
