"""What the Job of one restore is told: into a volume, or into a running server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from databosun.api.drill import Check, Level
from databosun.api.restoretasks import BridgeTask, KnownErasure, RestoreTask, SelectionOrder
from databosun.api.targets import DatabaseTarget
from databosun.api.tiering import ThawOrder
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.restore import RestoreSpec
from databosun.domain.measured import backup_ref, recovery_point
from databosun.domain.requests import Named
from databosun.domain.runjobs import JobOrder
from databosun.domain.running import references

Mode = Literal["Restore", "Promote", "Discard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder(JobOrder):
    """What the Job of one restore is told of its own. It never talks to the source, which may be long gone; `target`:
    the running server that it restores into."""

    database: DatabaseTarget
    candidates: tuple[ChosenBackup, ...]
    until: TargetPoint
    checks: tuple[Check, ...] = ()
    level: Level = Level.RESTORE
    scratch_bytes: int | None = None
    target: DatabaseTarget | None = None
    erased: tuple[KnownErasure, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """What the Job is found by: the database that it restores into, and the storage."""
        return references(self.target.uid if self.target else None, None, self.storage_uid)


def volume_task(ref: Named, spec: RestoreSpec, order: RestoreOrder) -> RestoreTask:
    """Into a volume."""
    return RestoreTask(
        id=ref.name,
        candidates=[backup_ref(one) for one in order.candidates],
        claim=spec.target.named,
        until=recovery_point(order.until),
        replace=spec.overwrite == "Replace",
        reindex=spec.reindex,
        thaw=thaw_of(spec),
        checks=list(order.checks),
        level=order.level,
        erasures=spec.erasures == "Replay",
        erased=list(order.erased),
    )


def bridge_task(ref: Named, spec: RestoreSpec, order: RestoreOrder, target: DatabaseTarget, mode: Mode) -> BridgeTask:
    """Into a running server."""
    selection = spec.selection
    return BridgeTask(
        id=ref.name,
        uid=ref.uid,
        candidates=[backup_ref(one) for one in order.candidates],
        target=target,
        mode=mode,
        stage_first=spec.stage_first,
        selection=SelectionOrder(
            databases=list(selection.databases) if selection else [],
            tables=list(selection.tables or []) if selection else [],
        ),
        until=recovery_point(order.until),
        replace=spec.overwrite == "Replace",
        thaw=thaw_of(spec),
        checks=list(order.checks),
        level=order.level,
        erasures=spec.erasures == "Replay",
        erased=list(order.erased),
    )


def thaw_of(spec: RestoreSpec) -> ThawOrder | None:
    """What is to be thawed, where people asked for it."""
    return ThawOrder(speed=spec.thaw.speed, days=spec.thaw.days) if spec.thaw is not None else None
