"""What is staged equals the copy, object by object: counts, or hashes of all rows, large objects and sequences."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from psycopg import sql

from databosun.api.drill import CheckOutcome, CheckResult, CheckType, Level, Severity
from databosun.domain.drill import CheckReason
from databosun.domain.errors import SafetyStop
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.fingerprint import Table, count_objects, fingerprint_query, list_tables, schema_hash

_SEQUENCES = """
SELECT pg_catalog.quote_ident(s.schemaname) || '.' || pg_catalog.quote_ident(s.sequencename), s.last_value
FROM pg_catalog.pg_sequences AS s
WHERE %(schemas)s::text[] IS NULL OR s.schemaname = ANY(%(schemas)s::text[]) ORDER BY 1
"""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Content:
    """What one database, or some schemas of it, hold. `schema`: of its definitions, where these can be compared."""

    rows: Mapping[str, tuple[int, str | None]]
    sequences: Mapping[str, int | None]
    schema: str | None

    @property
    def total(self) -> int:
        """Rows of all tables."""
        return sum(rows for rows, _ in self.rows.values())


def read_content(
    connection: Connection, pulse: Callable[[], None], *, schemas: Sequence[str] | None, hashed: bool, defined: bool
) -> Content:
    """Read it all. `schemas`: only these."""
    tables = [table for table in list_tables(connection) if schemas is None or table.schema in schemas]
    rows: dict[str, tuple[int, str | None]] = {}
    for table in tables:
        pulse()
        rows[table.full_name] = _hashed(connection, table) if hashed else (_count(connection, table), None)
    if schemas is None:
        counted = count_objects(connection, (), "")
        rows |= {one.name.strip(): (one.rows or 0, None) for one in counted}
    with guarded("reading sequences"):
        wanted = list(schemas) if schemas is not None else None
        found = connection.execute(_SEQUENCES, {"schemas": wanted}).fetchall()
    values = {str(name): int(str(value)) if value is not None else None for name, value in found}
    return Content(rows, values, schema_hash(connection) if defined else None)


def compare(
    copy: Connection,
    staged: Connection,
    pulse: Callable[[], None],
    *,
    name: str,
    level: Level,
    schemas: Sequence[str] | None = None,
    defined: bool = False,
) -> tuple[CheckResult, int]:
    """Both sides at once. SafetyStop(RowsDiffer, SchemaDiffers): what was restored is not what was read."""
    hashed = level not in (Level.ARTIFACT, Level.RESTORE) or schemas is not None
    failed = threading.Event()

    def go_on() -> None:
        if failed.is_set():
            raise SafetyStop(CheckReason.ROWS_DIFFER, "given up, because the other side could not be read")

    def read(connection: Connection) -> Content:
        try:
            return read_content(connection, go_on, schemas=schemas, hashed=hashed, defined=defined)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="compare") as pool:
        other = pool.submit(read, copy)
        try:
            here = read_content(staged, pulse, schemas=schemas, hashed=hashed, defined=defined)
        except BaseException:
            failed.set()
            raise
        there = other.result()
    _demand_equal(there, here, name)
    how = "rows and their hashes" if hashed else "rows"
    observed = f"{here.total} rows in {len(here.rows)} tables, {len(here.sequences)} sequences"
    result = CheckResult(
        name=f"equal-{name}"[:63],
        type=CheckType.ROW_HASH if hashed else CheckType.ROW_COUNT,
        severity=Severity.CRITICAL,
        outcome=CheckOutcome.PASSED,
        observed=observed,
        message=f"{name} at the target has the {how} of the copy",
    )
    return result, here.total


def _demand_equal(there: Content, here: Content, name: str) -> None:
    wrong = [f"{table} has {here.rows.get(table, 'no table')}, not {value}" for table, value in there.rows.items()
             if here.rows.get(table) != value]  # fmt: skip
    wrong += [f"{table} is not in the copy" for table in here.rows if table not in there.rows]
    wrong += [f"sequence {one} is at {here.sequences.get(one, 'no place')}, not {value}"
              for one, value in there.sequences.items() if here.sequences.get(one, ...) != value]  # fmt: skip
    if wrong:
        message = f"{name} at the target differs from the copy in {len(wrong)} places: {'; '.join(wrong[:_NAMED])}"
        raise SafetyStop(CheckReason.ROWS_DIFFER, message)
    if there.schema is not None and here.schema is not None and there.schema != here.schema:
        message = f"definitions of tables, constraints, views or functions of {name} differ from those of the copy"
        raise SafetyStop(CheckReason.SCHEMA_DIFFERS, message)


def _hashed(connection: Connection, table: Table) -> tuple[int, str | None]:
    with guarded(f"hashing {table.full_name}"):
        row = connection.execute(fingerprint_query(table)).fetchone()
    return (int(str(row[0])), str(row[1])) if row else (0, None)


def _count(connection: Connection, table: Table) -> int:
    with guarded(f"counting {table.full_name}"):
        query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(table.schema, table.name))
        row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0
