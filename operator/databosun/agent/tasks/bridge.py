"""The bridge task: a restore into a running server, in three steps that each may be the first of an attempt.

Recover the backup on scratch and check it; bring what is wanted to the target under other names and compare it there;
put all of it in place at once. What an attempt that was killed had done is found at the target, and gone on from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from databosun.agent.backups import choose
from databosun.agent.context import Context
from databosun.agent.erasures.repeat import demand_none_since, notes_of, outstanding, repeat
from databosun.agent.evidence import read_restore
from databosun.agent.readable import have_readable
from databosun.agent.reasons import AgentReason
from databosun.agent.recovering import Wanted, recovering
from databosun.agent.restoring import first_good, run_checks, why_this, write_record
from databosun.agent.timeline import timeline_of
from databosun.api.drill import CheckType
from databosun.api.restoretasks import BackupRef, BridgeTask
from databosun.api.result import Outcome, PlacedResult, RestoreResult, Result
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Target
from databosun.engines.bridging import Bridge, BridgeOrder, Found, Standing
from databosun.engines.registry import load_bridge

_AS_WAS = "the target is as it was"
# Asked of what lies at the target; the others need the copy, or what the backup recorded.
_THERE = frozenset({CheckType.FRESHNESS, CheckType.CANARY, CheckType.QUERY, CheckType.ROW_COUNT})


def run(ctx: Context) -> Result:
    """The restore, or its end: what was staged is put in place, or removed."""
    task = ctx.request.job
    if not isinstance(task, BridgeTask):
        raise TypeError(task)
    _ = ctx.signing_key
    bridge, target = load_bridge(task.target.engine), ctx.read_target(task.target)
    order = _order(ctx, task)
    database = task.candidates[0].database
    if done := read_restore(ctx, database, task.id, task):
        notes = _settle(bridge, target, order)
        done = done.model_copy(update={"notes": [*done.notes, *notes]})
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, restore=done)
    with ctx.phase("assess"):
        ctx.progress.stage("look at the target")
        found = bridge.look(target, order)
    if task.mode == "Discard" and found.standing is not Standing.PLACED:
        return _discard(ctx, bridge, target, order)
    if found.standing is Standing.PLACED:
        return _conclude(ctx, task, bridge, target, order, found)
    if task.mode == "Promote" and found.standing is not Standing.STAGED:
        message = f"what was staged at {target.database.name} is not there any more, or not all of it; nothing was done"
        raise UserFault(AgentReason.NOT_PROMOTED, message)
    if found.standing is not Standing.STAGED:
        found = _stage(ctx, task, bridge, target, order, found.standing)
    elif task.erasures:
        demand_none_since(ctx, database, found.story)
    if task.stage_first and task.mode == "Restore":
        staged = _result(found.story, found.placed).model_copy(update={"staged": True})
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.STAGED, restore=staged)
    ctx.started = True
    with ctx.phase("place"):
        ctx.progress.stage("put in place")
        placed = bridge.place(target, order)
    return _conclude(ctx, task, bridge, target, order, Found(Standing.PLACED, placed, found.story))


def _order(ctx: Context, task: BridgeTask) -> BridgeOrder:
    shown = [0]

    def progress(stage: str, done: int, total: int | None) -> None:
        ctx.progress.stage(stage, total_bytes=total)
        ctx.progress.add(max(0, done - shown[0]))
        shown[0] = done

    return BridgeOrder(
        uid=task.uid,
        run=task.id,
        databases=tuple(task.selection.databases),
        tables=tuple(task.selection.tables),
        replace=task.replace,
        pulse=ctx.stop.check,
        progress=progress,
    )


def _stage(
    ctx: Context, task: BridgeTask, bridge: Bridge, target: Target, order: BridgeOrder, standing: Standing
) -> Found:
    """Recover, check, bring, compare, and write down at the target that all of it is there."""
    if standing is Standing.UNFINISHED:
        ctx.log.info("removing what an earlier attempt left", removed=list(bridge.discard(target, order)))
    began = ctx.clock()
    place = Path(tempfile.mkdtemp(prefix="bridge-", dir=ctx.paths.scratch))
    try:
        clean = partial(_empty, place)
        attempt = partial(_attempt, ctx, task, bridge, target, order, place)
        result = first_good(ctx, task.candidates, attempt, clean, _AS_WAS)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    story = {**result, "startedAt": began.isoformat()}
    bridge.seal(target, order, story)
    placed = tuple(PlacedResult.model_validate(one) for one in story["placed"])
    return Found(Standing.STAGED, placed, story)


def _attempt(
    ctx: Context,
    task: BridgeTask,
    bridge: Bridge,
    target: Target,
    order: BridgeOrder,
    place: Path,
    ref: BackupRef,
    turned_down: list[str],
) -> dict[str, Any]:
    """One candidate. What comes of it is the story that is written down at the target."""
    with ctx.phase("select"):
        chosen = choose(ctx, ref)
        due = outstanding(ctx, chosen, task.erased, wanted=task.erasures)
    manifest = chosen.last.manifest
    with ctx.phase("assess"):
        bridge.examine(target, order, manifest.dump())
    with ctx.phase("select"):
        thawed = have_readable(ctx, chosen.members, task.thaw)
    wanted = Wanted(chosen, task.until, task.timeline, place, verify=True, assumed_at=ctx.clock())
    ctx.progress.stage("restore on scratch")
    with ctx.phase("restore"), recovering(ctx, wanted) as (copy, goal):
        here = [check for check in task.checks if check.type not in _THERE or order.tables]
        there = [check for check in task.checks if check not in here]
        # A dump is loaded into indexes of the target's own making: how the copy sorts texts matters to nobody.
        builtin = [check for check in copy.builtin(task.level) if check.type is not CheckType.COLLATION]
        with ctx.phase("verify"):
            checks = run_checks(ctx, copy, builtin, (), _AS_WAS)
            checks += repeat(ctx, due, chosen, copy)
            checks += run_checks(ctx, copy, here, task.checks, _AS_WAS)
        with ctx.phase("stage"):
            staged = bridge.stage(target, order, copy, there, task.level)
    seconds = {name: round(value, 3) for name, value in copy.seconds.items()}
    result = RestoreResult(
        id=task.id,
        target=target.database.name,
        backup=manifest.id,
        chosen=why_this(ref, task.candidates, turned_down),
        placed=list(staged.placed),
        until=goal.until,
        reached=copy.reached.position,
        last_commit=copy.reached.last_commit,
        engine_version=manifest.database.engine_version,
        bytes=manifest.logical_bytes,
        seconds=seconds,
        timeline=timeline_of(ctx, seconds),
        checks=[*checks, *staged.checks],
        notes=[*thawed, *copy.notes, *notes_of(checks), *staged.notes],
        record="",
        record_sha256="",
    )
    system = manifest.database.system_identifier
    return {**result.dump(), "manifestSha256": chosen.last.sha256, "systemIdentifier": system}


def _conclude(
    ctx: Context, task: BridgeTask, bridge: Bridge, target: Target, order: BridgeOrder, found: Found
) -> Result:
    """Everything is in place: write the record, then take away the marks."""
    ctx.started = True
    story = found.story
    result = _result(story, found.placed)
    result = result.model_copy(
        update={
            "hand_over": bridge.hand_over(found.placed, target),
            "timeline": [*result.timeline, *(one for one in timeline_of(ctx, {}) if one.step == "resume")],
        }
    )
    with ctx.phase("record"):
        started = datetime.fromisoformat(str(story["startedAt"]))
        database = task.candidates[0].database
        result = write_record(ctx, task, database, str(story["manifestSha256"]), result, started)
    result = result.model_copy(update={"notes": [*result.notes, *_settle(bridge, target, order)]})
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, restore=result)


def _settle(bridge: Bridge, target: Target, order: BridgeOrder) -> list[str]:
    """Take the marks away. What is done is done, also where the target cannot be reached any more: then a note."""
    try:
        bridge.settle(target, order)
    except DatabosunError as fault:
        return [f"a mark of this restore may be left in a comment at the target: {fault.message}"]
    return []


def _discard(ctx: Context, bridge: Bridge, target: Target, order: BridgeOrder) -> Result:
    """Nobody consented in time."""
    with ctx.phase("discard"):
        gone = bridge.discard(target, order)
    removed = f"removed: {', '.join(gone)}" if gone else "nothing of it was left"
    message = f"nobody consented in time; what was staged at {target.database.name} is gone ({removed}); {_AS_WAS}"
    return Result(outcome=Outcome.REFUSED, reason=AgentReason.NOT_PROMOTED, message=message)


def _result(story: Mapping[str, Any], placed: tuple[PlacedResult, ...]) -> RestoreResult:
    result = RestoreResult.model_validate({**story, "record": "", "recordSha256": ""})
    return result.model_copy(update={"placed": list(placed)})


def _empty(folder: Path) -> None:
    """Before the next candidate."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()
