"""The engines of MariaDB and MySQL: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.base import Captured, Engine, Plan, RestoreDoc, Sink, Target
from databosun.engines.choosing import choose_method
from databosun.engines.mysql.checks.artefacts import inspect_artefacts
from databosun.engines.mysql.connect import Session
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.hooks import run_sql_hook
from databosun.engines.mysql.incremental import back_up_incremental
from databosun.engines.mysql.logical import back_up_logical
from databosun.engines.mysql.physical.findings import unsupported
from databosun.engines.mysql.physical.take import back_up_physical
from databosun.engines.mysql.preflight import examine
from databosun.engines.mysql.recovery.chain import recover_chain
from databosun.engines.mysql.recovery.facts import read_backup, read_chain, room_for
from databosun.engines.mysql.recovery.handover import hand_over_steps
from databosun.engines.mysql.restore_doc import restore_markdown
from databosun.engines.mysql.server import choose_session, gather_server
from databosun.engines.recovery import Copy, RecoveryPlan, Source

# Findings that belong to the backup itself, not only to the server: what it does not hold.
_TOLD = frozenset({Reason.HISTORY_NOT_DUMPED, Reason.NOT_TRANSACTIONAL})


class SqlEngine:
    """MariaDB 10.6 and later, or MySQL 8.0 and later: which one, each target and each backup says for itself."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the server a backup would use; raises where it cannot be reached or logged in to.

        Whether a policy allows what is not consistent is not asked here: such tables are a warning.
        """
        with guarded("looking at the server"):
            session = choose_session(target)
            facts = gather_server(session)
            findings = examine(session, facts, set(methods), incremental=incremental, consistency="Partial")
        return ProbeResult(
            reachable=True,
            host=str(session.endpoint),
            engine_version=facts.version,
            system_identifier=facts.system_identifier,
            in_recovery=facts.replica is not None,
            bytes=facts.bytes,
            findings=findings,
            now=facts.now,
        )

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one backup, from a replica where there is one that is fit."""
        with guarded("taking a backup"):
            sink.progress("connect")
            session = choose_session(target, plan.deadline)
            facts = gather_server(session)
            incremental = plan.type is not BackupType.FULL
            findings = examine(session, facts, {plan.method}, incremental=incremental, consistency=plan.consistency)
            choice = choose_method(plan.method, target.database.database, [*findings, *_no_files(session)])
            refused: tuple[str, ...] = ()
            captured = None
            if incremental:
                captured, refused = back_up_incremental(session, facts, plan, sink)
            if captured is None:
                take = back_up_physical if choice.method is Method.PHYSICAL else back_up_logical
                captured = take(session, facts, plan, sink)
        told = tuple(
            f"{one.reason}: {one.message}"
            for one in findings
            if not one.blocks and one.reason in _TOLD and captured.method is Method.LOGICAL
        )
        return replace(captured, notes=(*choice.notes, *refused, *captured.notes, *told))

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Run one `sql` hook within its timeout."""
        with guarded(f"running hook {hook.name}"):
            run_sql_hook(target, hook)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md."""
        return restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore needs."""
        return room_for(read_chain(chain))

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Demand that every artefact is whole."""
        return inspect_artefacts(read_chain(chain), source, pulse)

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """How a StatefulSet takes the volume."""
        return hand_over_steps(read_backup(manifest), data)

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Restore a chain into a server of our own."""
        return recover_chain(plan, source)


def _no_files(session: Session) -> list[Finding]:
    """Why Auto is not Physical where the data directory is out of reach; of an explicit Physical the preflight says
    it."""
    if session.dialect.copies_files and session.target.database.data_mount is not None:
        return []
    return [unsupported(session.target.database)]


ENGINE: Engine = SqlEngine()
