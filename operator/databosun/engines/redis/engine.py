"""The Redis engine: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.domain.errors import UserFault
from databosun.engines.base import Captured, Engine, Plan, RestoreDoc, Sink, Target
from databosun.engines.recovery import Copy, RecoveryPlan, Source
from databosun.engines.redis.checks.artefacts import inspect_artefacts
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.full import back_up
from databosun.engines.redis.hooks import run_command_hook
from databosun.engines.redis.preflight import examine, examine_shards
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import read_backup, shards_of
from databosun.engines.redis.recovery.handover import hand_over_steps
from databosun.engines.redis.recovery.rdb import recover_rdb, room_for
from databosun.engines.redis.restore_doc import restore_markdown
from databosun.engines.redis.server import ServerFacts, identity_of
from databosun.engines.redis.shards.doc import shards_markdown
from databosun.engines.redis.shards.full import back_up_shards
from databosun.engines.redis.shards.handover import hand_over_shards
from databosun.engines.redis.shards.look import find_shards
from databosun.engines.redis.shards.recover import inspect_shards, recover_shards
from databosun.engines.redis.topology import choose_source


class Redis:
    """Redis 6.0 to 7.2, and Valkey 7.2 to 9.1."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the node a backup would use; raises where none can be reached or logged in to."""
        with guarded("looking at the server", target.credentials.username):
            facts = choose_source(target)
            if facts.cluster:
                return _probe_shards(target, facts, set(methods), incremental=incremental)
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
            if facts.cluster:
                shards = find_shards(target, facts, lambda: sink.progress("connect"))
                sources = [one.facts for one in shards.sources]
                findings = examine_shards(target, sources, {plan.method}, incremental=incremental)
                _demand(plan.method, findings)
                captured = back_up_shards(target, shards, plan, sink)
            else:
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
        shards = shards_of(doc.manifest)
        return shards_markdown(doc, shards) if shards else restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore needs."""
        return sum(map(room_for, shards_of(chain[-1]) or (read_backup(chain[-1]),)))

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Demand that the RDB is whole, and holds the keys that the manifest names."""
        shards = shards_of(chain[-1])
        if shards:
            return inspect_shards(shards, source, pulse)
        return inspect_artefacts(read_backup(chain[-1]), source, pulse)

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """How a StatefulSet takes the volume."""
        shards = shards_of(manifest)
        return hand_over_shards(shards, data) if shards else hand_over_steps(read_backup(manifest), data)

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Load the RDB into a server of our own; the shards of a cluster one after the other."""
        return recover_shards(plan, source) if shards_of(plan.chain[-1]) else recover_rdb(plan, source)


def _probe_shards(target: Target, facts: ServerFacts, methods: Collection[Method], *, incremental: bool) -> ProbeResult:
    sources = [one.facts for one in find_shards(target, facts).sources]
    return ProbeResult(
        reachable=True,
        host=str(facts.endpoint),
        engine_version=facts.version,
        system_identifier=identity_of(target),
        in_recovery=not any(one.master for one in sources),
        bytes=sum(one.memory for one in sources),
        findings=examine_shards(target, sources, methods, incremental=incremental),
        now=facts.now,
    )


def _demand(method: Method, findings: Sequence[Finding]) -> None:
    obstacle = next((finding for finding in findings if method.value in finding.blocks), None)
    if obstacle is not None:
        fix = f"; to mend it: {obstacle.fix}" if obstacle.fix else ""
        raise UserFault(obstacle.reason, f"a backup is not possible: {obstacle.message}{fix}")


ENGINE: Engine = Redis()
