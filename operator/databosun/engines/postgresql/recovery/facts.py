"""What a restore must know of a backup, from its manifest, and what forbids to restore it here."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import UserFault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.tools import find_tool

_TABLESPACE = re.compile(r"([0-9]+)\.tar\.zst")
# Data of these cannot be read without them. Everything else that was preloaded is left out: schedulers and workers
# would act, and a library that only watches is not needed.
NEEDED_TO_READ = frozenset({"timescaledb", "citus", "orioledb", "pg_tde"})
_QUIET = {"timescaledb": {"timescaledb.max_background_workers": "0", "timescaledb.telemetry_level": "off"}}


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup of a chain."""

    id: str
    method: Method
    version: str
    system_identifier: str | None
    superuser: str | None
    end_lsn: str | None
    start_lsn: str | None
    timeline: int | None
    artefacts: tuple[str, ...]
    logical_bytes: int
    databases: tuple[Mapping[str, Any], ...]
    preloaded: tuple[str, ...] = ()
    arch: str | None = None
    block_size: str | None = None
    tablespaces: tuple[int, ...] = ()
    objects: Mapping[str, tuple[int, str | None]] = field(default_factory=dict)
    schema_hash: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    tablespace_paths: Mapping[int, str] = field(default_factory=dict)

    @property
    def major(self) -> int:
        """The server's major version."""
        return int(self.version.split(".", 1)[0])


def read_backup(manifest: Mapping[str, Any]) -> Backup:
    """The facts in a manifest (its JSON form)."""
    environment = manifest.get("environment") or {}
    position = manifest.get("position") or {}
    names = tuple(str(one["name"]) for one in manifest["artefacts"])
    spaces = {int(one["oid"]): str(one["location"]) for one in environment.get("tablespaces") or ()}
    settings = {str(key): str(value) for key, value in (environment.get("settings") or {}).items()}
    return Backup(
        id=str(manifest["id"]),
        method=Method(manifest["method"]),
        version=str(manifest["database"]["engineVersion"]),
        system_identifier=manifest["database"].get("systemIdentifier"),
        superuser=environment.get("bootstrapSuperuser"),
        end_lsn=position.get("lsn"),
        start_lsn=position.get("startLsn"),
        timeline=position.get("timeline"),
        artefacts=names,
        logical_bytes=int(manifest["logicalBytes"]),
        databases=tuple(environment.get("databases") or ()),
        preloaded=tuple(environment.get("preload") or ()),
        arch=environment.get("arch"),
        block_size=settings.get("block_size"),
        tablespaces=tuple(int(match[1]) for name in names if (match := _TABLESPACE.fullmatch(name))),
        objects={str(one["name"]): (int(one["rows"]), one.get("fingerprint")) for one in manifest.get("objects") or ()},
        schema_hash=manifest.get("schemaHash"),
        settings=settings,
        tablespace_paths=spaces,
    )


def demand_restorable(backup: Backup) -> None:
    """UserFault(WrongArchitecture, PreloadMissing) before anything is fetched."""
    here = platform.machine()
    if backup.method is Method.PHYSICAL and backup.arch and backup.arch != here:
        message = (
            f"backup {backup.id} holds the files of a server on {backup.arch}, and this node is {here}: physical files "
            f"cannot be read there; set podTemplate.nodeSelector kubernetes.io/arch"
        )
        raise UserFault(Reason.WRONG_ARCHITECTURE, message)
    missing = [name for name in needed_libraries(backup.preloaded) if not _has_library(name)]
    if missing:
        message = (
            f"the data of backup {backup.id} cannot be read without {', '.join(missing)}, which this runner image does "
            "not have; name an image that has it in Database.spec.runner.image"
        )
        raise UserFault(Reason.PRELOAD_MISSING, message)


def needed_libraries(preloaded: Sequence[str]) -> tuple[str, ...]:
    """What of the original's shared_preload_libraries a copy must load."""
    return tuple(name for name in preloaded if library_name(name) in NEEDED_TO_READ)


def quiet_settings(preloaded: Sequence[str]) -> dict[str, str]:
    """What keeps the workers of those libraries from acting."""
    return {key: value for name in preloaded for key, value in _QUIET.get(library_name(name), {}).items()}


def library_name(name: str) -> str:
    """`$libdir/timescaledb.so` as `timescaledb`."""
    return Path(name).name.removesuffix(".so")


def _has_library(name: str) -> bool:
    home = find_tool("postgres").parent.parent
    return any(home.glob(f"lib*/**/{library_name(name)}*.so"))
