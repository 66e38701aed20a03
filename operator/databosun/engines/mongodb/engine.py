"""The engine of MongoDB: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Captured, Engine, Plan, RestoreDoc, Sink, Target
from databosun.engines.mongodb.checks.artefacts import inspect_artefacts
from databosun.engines.mongodb.connect import Client, opened
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.full import Run, back_up_full
from databosun.engines.mongodb.hooks import run_command_hook
from databosun.engines.mongodb.incremental import back_up_incremental
from databosun.engines.mongodb.preflight import examine
from databosun.engines.mongodb.recovery.facts import read_backup, read_chain, room_for
from databosun.engines.mongodb.recovery.handover import hand_over_steps
from databosun.engines.mongodb.recovery.logical import recover_logical
from databosun.engines.mongodb.restore_doc import restore_markdown
from databosun.engines.mongodb.server import choose_source, read_more
from databosun.engines.recovery import Copy, RecoveryPlan, Source

# Findings that belong to the backup itself, not only to the server.
_TOLD = frozenset({Reason.WHOLE_SERVER})


class MongoDB:
    """MongoDB 5.0 and later: replica sets, and servers that stand alone where a policy allows it."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the member a backup would use; raises where none can be reached or logged in to.

        Whether a policy allows what is not of one instant is not asked here: a lone server is a warning.
        """
        with guarded("looking at the server", target.credentials.username):
            chosen = choose_source(target)
            with opened(target, chosen.endpoint) as client:
                facts = read_more(client, chosen)
                findings = examine(client, target, facts, set(methods), incremental=incremental, strict=False)
                size = None if any(one.blocks for one in findings) else _size(client)
        return ProbeResult(
            reachable=True,
            host=str(facts.endpoint),
            engine_version=facts.version,
            system_identifier=facts.identity,
            in_recovery=facts.usable_secondary,
            bytes=size,
            findings=findings,
            now=facts.now,
        )

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one backup, from a secondary where there is one that follows."""
        user = target.credentials.username
        with guarded("taking a backup", user):
            sink.progress("connect")
            chosen = choose_source(target)
            with opened(target, chosen.endpoint) as client:
                facts = read_more(client, chosen)
                incremental = plan.type is not BackupType.FULL
                strict = plan.consistency == "Strict"
                findings = examine(client, target, facts, {plan.method}, incremental=incremental, strict=strict)
                _demand_possible(plan.method, findings)
                run = Run(client, facts, plan, sink)
                captured, refused = back_up_incremental(run) if incremental else (None, ())
                captured = captured or back_up_full(run)
        told = tuple(f"{one.reason}: {one.message}" for one in findings if one.reason in _TOLD)
        return replace(captured, notes=(*_method_note(plan.method), *refused, *captured.notes, *told))

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Run the command of one `sql` hook within its timeout."""
        with guarded(f"running hook {hook.name}", target.credentials.username):
            run_command_hook(target, hook)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md."""
        return restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore needs."""
        return room_for(read_chain(chain))

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Demand that every artefact is whole, and that the oplog goes on from one backup to the next."""
        return inspect_artefacts(read_chain(chain), source, pulse)

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """How a StatefulSet takes the volume."""
        return hand_over_steps(read_backup(manifest), data)

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Restore a chain into a server of our own."""
        return recover_logical(plan, source)


def _size(client: Client) -> int:
    return int(client.admin.command("listDatabases").get("totalSize") or 0)


def _demand_possible(method: Method, findings: Sequence[Finding]) -> None:
    obstacle = next((one for one in findings if method.value in one.blocks), None)
    if obstacle is not None:
        fix = f"; to mend it: {obstacle.fix}" if obstacle.fix else ""
        raise UserFault(obstacle.reason, f"a backup is not possible: {obstacle.message}{fix}")


def _method_note(method: Method) -> tuple[str, ...]:
    if method is not Method.AUTO:
        return ()
    return (f"{Reason.AUTO_METHOD}: Logical, because this release takes no physical backups of MongoDB",)


ENGINE: Engine = MongoDB()
