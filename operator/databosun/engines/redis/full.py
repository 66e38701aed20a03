"""A full backup: the RDB of one moment, as a new replica would get it, checked and counted on its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import WorldFault
from databosun.domain.wal import format_lsn
from databosun.engines.base import Captured, Plan, Sink, Target
from databosun.engines.filelog import TIMELINE
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.log.place import piece_of
from databosun.engines.redis.rdb import RdbCheck
from databosun.engines.redis.rdbfacts import RdbFacts
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import ARTEFACT
from databosun.engines.redis.server import ServerFacts, gather_server, identity_of
from databosun.engines.redis.sync import Synced, full_sync
from databosun.engines.redis.topology import find_master

STAGE = "copy"
CATCH_UP_SECONDS = 20.0
LOOK_SECONDS = 0.1
WITH_TTL = " (with TTL)"


def back_up(target: Target, facts: ServerFacts, plan: Plan, sink: Sink) -> Captured:
    """Copy from the server of `facts`, which must be fit for it."""
    demand_fresh(facts)

    def pulse() -> None:
        sink.progress(STAGE)
        if datetime.now(UTC) >= plan.deadline:
            message = f"the run's deadline {plan.deadline.isoformat()} has passed; raise spec.deadline"
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message)

    sink.progress(STAGE)
    reached = reached_by(target, facts, pulse)
    check = RdbCheck(ARTEFACT, names=plan.fingerprints)
    with open_wire(target, facts.endpoint, pulse) as wire:
        writer = sink.open(ARTEFACT, compress=True, check=lambda: check)
        synced = full_sync(wire, facts, target.credentials.username, plan.deadline, writer.write)
        writer.finish()
    still = reached if reached and reached.replid == synced.replid else None
    instant = still.now if still else instant_of(facts, check.facts)
    return _captured(target, facts, plan, check.facts, synced, instant)


def demand_fresh(facts: ServerFacts) -> None:
    """WorldFault(ReplicaStale)."""
    if not facts.master and not facts.usable_replica:
        message = (
            f"the replica {facts.endpoint} has no link to its master, so its data may be of any age, and no other node "
            "can be asked; the next attempt looks anew"
        )
        raise WorldFault(Reason.REPLICA_STALE, message)


def reached_by(target: Target, facts: ServerFacts, pulse: Callable[[], None]) -> ServerFacts | None:
    """The master as it was, once the replica has all that it had then; None of a master, or where none can be asked.

    WorldFault(ReplicaStale): what a replica hears of its master may be old, however lately it heard it.
    """
    master = find_master(target, facts) if not facts.master else None
    if master is None:
        return None
    until = time.monotonic() + CATCH_UP_SECONDS
    with open_wire(target, facts.endpoint, pulse) as wire:
        while (behind := master.offset - gather_server(wire, target, facts.endpoint).offset) > 0:
            pulse()
            if time.monotonic() > until:
                message = (
                    f"the replica {facts.endpoint} lacks {behind} of the bytes that its master {master.endpoint} had "
                    f"streamed {CATCH_UP_SECONDS:.0f} s before; look at the network between them, and at its load"
                )
                raise WorldFault(Reason.REPLICA_STALE, message)
            time.sleep(LOOK_SECONDS)
    return master


def _captured(
    target: Target, facts: ServerFacts, plan: Plan, rdb: RdbFacts, synced: Synced, instant: datetime
) -> Captured:
    return Captured(
        type=BackupType.FULL,
        method=Method.PHYSICAL,
        engine_version=facts.version,
        system_identifier=identity_of(target),
        position=_position(identity_of(target), facts, plan, synced),
        snapshot_time=instant,
        parent=None,
        base=None,
        chain_length=0,
        environment=_environment(facts, rdb),
        objects=_objects(rdb),
        notes=_notes(facts, plan, rdb),
        logical_bytes=rdb.bytes,
    )


def _position(system: str, facts: ServerFacts, plan: Plan, synced: Synced) -> Position:
    """The point in the server's own terms, and where the shipped log has it, if it has."""
    position = Position(offset=f"{synced.replid}:{synced.offset}")
    found = piece_of(plan.log(system), facts, synced.replid, synced.offset)
    if found is None:
        return position
    begin, end = map(format_lsn, found)
    return position.model_copy(update={"start_lsn": begin, "lsn": end, "timeline": TIMELINE})


def instant_of(facts: ServerFacts, rdb: RdbFacts) -> datetime:
    """Every write up to it is in the backup. A replica whose master could not be asked may be behind by as long as it
    has not heard of it, and by what was on its way."""
    saved = datetime.fromtimestamp(int(rdb.aux["ctime"]), UTC) if rdb.aux.get("ctime", "").isdigit() else facts.now
    if facts.master:
        return saved
    return min(saved, facts.now) - timedelta(seconds=facts.silent_seconds)


def _environment(facts: ServerFacts, rdb: RdbFacts) -> Mapping[str, Any]:
    return {
        "product": facts.product,
        "rdb": {"magic": rdb.magic, "version": rdb.version, "checksummed": rdb.checksummed},
        "usedMemory": facts.memory,
        "functions": rdb.functions,
        "selected": int(rdb.aux.get("repl-stream-db", "0")),
        "databases": {str(number): {"keys": one.keys, "expires": one.expires} for number, one in rdb.databases.items()},
        "source": {"node": str(facts.endpoint), "role": "master" if facts.master else "replica"},
    }


def _objects(rdb: RdbFacts) -> tuple[ObjectCount, ...]:
    found = []
    for number, one in sorted(rdb.databases.items()):
        found.append(ObjectCount(name=f"db{number}", rows=one.keys, fingerprint=one.fingerprint))
        found.append(ObjectCount(name=f"db{number}{WITH_TTL}", rows=one.expires))
    return tuple(found)


def _notes(facts: ServerFacts, plan: Plan, rdb: RdbFacts) -> tuple[str, ...]:
    notes = []
    if plan.type is not BackupType.FULL:
        said = f"Redis has no {plan.type.value} backups; a Full was taken instead"
        notes.append(f"{Reason.INCREMENTAL_UNSUPPORTED}: {said}")
    if facts.master:
        notes.append(f"{Reason.FROM_MASTER}: {facts.endpoint} is the master; no replica that follows it could be asked")
    if not rdb.checksummed:
        said = "the server writes no checksum into its RDB (rdbchecksum no): only the structure was checked"
        notes.append(f"{Reason.NO_CHECKSUM}: {said}")
    if not plan.fingerprints:
        said = "no names were hashed (fingerprints: false in the policy), so that a copy is compared by counts only"
        notes.append(f"{Reason.FINGERPRINTS_OFF}: {said}")
    return tuple(notes)
