"""Counts, fingerprints and definitions, compared with the dump's own snapshot; never with the live database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymysql.connections import Connection

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import compare_count, compare_counts, compare_fingerprints, failed, passed, skipped
from databosun.engines.mysql.checks.queries import ask
from databosun.engines.mysql.checks.scene import Scene
from databosun.engines.mysql.connect import one as first
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.definitions import read_definitions
from databosun.engines.mysql.fingerprint import count_objects, count_query, list_tables


def check_row_count(scene: Scene, check: Check) -> CheckResult:
    """One table within bounds; without a table, every table is read, and compared where the backup knows its count."""
    if check.table:
        return compare_count(check, int(str(ask(scene, _counting(check)))))
    found = _counts(scene, check)
    known = {name: count for name, (count, _) in scene.backup.objects.items() if _asked(check, name)}
    return compare_counts(check, found, known)


def check_row_hash(scene: Scene, check: Check) -> CheckResult:
    """Every table's rows are those of the dump's snapshot: count and sum of row hashes, in one pass."""
    known = {name: value for name, value in scene.backup.objects.items() if value[1] is not None}
    known = {name: value for name, value in known.items() if _asked(check, name)}
    if not known:
        return skipped(check, f"backup {scene.backup.id} carries no fingerprint to compare with; a full does")
    found = _fingerprints(scene, check)
    return compare_fingerprints(check, found, known)


def check_schema_hash(scene: Scene, check: Check) -> CheckResult:
    """The definitions are those of the dump's snapshot."""
    expected = check.value or scene.backup.schema_hash
    if expected is None:
        return skipped(check, f"backup {scene.backup.id} carries no hash of its schema; a full does")
    connection = scene.server.connect()
    try:
        found = read_definitions(connection, scene.server.dialect, scene.backup.schemas, accounts=False).hash
    finally:
        connection.close()
    if found != expected:
        message = "tables, constraints, indexes, views, triggers, routines or events are not those of the backup"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=found, expected=expected)
    return passed(check, observed=found, expected=expected)


def _counting(check: Check) -> Check:
    """The check with its table as a query: `schema.table`, or a table of the check's schema."""
    schema, dot, table = (check.table or "").partition(".")
    name = f"{quote(schema)}.{quote(table)}" if dot else quote(schema)
    database = check.database or (schema if dot else None)
    return check.model_copy(update={"query": f"SELECT COUNT(*) FROM {name}", "database": database})  # noqa: S608


def _asked(check: Check, name: str) -> bool:
    schema, _, table = name.partition(".")
    if check.database and schema != check.database:
        return False
    return not check.table or check.table in (name, table)


def _counts(scene: Scene, check: Check) -> Mapping[str, int]:
    """Rows of every table by `<schema>.<table>`."""
    connection = scene.server.connect()
    try:
        found = {}
        for table in list_tables(connection, _schemas(scene, connection, check)):
            scene.pulse()
            found[table.full_name] = int(first(connection, count_query(table))[0])
        return found
    finally:
        connection.close()


def _fingerprints(scene: Scene, check: Check) -> Mapping[str, tuple[int, str | None]]:
    connection = scene.server.connect()
    try:
        tables = list_tables(connection, _schemas(scene, connection, check))
        asked = [table for table in tables if _asked(check, table.full_name)]
        counted = count_objects(connection, scene.server.dialect, asked, scene.pulse)
        return {one.name: (one.rows or 0, one.fingerprint) for one in counted}
    finally:
        connection.close()


def _schemas(scene: Scene, connection: Connection[Any], check: Check) -> tuple[str, ...]:
    return (check.database,) if check.database else scene.schemas(connection)
