"""A physical backup: streamed over the replication protocol from 15 on, by pg_basebackup through scratch on 14."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import pq

from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import Captured, Plan, Sink
from databosun.engines.postgresql.archives import STAGE, Archives
from databosun.engines.postgresql.basebackup14 import take_on_scratch
from databosun.engines.postgresql.connect import Session, open_replication
from databosun.engines.postgresql.environment import gather_environment, mark_kept
from databosun.engines.postgresql.incremental import Chain, decide_chain
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.replication import (
    BaseBackup,
    ChainBroken,
    Options,
    Point,
    ZstdAbsent,
    base_backup,
    hold_wal,
    identify_system,
)
from databosun.engines.postgresql.server import ServerFacts
from databosun.engines.postgresql.watch import Watch
from databosun.engines.postgresql.wire import Wire

FIRST_STREAMED = 15
_SLOT = "databosun_backup"


@dataclass(frozen=True, slots=True)
class _Taken:
    """A base backup in the sink, not yet described."""

    start: Point
    end: Point
    snapshot_time: datetime
    chain: Chain
    logical_bytes: int
    notes: tuple[str, ...]
    client_versions: Mapping[str, str]


def back_up_physical(session: Session, facts: ServerFacts, plan: Plan, sink: Sink) -> Captured:
    """Take a full or incremental; what could not be had as asked is said in the notes."""
    sink.progress("prepare")
    environment = gather_environment(session, facts)
    with Watch(session) as watch:
        if facts.major < FIRST_STREAMED:
            taken = _on_scratch(session, facts, plan, sink, watch)
        else:
            taken = _streamed(session, facts, plan, sink, watch)
        watch.pulse()
    environment, unknown = mark_kept(session, environment)
    return _captured(facts, plan, environment, replace(taken, notes=(*taken.notes, *unknown)))


def _pulse(sink: Sink, watch: Watch) -> Callable[[], None]:
    """What to look at while waiting for the server: a promotion, and whether the agent is to stop (the sink raises)."""

    def pulse() -> None:
        sink.progress(STAGE)
        watch.pulse()

    return pulse


def _on_scratch(session: Session, facts: ServerFacts, plan: Plan, sink: Sink, watch: Watch) -> _Taken:
    chain = decide_chain(plan.type, plan.parent, facts, timeline=facts.timeline)
    with Archives(sink) as archives:
        start, end, version = take_on_scratch(session, facts, plan, archives, _pulse(sink, watch))
        return _Taken(
            start, end, watch.instant_of(end.lsn), chain, archives.logical_bytes, (), {"pg_basebackup": version}
        )


def _streamed(session: Session, facts: ServerFacts, plan: Plan, sink: Sink, watch: Watch) -> _Taken:
    """Ask for the best there is, and for the next best where the server refuses before any data has come."""
    chain: Chain | None = None
    server_zstd = True
    notes: tuple[str, ...] = ()
    while True:
        with closing(open_replication(session)) as connection:
            wire = Wire(connection, deadline=plan.deadline, pulse=_pulse(sink, watch))
            chain = chain or decide_chain(plan.type, plan.parent, facts, timeline=identify_system(wire)[1].timeline)
            parent_manifest = chain.parent.engine_manifest if chain.parent else None
            try:
                return _one_stream(
                    wire, Options(plan.label, server_zstd, parent_manifest), facts, sink, watch, chain, notes
                )
            except ZstdAbsent:
                server_zstd = False
                notes = (
                    f"{Reason.SERVER_ZSTD_ABSENT}: the server was built without zstd, so the archives were compressed "
                    "by the backup's own pod",
                )
            except ChainBroken as broken:
                chain = Chain(None, f"{broken.reason}: {broken.said}; a Full was taken instead")


def _one_stream(
    wire: Wire, options: Options, facts: ServerFacts, sink: Sink, watch: Watch, chain: Chain, notes: tuple[str, ...]
) -> _Taken:
    objection = hold_wal(wire, f"{_SLOT}_{wire.backend_pid}")
    if objection:
        told = "raise max_replication_slots, or a long backup may fail with WalRemoved"
        notes += (f"{Reason.NO_TEMPORARY_SLOT}: no slot holds the WAL of this backup ({objection}); {told}",)
    with Archives(sink) as archives:
        backup: BaseBackup = base_backup(wire, options, archives)
        archives.seal(backup.manifest, segment_bytes=int(facts.settings["wal_segment_size"]))
        return _Taken(
            start=backup.start,
            end=backup.end,
            snapshot_time=watch.instant_of(backup.end.lsn),
            chain=chain,
            logical_bytes=archives.logical_bytes,
            notes=notes,
            client_versions={"libpq": _libpq_version()},
        )


def _captured(facts: ServerFacts, plan: Plan, environment: Mapping[str, Any], taken: _Taken) -> Captured:
    parent = taken.chain.parent
    notes = (*taken.notes, *((taken.chain.note,) if taken.chain.note else ()))
    captured = Captured(
        type=BackupType.FULL,
        method=Method.PHYSICAL,
        engine_version=facts.version,
        system_identifier=facts.system_identifier,
        position=Position(lsn=taken.end.lsn, start_lsn=taken.start.lsn, timeline=taken.end.timeline),
        snapshot_time=taken.snapshot_time,
        parent=None,
        base=None,
        chain_length=0,
        environment=environment,
        client_versions=taken.client_versions,
        notes=notes,
        logical_bytes=taken.logical_bytes,
    )
    if parent is None:
        return captured
    return replace(captured, type=plan.type, parent=parent.id, base=parent.base, chain_length=parent.chain_length + 1)


def _libpq_version() -> str:
    number = pq.version()
    return f"{number // 10000}.{number % 10000}"
