"""Look at a database: reachable, version, and what is missing for the methods that policies ask for."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import ManagedLook, ProbeTask
from databosun.api.result import Finding, ManagedState, Outcome, ProbeResult, Result
from databosun.engines.managed import ManagedEngine, Tended
from databosun.engines.registry import load_archiver

MOST_NAMED = 50


def run(ctx: Context) -> Result:
    """What the engine found; findings are no failure of the probe."""
    task = ctx.request.job
    if not isinstance(task, ProbeTask):
        raise TypeError(task)
    with ctx.phase("probe"):
        found = ctx.engine.probe(ctx.target, task.methods, incremental=task.incremental)
        if task.continuous:
            more = load_archiver(ctx.database.engine).preflight(ctx.target, allow_unbounded=task.allow_unbounded_slot)
            found = found.model_copy(update={"findings": [*found.findings, *more]})
        if task.managed is not None and ctx.managed is not None and found.managed is not None:
            ctx.started = True
            found = _tended(found, found.managed, _tend(ctx.managed, task.managed))
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, probe=found)


def _tend(engine: ManagedEngine, look: ManagedLook) -> Tended:
    return engine.tend(look.backups, look.active, look.ordered_at)


def _tended(found: ProbeResult, managed: ManagedState, tended: Tended) -> ProbeResult:
    """The same with what became of our own there."""
    findings = list(found.findings)
    if tended.missing:
        named = ", ".join(tended.missing[:MOST_NAMED])
        message = (
            f"the data of {len(tended.missing)} backups are gone, though nobody asked Databosun to delete them: "
            f"{named}; find out who deletes there, and delete those Backup objects"
        )
        findings.append(Finding(reason=AgentReason.SNAPSHOT_MISSING, message=message))
    if tended.removed:
        message = f"what drills had left was removed: {', '.join(tended.removed[:MOST_NAMED])}"
        findings.append(Finding(reason=AgentReason.INSTANCE_REMOVED, message=message))
    if tended.unclaimed:
        message = (
            f"{len(tended.unclaimed)} snapshots are of this Database and of no Backup that is here: "
            f"{', '.join(tended.unclaimed[:MOST_NAMED])}; a run that failed left them, or their Backups were deleted "
            "and the data kept: delete them there, or rebuild the catalog"
        )
        findings.append(Finding(reason=AgentReason.SNAPSHOT_UNCLAIMED, message=message))
    state = managed.model_copy(
        update={"missing": list(tended.missing[:MOST_NAMED]), "removed": list(tended.removed[:MOST_NAMED])}
    )
    return found.model_copy(update={"findings": findings, "managed": state})
