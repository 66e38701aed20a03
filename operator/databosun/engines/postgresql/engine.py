"""The PostgreSQL engine: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from databosun.api.result import ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.engines.base import Captured, Engine, Plan, RestoreDoc, Sink, Target
from databosun.engines.choosing import choose_method
from databosun.engines.comparing import Compared, CompareScope
from databosun.engines.postgresql.checks.artefacts import inspect_artefacts
from databosun.engines.postgresql.choose import begins_too_early
from databosun.engines.postgresql.compare import compare_with_copy
from databosun.engines.postgresql.connect import Session, choose_endpoint
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.hooks import run_sql_hook
from databosun.engines.postgresql.logical import back_up_logical
from databosun.engines.postgresql.physical import back_up_physical
from databosun.engines.postgresql.preflight import examine
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.facts import read_backup
from databosun.engines.postgresql.recovery.handover import hand_over_steps
from databosun.engines.postgresql.recovery.logical import recover_logical, room_for_dump
from databosun.engines.postgresql.recovery.physical import recover_physical
from databosun.engines.postgresql.recovery.place import room_for
from databosun.engines.postgresql.restore_doc import restore_markdown
from databosun.engines.postgresql.server import ServerFacts, gather_server
from databosun.engines.recovery import Copy, RecoveryPlan, Source


class PostgreSQL:
    """PostgreSQL 14 to 18."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the server a backup would use; raises where it cannot be reached or logged in to."""
        with guarded("looking at the server"):
            session = Session(target, choose_endpoint(target, prefer_standby=True))
            facts = gather_server(session)
            findings = examine(session, facts, set(methods), incremental=incremental)
        return ProbeResult(
            reachable=True,
            host=str(session.endpoint),
            engine_version=facts.version,
            system_identifier=facts.system_identifier,
            in_recovery=facts.in_recovery,
            bytes=facts.bytes,
            findings=findings,
            now=facts.now,
        )

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one backup from a replica where one is fit."""
        with guarded("taking a backup"):
            sink.progress("connect")
            session, facts, why = _choose_source(target, plan)
            incremental = plan.type is not BackupType.FULL
            findings = examine(session, facts, {plan.method}, incremental=incremental)
            choice = choose_method(plan.method, target.database.database, findings)
            take = back_up_physical if choice.method is Method.PHYSICAL else back_up_logical
            captured = take(session, facts, plan, sink)
        warnings = tuple(
            f"{found.reason}: {found.message}" for found in findings if not found.blocks and found.reason in _TOLD
        )
        return replace(captured, notes=(*choice.notes, *why, *captured.notes, *warnings))

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Run one `sql` hook within its timeout."""
        with guarded(f"running hook {hook.name}"):
            run_sql_hook(target, hook)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md."""
        return restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore needs."""
        backups = [read_backup(manifest) for manifest in chain]
        return room_for_dump(backups[-1]) if backups[-1].method is Method.LOGICAL else room_for(backups)

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Demand that every artefact is whole, and covers what the server's own manifest names."""
        return inspect_artefacts([read_backup(manifest) for manifest in chain], source, pulse)

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """How a StatefulSet or CloudNativePG takes the volume."""
        return hand_over_steps(read_backup(manifest), data)

    def compare(self, target: Target, copy: Copy, scope: CompareScope, pulse: Callable[[], None]) -> Compared:
        """Compare the server's tables with those of a copy."""
        return compare_with_copy(target, copy, scope, pulse)

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Restore a chain or a dump into a server of our own."""
        logical = Method(plan.chain[-1]["method"]) is Method.LOGICAL
        return recover_logical(plan, source) if logical else recover_physical(plan, source)


def _choose_source(target: Target, plan: Plan) -> tuple[Session, ServerFacts, tuple[str, ...]]:
    """Whom to read, and why it is no replica where one would do otherwise."""
    session = Session(target, choose_endpoint(target, prefer_standby=True), plan.deadline)
    facts = gather_server(session)
    if plan.method is Method.LOGICAL or not begins_too_early(facts, plan.log_begin):
        return session, facts, ()
    primary = Session(target, choose_endpoint(target, prefer_standby=False), plan.deadline)
    if primary.endpoint == session.endpoint:
        return session, facts, ()
    note = (
        f"{Reason.REPLICA_TOO_OLD}: {primary.endpoint} was read, since a backup of {session.endpoint} would begin at "
        f"{facts.redo_lsn}, before the shipped log ({plan.log_begin}), which could then not be replayed onto it"
    )
    return primary, gather_server(primary), (note,)


# Findings that belong to the backup itself, not only to the server: what it does not hold.
_TOLD = frozenset({Reason.SUBSCRIPTIONS_NOT_DUMPED, Reason.SETTINGS_HIDDEN})

ENGINE: Engine = PostgreSQL()
