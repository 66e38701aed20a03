"""Backups: what is their own among runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.backup import FINAL_PHASES
from databosun.controllers import removal
from databosun.controllers.ordering import Ordered, gather_order
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenBackup
from databosun.controllers.seen import backup as parse_backup
from databosun.domain.backup import BACKUP_RUN, BackupFacts, decide_backup, remembered
from databosun.domain.interlock import Operation
from databosun.domain.plan import Plan
from databosun.domain.running import RunState
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key


class BackupController(RunController[SeenBackup, Ordered]):
    """Backups, each one a run."""

    resource = BACKUPS
    operation = Operation.BACKUP
    task = "backup"
    run_kind = BACKUP_RUN
    final_phases = FINAL_PHASES

    def parse(self, body: Mapping[str, Any]) -> SeenBackup:
        return parse_backup(body)

    async def gather(self, seen: SeenBackup, *, begins: bool) -> Ordered:
        return await gather_order(self._context, seen, with_history=begins)

    def remember(self, seen: SeenBackup, ordered: Ordered) -> Mapping[str, Any]:
        return remembered(seen.spec, ordered.database_name)

    def decide(self, seen: SeenBackup, ordered: Ordered, state: RunState, now: datetime) -> Plan:
        return decide_backup(BackupFacts(state, seen.spec, seen.status, ordered.order, ordered.database_name), now)

    def dependants(self, seen: SeenBackup) -> Iterable[Key]:
        namespace, spec = seen.meta.namespace, seen.spec
        if spec.database_ref is not None:
            yield Key("Database", namespace, spec.database_ref.name)
        if spec.policy_ref is not None:
            yield Key("BackupPolicy", namespace, spec.policy_ref.name)

    async def going(self, seen: SeenBackup) -> datetime | None:
        return await removal.reconcile(self._context, self._applier, seen)
