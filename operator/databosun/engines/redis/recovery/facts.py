"""What a restore must know of a backup, from its manifest, and what forbids to restore it here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from databosun.api.quantities import humanize_bytes
from databosun.domain.errors import UserFault
from databosun.engines.redis.cluster import Ranges, parse_ranges
from databosun.engines.redis.reasons import Reason

ARTEFACT = "dump.rdb.zst"
# The server itself, its buffers, and what the allocator loses; the agent beside it.
_OWN_BYTES = 128 * 1024 * 1024
_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `counts`: keys and keys with a time to live, by database; `names`: fingerprints, where taken.

    `offset`, `lsn`: where it ends in its server's history, and in the shipped log, which is needed from `start_lsn` on.
    `selected`: the database that the next command there goes to. `slots`: of a shard of a cluster, whose `folder` below
    the data it has to itself; `strays`: keys that lay outside of them already when it was taken.
    """

    id: str
    product: str
    version: str
    magic: str
    rdb_version: int
    offset: str | None
    start_lsn: str | None
    lsn: str | None
    logical_bytes: int
    memory: int
    counts: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    functions: int = 0
    selected: int = 0
    snapshot_time: str = ""
    artefact: str = ARTEFACT
    folder: str = ""
    slots: Ranges = ()
    strays: int = 0

    @property
    def label(self) -> str:
        """Product and version."""
        return f"{self.product} {self.version}"


def read_backup(manifest: Mapping[str, Any]) -> Backup:
    """The facts in a manifest (its JSON form)."""
    environment: Mapping[str, Any] = manifest.get("environment") or {}
    rdb: Mapping[str, Any] = environment.get("rdb") or {}
    databases: Mapping[str, Any] = environment.get("databases") or {}
    objects = manifest.get("objects") or ()
    logical = manifest.get("logicalBytes")
    return Backup(
        id=str(manifest["id"]),
        product=str(environment.get("product") or "Redis"),
        version=str(manifest["database"]["engineVersion"]),
        magic=str(rdb.get("magic") or "REDIS"),
        rdb_version=int(rdb.get("version") or 0),
        offset=(manifest.get("position") or {}).get("offset"),
        start_lsn=(manifest.get("position") or {}).get("startLsn"),
        lsn=(manifest.get("position") or {}).get("lsn"),
        logical_bytes=int(logical if logical is not None else sum(int(one["bytes"]) for one in manifest["artefacts"])),
        memory=int(environment.get("usedMemory") or 0),
        counts={int(number): (int(one["keys"]), int(one["expires"])) for number, one in databases.items()},
        names={number: str(one["fingerprint"]) for one in objects if (number := _number(one)) is not None},
        functions=int(environment.get("functions") or 0),
        selected=max(0, int(environment.get("selected") or 0)),
        snapshot_time=str(manifest.get("snapshotTime") or ""),
    )


def shards_of(manifest: Mapping[str, Any]) -> tuple[Backup, ...]:
    """Each shard of a cluster's backup as a backup of its own; none where it is of a single server."""
    whole = read_backup(manifest)
    found: Sequence[Mapping[str, Any]] = (manifest.get("environment") or {}).get("shards") or ()
    return tuple(
        replace(
            whole,
            product=str(one["product"]),
            version=str(one["version"]),
            magic=str(one["rdb"]["magic"]),
            rdb_version=int(one["rdb"]["version"]),
            offset=f"{one['replid']}:{one['offset']}",
            logical_bytes=int(one["logicalBytes"]),
            memory=int(one["usedMemory"]),
            counts={int(number): (int(db["keys"]), int(db["expires"])) for number, db in one["databases"].items()},
            names={int(number): str(db["names"]) for number, db in one["databases"].items() if db.get("names")},
            functions=int(one["functions"]),
            artefact=shard_artefact(slots),
            folder=shard_artefact(slots).partition("/")[0],
            slots=slots,
            strays=int(one["strays"]),
        )
        for one in found
        for slots in [parse_ranges(str(one["slots"]))]
    )


def shard_artefact(slots: Ranges) -> str:
    """Where a shard's RDB is, by its lowest slot."""
    return f"shard-{slots[0][0]:05d}/{ARTEFACT}"


def same_format(backup: Backup, file: Path) -> bool:
    """Whether an RDB file is of the version that the backup's own server writes."""
    expected = f"{backup.magic}{backup.rdb_version:0{9 - len(backup.magic)}}".encode()
    with file.open("rb") as opened:
        return opened.read(len(expected)) == expected


def relative_times(backup: Backup) -> bool:
    """Whether its server replicates times to live as they were given: before Redis 7."""
    return backup.product == "Redis" and int(backup.version.split(".")[0]) < 7


def _number(entry: Mapping[str, Any]) -> int | None:
    name = str(entry.get("name") or "")
    return int(name[2:]) if entry.get("fingerprint") and name.startswith("db") and name[2:].isdigit() else None


def demand_memory(backup: Backup, limits: Sequence[Path] = _LIMIT_FILES) -> None:
    """UserFault(MemoryTooSmall): all of the data goes into memory, and a pod that takes too much is killed."""
    needed = backup.memory + backup.memory // 10 + _OWN_BYTES
    found = min((limit for limit in map(_limit, limits) if limit is not None), default=None)
    if found is not None and found < needed:
        message = (
            f"backup {backup.id} needs about {humanize_bytes(needed)} of memory to be loaded, and this pod may take "
            f"{humanize_bytes(found)}; raise podTemplate.resources.limits.memory (and requests)"
        )
        raise UserFault(Reason.MEMORY_TOO_SMALL, message)


def _limit(file: Path) -> int | None:
    """What the pod may take; None where nothing limits it."""
    try:
        said = file.read_text().strip()
    except OSError:
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(said) if said.isdigit() and int(said) < total else None
