"""An Incremental: the oplog since the last backup, from the very entry that it ended with."""

from __future__ import annotations

from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Captured, Parent
from databosun.engines.mongodb import oplog
from databosun.engines.mongodb.full import Run, server_environment, store_slice
from databosun.engines.mongodb.positions import BASE_FILE, Mark, backup_position, format_ts, read_mark
from databosun.engines.mongodb.replay.entries import REPLAYED


def back_up_incremental(run: Run) -> tuple[Captured | None, tuple[str, ...]]:
    """The backup; or None, with a note that says why a Full must be taken instead."""
    run.say("prepare")
    parent = run.plan.parent
    if parent is None:
        return None, ()
    begin = read_mark(parent.engine_manifest)
    why = _obstacle(run, parent, begin)
    if why or begin is None:
        return None, (f"{why}; a Full was taken instead",)
    run.say("oplog")
    end = oplog.settled(run.client, run.pulse)
    walk = store_slice(run, begin.ts, end, exact=True)
    oplog.demand_reach(run.client, begin.ts)
    _demand_replayable(walk.commands)
    run.sink.put_plain(BASE_FILE, end.document())
    captured = Captured(
        type=run.plan.type,
        method=Method.LOGICAL,
        engine_version=run.facts.version,
        system_identifier=run.facts.identity,
        position=backup_position(end, identified=run.facts.identity is not None),
        snapshot_time=end.at,
        parent=parent.id,
        base=parent.base,
        chain_length=parent.chain_length + 1,
        environment={
            **server_environment(run.facts),
            "entries": walk.count,
            "oplog": {"begin": format_ts(begin.ts), "end": str(end), "term": end.term},
        },
    )
    return captured, ()


def _obstacle(run: Run, parent: Parent, begin: Mark | None) -> str:
    """Why the oplog does not go on from there; empty where it does. A hole is never bridged."""
    if not run.facts.oplog:
        return f"{Reason.INCREMENTAL_UNSUPPORTED}: {run.facts.endpoint} has no oplog"
    if begin is None:
        return f"{Reason.NO_OPLOG}: backup {parent.id} was taken without an oplog"
    known = (parent.system_identifier, run.facts.identity)
    if None not in known and known[0] != known[1]:
        return f"{Reason.ANOTHER_SERVER}: {run.facts.endpoint} is not of the replica set that {parent.id} was taken of"
    first = oplog.oldest(run.client)
    if first is None or first > begin.ts:
        began = format_ts(first) if first else "nothing"
        return (
            f"{Reason.OPLOG_OVERRUN}: the oplog of {run.facts.endpoint} begins at {began}, behind {begin}, where "
            f"{parent.id} ends"
        )
    term = oplog.term_of(run.client, begin.ts)
    if term != begin.term:
        found = "has no such entry" if term is None else f"has it of term {term}"
        return (
            f"{Reason.OPLOG_DIVERGED}: {parent.id} ends with entry {begin} of term {begin.term}, and "
            f"{run.facts.endpoint} {found}: it was rolled back, or another server answers"
        )
    return ""


def _demand_replayable(commands: set[str]) -> None:
    unknown = sorted(commands - REPLAYED)
    if unknown:
        message = (
            f"the oplog holds commands that this release cannot replay: {', '.join(unknown)}; take a Full backup, "
            "which begins behind them"
        )
        raise UserFault(Reason.INCREMENTAL_UNSUPPORTED, message)
