"""What the manifest of a cluster's backup says: of all shards together, and of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import Captured, Plan, Target
from databosun.engines.redis.cluster import range_text
from databosun.engines.redis.full import WITH_TTL, instant_of
from databosun.engines.redis.rdbfacts import RdbFacts
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.server import ServerFacts, identity_of
from databosun.engines.redis.shards.look import Source
from databosun.engines.redis.sync import Synced

_FULL = 1 << 64
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Copied:
    """One shard on scratch. `master`: as it was once its replica had all of it, where it could be asked."""

    source: Source
    file: Path
    synced: Synced
    master: ServerFacts | None


@dataclass(frozen=True, slots=True)
class Stored:
    """One shard in the store."""

    copied: Copied
    rdb: RdbFacts

    @property
    def instant(self) -> datetime:
        """Every write to the shard up to it is there."""
        master = self.copied.master
        if master is not None and master.replid == self.copied.synced.replid:
            return master.now
        return instant_of(self.copied.source.facts, self.rdb)


def captured_of(target: Target, plan: Plan, stored: Sequence[Stored]) -> Captured:
    """What the manifest says of a backup of all shards."""
    first = stored[0].copied.source.facts
    return Captured(
        type=BackupType.FULL,
        method=Method.PHYSICAL,
        engine_version=first.version,
        system_identifier=identity_of(target),
        position=Position(),
        snapshot_time=min(one.instant for one in stored),
        parent=None,
        base=None,
        chain_length=0,
        environment=_environment(stored),
        objects=_objects(stored),
        notes=_notes(plan, stored),
        logical_bytes=sum(one.rdb.bytes for one in stored),
    )


def _environment(stored: Sequence[Stored]) -> Mapping[str, Any]:
    """As of a single server, over all shards; and each shard for itself."""
    first = stored[0]
    return {
        "product": first.copied.source.facts.product,
        "rdb": _rdb(first.rdb),
        "usedMemory": max(one.copied.source.facts.memory for one in stored),
        "functions": max(one.rdb.functions for one in stored),
        "databases": {str(number): {"keys": keys, "expires": expires}
                      for number, (keys, expires, _) in _totals(stored).items()},
        "cuts": {"apartSeconds": round(_apart(stored), 3)},
        "shards": [_shard(one) for one in stored],
    }  # fmt: skip


def _shard(one: Stored) -> Mapping[str, Any]:
    source, synced = one.copied.source, one.copied.synced
    return {
        "slots": range_text(source.shard.master.slots),
        "artefact": source.artefact,
        "replid": synced.replid,
        "offset": synced.offset,
        "snapshotTime": one.instant.isoformat(),
        "product": source.facts.product,
        "version": source.facts.version,
        "node": str(source.facts.endpoint),
        "role": "master" if source.facts.master else "replica",
        "rdb": _rdb(one.rdb),
        "usedMemory": source.facts.memory,
        "logicalBytes": one.rdb.bytes,
        "functions": one.rdb.functions,
        "strays": one.rdb.strays,
        "databases": {
            str(number): {"keys": space.keys, "expires": space.expires, "names": space.fingerprint}
            for number, space in one.rdb.databases.items()
        },
    }


def _rdb(facts: RdbFacts) -> Mapping[str, Any]:
    return {"magic": facts.magic, "version": facts.version, "checksummed": facts.checksummed}


def _totals(stored: Sequence[Stored]) -> Mapping[int, tuple[int, int, int | None]]:
    """Keys, those with a time to live, and the sum of the names' hashes, by database: which does not change by where a
    slot lies."""
    found: dict[int, tuple[int, int, int | None]] = {}
    for one in stored:
        for number, space in one.rdb.databases.items():
            keys, expires, names = found.get(number, (0, 0, 0))
            whole = None if names is None or space.names is None else (names + space.names) % _FULL
            found[number] = (keys + space.keys, expires + space.expires, whole)
    return dict(sorted(found.items()))


def _objects(stored: Sequence[Stored]) -> tuple[ObjectCount, ...]:
    found = []
    for number, (keys, expires, names) in _totals(stored).items():
        fingerprint = None if names is None else f"{names:016x}"
        found.append(ObjectCount(name=f"db{number}", rows=keys, fingerprint=fingerprint))
        found.append(ObjectCount(name=f"db{number}{WITH_TTL}", rows=expires))
    return tuple(found)


def _apart(stored: Sequence[Stored]) -> float:
    """Within so many seconds lie all instants, by our clock: each between the request for it and the answer."""
    synced = [one.copied.synced for one in stored]
    return max(one.told for one in synced) - min(one.asked for one in synced)


def _notes(plan: Plan, stored: Sequence[Stored]) -> tuple[str, ...]:
    notes = [
        f"{Reason.SHARDS_APART}: the {len(stored)} shards have no common point in time: each is of its own instant, "
        f"all of them within {_apart(stored):.1f} s; every write up to snapshotTime is there, and some after it"
    ]
    if plan.type is not BackupType.FULL:
        said = f"Redis has no {plan.type.value} backups; a Full was taken instead"
        notes.append(f"{Reason.INCREMENTAL_UNSUPPORTED}: {said}")
    masters = [one.copied.source for one in stored if one.copied.source.facts.master]
    if masters:
        said = f"of slots {_named(masters)} no replica that follows its master could be asked: the master was"
        notes.append(f"{Reason.FROM_MASTER}: {said}")
    if any(not one.rdb.checksummed for one in stored):
        said = "a server writes no checksum into its RDB (rdbchecksum no): only the structure was checked"
        notes.append(f"{Reason.NO_CHECKSUM}: {said}")
    astray = [one.copied.source for one in stored if one.rdb.strays]
    if astray:
        count = sum(one.rdb.strays for one in stored)
        said = f"{count} keys of the shards of slots {_named(astray)} lie outside of these, where nobody can read them"
        notes.append(f"{Reason.KEYS_ASTRAY}: {said}; they are in the backup as they are")
    if not plan.fingerprints:
        said = "no names were hashed (fingerprints: false in the policy), so that a copy is compared by counts only"
        notes.append(f"{Reason.FINGERPRINTS_OFF}: {said}")
    return tuple(notes)


def _named(sources: Sequence[Source]) -> str:
    more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    return ", ".join(one.shard.slots for one in sources[:_NAMED]) + more
