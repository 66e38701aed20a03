"""Counts, fingerprints and definitions, compared with the dump's own snapshot; never with the live database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from psycopg import sql

from databosun.api.drill import Check, CheckResult
from databosun.api.v1alpha1.backup import ObjectCount
from databosun.domain.drill import CheckReason
from databosun.engines.checking import compare_count, compare_counts, compare_fingerprints, failed, passed, skipped
from databosun.engines.postgresql.checks.queries import ask
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.connect import Connection, prepare_session
from databosun.engines.postgresql.fingerprint import Table, count_objects, list_tables, schema_hash


def check_row_count(scene: Scene, check: Check) -> CheckResult:
    """One table within bounds; without a table, every table is read, and compared where the backup knows its count."""
    if check.table:
        return _one_table(scene, check)
    found = _counts(scene, check)
    known = {name: count for name, (count, _) in scene.backup.objects.items() if "(" not in name}
    return compare_counts(check, found, known)


def check_row_hash(scene: Scene, check: Check) -> CheckResult:
    """Every table's rows are those of the dump's snapshot: count and sum of row hashes, in one pass."""
    known = {name: value for name, value in scene.backup.objects.items() if value[1] is not None}
    known = {name: value for name, value in known.items() if not check.table or name.endswith(f".{check.table}")}
    if not known:
        return skipped(check, f"backup {scene.backup.id} carries no fingerprint to compare with; a dump does")
    found = {one.name: (one.rows, one.fingerprint) for one in _fingerprints(scene, check)}
    return compare_fingerprints(check, found, known)


def check_schema_hash(scene: Scene, check: Check) -> CheckResult:
    """The definitions are those of the dump's snapshot."""
    expected = check.value or scene.backup.schema_hash
    if expected is None:
        return skipped(check, f"backup {scene.backup.id} carries no hash of its schema; a dump does")
    names = [str(one["name"]) for one in scene.backup.databases if one.get("folder")] or list(scene.databases())
    hashes = []
    for name in names:
        scene.pulse()
        with scene.connect(name) as connection:
            prepare_session(connection)
            hashes.append(schema_hash(connection))
    found = hashlib.sha256("".join(hashes).encode()).hexdigest()
    if found != expected:
        message = "tables, constraints, indexes, views, triggers or functions are not those of the backup's snapshot"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=found, expected=expected)
    return passed(check, observed=found, expected=expected)


def _one_table(scene: Scene, check: Check) -> CheckResult:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(".").join(map(sql.Identifier, _parts(check.table or ""))))
    found = ask(scene, check.model_copy(update={"query": query.as_string()}))
    return compare_count(check, int(str(found)))


def _counts(scene: Scene, check: Check) -> Mapping[str, int]:
    """Rows of every table by `<database>.<schema>.<table>`, all databases or the one that the check names."""
    found: dict[str, int] = {}
    for name in [check.database] if check.database else scene.databases():
        with scene.connect(name) as connection:
            prepare_session(connection)
            for table in list_tables(connection):
                scene.pulse()
                found[f"{name}.{table.full_name}"] = _count(connection, table)
    return found


def _count(connection: Connection, table: Table) -> int:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(table.schema, table.name))
    row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0


def _fingerprints(scene: Scene, check: Check) -> list[ObjectCount]:
    found: list[ObjectCount] = []
    for name in [check.database] if check.database else scene.databases():
        with scene.connect(name) as connection:
            prepare_session(connection)
            found += count_objects(connection, list_tables(connection), name)
    return found


def _parts(table: str) -> list[str]:
    """`schema.table` as its parts; names with dots or capitals are written in double quotes."""
    parts, rest = [], table
    while rest:
        if rest.startswith('"'):
            end = rest.index('"', 1)
            parts.append(rest[1:end])
            rest = rest[end + 1 :].removeprefix(".")
        else:
            name, _, rest = rest.partition(".")
            parts.append(name)
    return parts
