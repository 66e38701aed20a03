"""What a restore must know of a backup, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson.timestamp import Timestamp

from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mongodb.namespaces import DATA_SUFFIX, FOLDER
from databosun.engines.mongodb.positions import parse_ts
from databosun.engines.mongodb.server import MONGODB, series_of


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup of a chain. `begin`, `end`: of its part of the oplog, None where it has none.

    `start_lsn`: where the shipped log goes on from there. `objects`: documents and fingerprint by
    `database.collection`, of those that were counted.
    """

    id: str
    type: BackupType
    product: str
    version: str
    artefacts: tuple[str, ...]
    logical_bytes: int
    users: bool
    replica_set: str | None
    begin: Timestamp | None
    end: Timestamp | None
    term: int | None
    start_lsn: str | None
    snapshot_time: datetime | None
    objects: Mapping[str, tuple[int, str | None]]
    schema_hash: str | None

    @property
    def series(self) -> tuple[int, int]:
        """The server's release series."""
        return series_of(self.version)

    @property
    def label(self) -> str:
        """Such as `MongoDB 7.0`."""
        return f"{self.product} {'.'.join(map(str, self.series))}"

    @property
    def position(self) -> Position:
        """Where it ends."""
        return Position(optime=f"{self.end.time}:{self.end.inc}" if self.end else None)

    @property
    def data(self) -> tuple[str, ...]:
        """Artefacts that hold documents of collections."""
        return tuple(one for one in self.artefacts if one.startswith(FOLDER) and one.endswith(DATA_SUFFIX))


def read_backup(manifest: Mapping[str, Any]) -> Backup:
    """The facts in a manifest (its JSON form)."""
    environment = manifest.get("environment") or {}
    oplog = environment.get("oplog") or {}
    at = manifest.get("snapshotTime")
    return Backup(
        id=str(manifest["id"]),
        type=BackupType(manifest["type"]),
        product=str(environment.get("product") or MONGODB),
        version=str(manifest["database"]["engineVersion"]),
        artefacts=tuple(str(one["name"]) for one in manifest["artefacts"]),
        logical_bytes=int(manifest.get("logicalBytes") or sum(int(one["bytes"]) for one in manifest["artefacts"])),
        users=bool(environment.get("users")),
        replica_set=environment.get("replicaSet"),
        begin=parse_ts(oplog["begin"]) if oplog else None,
        end=parse_ts(oplog["end"]) if oplog else None,
        term=oplog.get("term"),
        start_lsn=(manifest.get("position") or {}).get("startLsn"),
        snapshot_time=datetime.fromisoformat(at) if at else None,
        objects={
            str(one["name"]): (int(one["rows"]), one.get("fingerprint"))
            for one in manifest.get("objects") or ()
            if one.get("rows") is not None
        },
        schema_hash=manifest.get("schemaHash"),
    )


def read_chain(chain: Sequence[Mapping[str, Any]]) -> tuple[Backup, ...]:
    """Base first. UserFault where it does not begin with a full."""
    backups = tuple(read_backup(manifest) for manifest in chain)
    if backups[0].type is not BackupType.FULL:
        raise UserFault(Reason.PARENT_MISSING, f"the chain begins with {backups[0].id}, which is no full backup")
    return backups


def room_for(backups: Sequence[Backup]) -> int:
    """Bytes at the place, at most: documents and their indexes, what the replay writes anew, the server's own files."""
    return sum(one.logical_bytes for one in backups) * 3 + 1024**3
