"""The Redis engine: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.domain.errors import UserFault
from databosun.engines.base import Captured, Copy, Engine, Plan, RecoveryPlan, RestoreDoc, Sink, Source, Target
from databosun.engines.redis.checks.artefacts import inspect_artefacts
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.full import back_up
from databosun.engines.redis.hooks import run_command_hook
from databosun.engines.redis.preflight import examine
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import read_backup
from databosun.engines.redis.recovery.handover import hand_over_steps
from databosun.engines.redis.recovery.rdb import recover_rdb, room_for
from databosun.engines.redis.restore_doc import restore_markdown
from databosun.engines.redis.server import identity_of
from databosun.engines.redis.topology import choose_source


class Redis:
    """Redis 6.0 to 7.2, and Valkey 7.2 to 9.1."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the node a backup would use; raises where none can be reached or logged in to."""
        with guarded("looking at the server", target.credentials.username):
            facts = choose_source(target)
            findings = examine(target, facts, set(methods), incremental=incremental)
        return ProbeResult(
            reachable=True,
            host=str(facts.endpoint),
            engine_version=facts.version,
            system_identifier=identity_of(target),
            in_recovery=not facts.master,
            bytes=facts.memory,
            findings=findings,
            now=facts.now,
        )

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one backup from a replica where there is one."""
        with guarded("taking a backup", target.credentials.username):
            sink.progress("connect")
            facts = choose_source(target, lambda: sink.progress("connect"))
            incremental = plan.type is not BackupType.FULL
            findings = examine(target, facts, {plan.method}, incremental=incremental)
            _demand(plan.method, findings)
            captured = back_up(target, facts, plan, sink)
        told = tuple(f"{one.reason}: {one.message}" for one in findings if one.reason == Reason.WHOLE_SERVER)
        return replace(captured, notes=(*captured.notes, *told))

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Run the commands of one `sql` hook, each within its timeout."""
        with guarded(f"running hook {hook.name}", target.credentials.username):
            run_command_hook(target, hook)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md."""
        return restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore needs."""
        return room_for(read_backup(chain[-1]))

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Demand that the RDB is whole, and holds the keys that the manifest names."""
        return inspect_artefacts(read_backup(chain[-1]), source, pulse)

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """How a StatefulSet takes the volume."""
        return hand_over_steps(read_backup(manifest), data)

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Load the RDB into a server of our own."""
        return recover_rdb(plan, source)


def _demand(method: Method, findings: Sequence[Finding]) -> None:
    obstacle = next((finding for finding in findings if method.value in finding.blocks), None)
    if obstacle is not None:
        fix = f"; to mend it: {obstacle.fix}" if obstacle.fix else ""
        raise UserFault(obstacle.reason, f"a backup is not possible: {obstacle.message}{fix}")


ENGINE: Engine = Redis()
