"""Backups for tests of retention and deletion, told in one line each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy
from databosun.domain.closure import BackupFact

FULL, INCREMENTAL, DIFFERENTIAL = BackupType.FULL, BackupType.INCREMENTAL, BackupType.DIFFERENTIAL


def at(text: str) -> datetime:
    """An instant in UTC, such as `2026-03-01` or `2026-03-01T02:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backup(id: str, when: datetime | str, *, on: BackupFact | None = None, **more: Any) -> BackupFact:
    """A good backup of database `db`: a full, or an incremental `on` another one; `more` overrides any field."""
    taken = at(when) if isinstance(when, str) else when
    fields: dict[str, Any] = {
        "id": id,
        "database_uid": "db" if on is None else on.database_uid,
        "system_identifier": "sys" if on is None else on.system_identifier,
        "type": FULL if on is None else INCREMENTAL,
        "at": taken,
        "succeeded": True,
        "proven": False,
        "held": False,
        "locked_until": None,
        "parent": None if on is None else on.id,
        "base": None if on is None else (on.base or on.id),
        "deletion_policy": DeletionPolicy.DELETE,
        "finished_at": taken,
        "in_flight": False,
    }
    return BackupFact(**{**fields, **more})
