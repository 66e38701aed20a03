"""How much of what is stored was ever restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.report import Coverage, ReportDrill, UndrilledBackup


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """A backup that exists. `proven`: the cluster remembers a drill that proved it, whenever that was."""

    namespace: str
    database: str
    name: str
    completed_at: datetime
    proven: bool = False


def coverage_of(backups: Sequence[KnownBackup] | None, trusted: Sequence[ReportDrill]) -> Coverage:
    """Of the backups that there are, those that a trusted drill was of."""
    if backups is None:
        return Coverage(known=False)
    tried = {one.backup for one in trusted}
    good = {one.backup for one in trusted if one.proven}
    undrilled = sorted(
        (one for one in backups if one.name not in tried and not one.proven),
        key=lambda one: (one.completed_at, one.name),
    )
    oldest = UndrilledBackup(name=undrilled[0].name, completed_at=undrilled[0].completed_at) if undrilled else None
    return Coverage(
        known=True,
        backups=len(backups),
        drilled=len(backups) - len(undrilled),
        proven=sum(one.proven or one.name in good for one in backups),
        oldest_undrilled=oldest,
    )
