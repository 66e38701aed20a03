"""What a restore must know of a backup, from its manifest, and what forbids to restore it here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mysql.dialect import Dialect, dialect_of
from databosun.engines.mysql.environment import copied_settings
from databosun.engines.mysql.physical.program import UNPACKER, backup_program
from databosun.engines.mysql.positions import BEGAN
from databosun.engines.mysql.server import series_of
from databosun.engines.mysql.tools import find_tool, server_program

# Accounts that log in through them cannot be made without them. Others would act in the copy, or refuse its passwords.
_LOADED_TYPES = frozenset({"AUTHENTICATION", "DATA TYPE", "FUNCTION"})


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup of a chain."""

    id: str
    dialect: Dialect
    type: BackupType
    method: Method
    version: str
    artefacts: tuple[str, ...]
    logical_bytes: int
    data_bytes: int
    schemas: tuple[str, ...]
    accounts: bool
    settings: Mapping[str, str]
    plugins: tuple[Mapping[str, Any], ...]
    tablespaces: Mapping[str, int]
    objects: Mapping[str, tuple[int, str | None]]
    schema_hash: str | None
    position: Position
    last_commit: datetime | None
    log_began: int | None

    @property
    def logged(self) -> str:
        """What lies before its position, as the log itself says it (logged.py)."""
        held = self.position.gtid or ""
        return held if self.log_began is None else f"{held}@{self.log_began}"

    @property
    def series(self) -> tuple[int, int]:
        """The server's release series."""
        return series_of(self.version)


def read_backup(manifest: Mapping[str, Any]) -> Backup:
    """The facts in a manifest (its JSON form)."""
    environment = manifest.get("environment") or {}
    dialect = dialect_of(manifest["database"]["engine"])
    last = environment.get("lastCommit")
    return Backup(
        id=str(manifest["id"]),
        dialect=dialect,
        type=BackupType(manifest["type"]),
        method=Method(manifest["method"]),
        version=str(manifest["database"]["engineVersion"]),
        artefacts=tuple(str(one["name"]) for one in manifest["artefacts"]),
        logical_bytes=int(manifest.get("logicalBytes") or sum(int(one["bytes"]) for one in manifest["artefacts"])),
        data_bytes=int(environment.get("bytes") or 0),
        schemas=tuple(environment.get("schemas") or ()),
        accounts=bool(environment.get("accounts")),
        settings=copied_settings(environment, dialect, files=manifest["method"] == Method.PHYSICAL),
        plugins=tuple(environment.get("plugins") or ()),
        tablespaces=dict(environment.get("tablespaces") or {}),
        objects={str(one["name"]): (int(one["rows"]), one.get("fingerprint")) for one in manifest.get("objects") or ()},
        schema_hash=manifest.get("schemaHash"),
        position=Position.model_validate(manifest.get("position") or {}),
        last_commit=datetime.fromisoformat(last) if last else None,
        log_began=environment.get(BEGAN),
    )


def read_chain(chain: Sequence[Mapping[str, Any]]) -> tuple[Backup, ...]:
    """Base first. UserFault where it does not begin with a full."""
    backups = tuple(read_backup(manifest) for manifest in chain)
    if backups[0].type is not BackupType.FULL:
        raise UserFault(Reason.PARENT_MISSING, f"the chain begins with {backups[0].id}, which is no full backup")
    return backups


def demand_restorable(backup: Backup) -> None:
    """UserFault(WrongToolVersion, PreloadMissing, ToolMissing) before anything is fetched."""
    server_program(backup.dialect, backup.series)
    if backup.method is Method.PHYSICAL:
        backup_program(backup.dialect, backup.series)
        find_tool(UNPACKER, backup.dialect)
    if not backup.accounts:
        return
    missing = [str(one["library"]) for one in backup.plugins if _needed(one) and not _has(backup, str(one["library"]))]
    if missing:
        message = (
            f"accounts of backup {backup.id} need the plugins {', '.join(missing)}, which this runner image does not "
            "have; name an image that has them in Database.spec.runner.image"
        )
        raise UserFault(Reason.PRELOAD_MISSING, message)


def loaded_plugins(backup: Backup) -> tuple[str, ...]:
    """Files of plugins that a copy with accounts loads."""
    return tuple(dict.fromkeys(str(one["library"]) for one in backup.plugins if _needed(one) and backup.accounts))


def left_plugins(backup: Backup) -> tuple[str, ...]:
    """Names of plugins that a copy does without."""
    return tuple(str(one["name"]) for one in backup.plugins if not (_needed(one) and backup.accounts))


def room_for(backups: Sequence[Backup]) -> int:
    """Bytes at the place, at most: tables as large as they were, or as their dump where that is larger, the server's
    own files, and the log that is replayed."""
    base, others = backups[0], backups[1:]
    replayed = sum(one.logical_bytes for one in others)
    return int(max(base.data_bytes, base.logical_bytes) * 1.5) + 4 * replayed + 1024**3


def _needed(plugin: Mapping[str, Any]) -> bool:
    return plugin.get("type") in _LOADED_TYPES


def plugin_file(dialect: Dialect, library: str) -> Path | None:
    """Where this image has a plug-in; None where it has not."""
    folders = (os.environ.get(dialect.plugin_environment), *dialect.plugin_folders)
    found = (Path(folder, library) for folder in folders if folder)
    return next((path for path in found if path.is_file()), None)


def _has(backup: Backup, library: str) -> bool:
    return plugin_file(backup.dialect, library) is not None
