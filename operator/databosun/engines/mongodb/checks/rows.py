"""Counts, fingerprints and definitions, compared with what the backup counted; never with the live database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import (
    Unit,
    compare_count,
    compare_counts,
    compare_fingerprints,
    failed,
    passed,
    skipped,
)
from databosun.engines.mongodb.bsonwalk import BsonWalk
from databosun.engines.mongodb.checks.scene import Scene
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.full import schema_hash
from databosun.engines.mongodb.namespaces import Collection

_DOCUMENTS = Unit("documents", "collections", "nothing", "what the backup counted", "what was backed up")
# Made anew by every server.
_OWN = frozenset({"admin.system.version"})
Known = Mapping[str, tuple[int, str | None]]


def known_objects(scene: Scene) -> Known:
    """What the restored backup counted; nothing where the oplog went on from there, or ended before it."""
    if len(scene.backups) > 1 or not scene.whole:
        return {}
    return {name: value for name, value in scene.backup.objects.items() if name not in _OWN}


def check_row_count(scene: Scene, check: Check) -> CheckResult:
    """One collection within bounds; without one, each is counted, and compared where the backup knows its count."""
    with scene.server.client() as client:
        if check.table:
            database, name = _place(scene, client, check)
            return compare_count(check, client[database][name].count_documents({}))
        found = {
            _shown(one): client[one.database][one.data_name].count_documents({}) for one in _asked(scene, client, check)
        }
    known = {name: count for name, (count, _) in known_objects(scene).items() if _in(check, name)}
    return compare_counts(check, found, known, _DOCUMENTS)


def check_row_hash(scene: Scene, check: Check) -> CheckResult:
    """Documents are those of the backup: count and sum of the hashes of their bytes, in one pass."""
    known = {name: value for name, value in known_objects(scene).items() if value[1] is not None and _in(check, name)}
    if not known:
        return skipped(check, f"backup {scene.backup.id} carries no fingerprint to compare with; a full does")
    found: dict[str, tuple[int, str | None]] = {}
    with scene.server.client() as client:
        for one in _asked(scene, client, check):
            if _shown(one) in known:
                found[_shown(one)] = _fingerprint(scene, client, one)
    return compare_fingerprints(check, found, known, _DOCUMENTS)


def check_schema_hash(scene: Scene, check: Check) -> CheckResult:
    """Collections, options and indexes are those of the backup."""
    own = scene.backup.schema_hash if len(scene.backups) == 1 and scene.whole else None
    expected = check.value or own
    if expected is None:
        return skipped(check, f"backup {scene.backup.id} carries no hash of its definitions; a full does")
    with scene.server.client() as client:
        described = []
        for one in scene.collections(client):
            indexes = list(client[one.database][one.name].list_indexes()) if one.has_data else []
            described.append((one, [dict(index) for index in indexes]))
    found = schema_hash(described)
    if found != expected:
        message = "collections, options or indexes are not those of the backup"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=found, expected=expected)
    return passed(check, observed=found, expected=expected)


def _fingerprint(scene: Scene, client: Client, one: Collection) -> tuple[int, str | None]:
    walk = BsonWalk(_shown(one))
    cursor: Any = client[one.database][one.data_name].find_raw_batches({}, batch_size=0)
    for batch in cursor:
        scene.pulse()
        walk.feed(memoryview(batch))
    walk.close()
    return walk.count, walk.fingerprint


def _place(scene: Scene, client: Client, check: Check) -> tuple[str, str]:
    """`database.collection`, or a collection of the check's database."""
    table = check.table or ""
    database, dot, name = table.partition(".")
    if check.database:
        return check.database, name if dot and database == check.database else table
    if dot and database in scene.databases(client):
        return database, name
    return scene.database_of(client, check), table


def _asked(scene: Scene, client: Client, check: Check) -> Iterator[Collection]:
    for one in scene.collections(client):
        if one.has_data and _shown(one) not in _OWN and _in(check, _shown(one)):
            scene.pulse()
            yield one


def _in(check: Check, name: str) -> bool:
    database, _, collection = name.partition(".")
    if check.database and database != check.database:
        return False
    return not check.table or check.table in (name, collection)


def _shown(one: Collection) -> str:
    return f"{one.database}.{one.data_name}"
