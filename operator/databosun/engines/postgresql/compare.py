"""Compare the tables of a server with those of a copy: one pass of sums by part, a second over the parts that differ.

At the server every statement is a plain read in a transaction of its own, bounded in time, without parallel workers and
without anything to sort, so that it takes locks that nobody waits for, no temporary files and one processor at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from databosun.api.comparison import TableDifference, TableState
from databosun.domain.comparison import RowCounts, as_bags, by_key, differing, rows_of
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.comparing import Compared, CompareScope
from databosun.engines.postgresql.comparetables import Shape, bucket_query, list_shapes, row_query
from databosun.engines.postgresql.connect import (
    Connection,
    Session,
    abandon,
    choose_endpoint,
    open_sql,
    prepare_session,
)
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.recovery import Copy

PARTS = 1024
# Two numbers of eight bytes a row on either side, in Python: about 100 MiB.
MOST_ROWS = 400_000
BATCH = 20_000
_LOCK_SECONDS = 5

_DATABASES = (
    "SELECT datname::text FROM pg_catalog.pg_database"
    " WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2 ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two connections to one database; `live` None: the server has no such database."""

    name: str
    copy: Connection
    live: Connection | None
    portable: bool
    pulse: Callable[[], None]


def compare_with_copy(target: Target, copy: Copy, scope: CompareScope, pulse: Callable[[], None]) -> Compared:
    """Every table within the scope, on either side. UserFault where the scope names what neither side has."""
    if not isinstance(copy, RunningCopy):
        raise TypeError(copy)
    deadline = datetime.now(UTC) + timedelta(days=1)
    session = Session(target, choose_endpoint(target, prefer_standby=False), deadline)
    first = open_sql(session)
    try:
        with guarded("looking at the server"):
            row = first.execute("SELECT now(), current_setting('server_version_num')::int").fetchone()
            live_names = {str(one[0]) for one in first.execute(_DATABASES).fetchall()}
    finally:
        first.close()
    if row is None or not isinstance(row[0], datetime):
        raise WorldFault(Reason.DATABASE_ERROR, "the server gave no time")
    names = _names(target, copy, scope, live_names)
    found: list[TableDifference] = []
    for name in names.both_or_copy:
        live = open_sql(session, name) if name in live_names else None
        with copy.server.connect(name) as connection:
            prepare_session(connection)
            portable = int(str(row[1])) // 10_000 != connection.info.server_version // 10_000
            try:
                if live is not None:
                    _be_gentle(live, scope)
                found += _database(_Sides(name, connection, live, portable, pulse), scope)
            finally:
                if live is not None:
                    abandon(live)
    _demand_found(scope, found)
    notes = [f"database {name} is on the server and not in the copy; its tables are not listed" for name in names.new]
    return Compared(tuple(found), str(session.endpoint), row[0], tuple(notes[:8]))


@dataclass(frozen=True, slots=True)
class _Names:
    both_or_copy: tuple[str, ...]
    new: tuple[str, ...]


def _names(target: Target, copy: RunningCopy, scope: CompareScope, live: set[str]) -> _Names:
    held = set(copy.databases())
    wanted = scope.database or target.database.database
    if wanted is not None and wanted not in held:
        message = f"the copy holds no database {wanted}; it holds {', '.join(sorted(held))}"
        raise UserFault(Reason.NO_SUCH_DATABASE, message)
    names = [wanted] if wanted is not None else sorted(held)
    return _Names(tuple(names), () if wanted is not None else tuple(sorted(live - held)))


def _demand_found(scope: CompareScope, found: Iterable[TableDifference]) -> None:
    names = {one.table.partition(".")[2] for one in found}
    missing = [table for table in scope.tables if table not in names]
    if missing:
        message = f"neither side has table {', '.join(missing)}; name tables with their schema, such as public.orders"
        raise UserFault(Reason.NO_SUCH_TABLE, message)


def _be_gentle(live: Connection, scope: CompareScope) -> None:
    settings = {
        "statement_timeout": f"{int(scope.statement_seconds * 1000)}",
        "lock_timeout": f"{_LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": "60s",
        "max_parallel_workers_per_gather": "0",
        "default_transaction_isolation": "repeatable read",
    }
    with guarded("session settings"):
        for name, value in settings.items():
            live.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))


def _database(sides: _Sides, scope: CompareScope) -> Iterable[TableDifference]:
    with guarded(f"listing tables of {sides.name}"):
        then = {one.full_name: one for one in list_shapes(sides.copy)}
        now = {one.full_name: one for one in list_shapes(sides.live)} if sides.live is not None else {}
    for name in sorted({*then, *now}):
        if scope.tables and name not in scope.tables:
            continue
        sides.pulse()
        yield _table(sides, f"{sides.name}.{name}", then.get(name), now.get(name))


def _table(sides: _Sides, name: str, then: Shape | None, now: Shape | None) -> TableDifference:
    try:
        return _look(sides, name, then, now)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        why = f"it took longer than it may: {_said(error)}"
    except psycopg.errors.InsufficientPrivilege as error:
        why = f"{_said(error)}; run GRANT pg_read_all_data TO the role of the Database's Secret"
    except psycopg.OperationalError as error:
        raise WorldFault(Reason.DATABASE_ERROR, f"comparing {name}: {_said(error)}") from error
    except psycopg.Error as error:
        why = _said(error)
    for connection in (sides.copy, sides.live):
        if connection is not None and not connection.closed:
            connection.rollback()
    return TableDifference(table=name, state=TableState.NOT_COMPARED, message=why)


def _look(sides: _Sides, name: str, then: Shape | None, now: Shape | None) -> TableDifference:
    if then is None and now is not None and sides.live is not None:
        return TableDifference(table=name, state=TableState.NEW, live_rows=_count(sides.live, now))
    if then is not None and now is None:
        return TableDifference(table=name, state=TableState.LOST, copy_rows=_count(sides.copy, then))
    if then is None or now is None or sides.live is None:
        raise TypeError(name)
    if then.unlogged:
        message = "it is unlogged: a physical backup does not hold its rows"
        return TableDifference(table=name, state=TableState.NOT_COMPARED, message=message)
    return _compare(sides, sides.live, name, then, now)


def _said(error: psycopg.Error) -> str:
    return " ".join(str(error).split())[:300]


def _count(connection: Connection, shape: Shape) -> int:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(shape.schema, shape.name))
    row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0


def _compare(sides: _Sides, live: Connection, name: str, then: Shape, now: Shape) -> TableDifference:
    columns = tuple(one for one in then.columns if one in now.columns)
    key = then.key if then.key == now.key and set(then.key) <= set(columns) else ()
    said = _changed_columns(then, now, columns)
    if then.columns and not columns:
        message = f"no column of it is left as it was; {said}"
        return TableDifference(table=name, state=TableState.DIFFERS, message=message)
    query = bucket_query(then, columns, key, PARTS, portable=sides.portable)
    old = _parts(sides.copy, query)
    with live.transaction():
        new = _parts(live, query)
        parts = differing(old, new)
        rows = sum(side.get(part, (0, 0))[0] for side in (old, new) for part in parts)
        few = bool(parts) and rows <= MOST_ROWS
        wanted = row_query(then, columns, key, PARTS, portable=sides.portable)
        here = _rows(live, wanted, parts, sides.pulse) if few else []
    there = _rows(sides.copy, wanted, parts, sides.pulse) if few else []
    counts = _counts(there, here, keyed=bool(key)) if few else None
    if parts and counts is None:
        said = "; ".join(
            filter(None, (said, f"more than {MOST_ROWS} rows lie in parts that differ: not counted one by one"))
        )
    return TableDifference(
        table=name,
        state=TableState.DIFFERS if parts or then.columns != now.columns else TableState.SAME,
        copy_rows=rows_of(old),
        live_rows=rows_of(new),
        lost=counts.lost if counts else None,
        added=counts.added if counts else None,
        changed=counts.changed if counts else None,
        message=said or None,
    )


def _changed_columns(then: Shape, now: Shape, both: tuple[tuple[str, str], ...]) -> str:
    gone = [name for name, _ in then.columns if (name, dict(then.columns)[name]) not in both]
    come = [name for name, _ in now.columns if (name, dict(now.columns)[name]) not in both]
    words = [
        f"columns {label}: {', '.join(names)}"
        for label, names in (("gone or of another type", gone), ("new", come))
        if names
    ]
    return "; ".join(words)


def _parts(connection: Connection, query: sql.Composed) -> Mapping[int, tuple[int, int]]:
    rows = connection.execute(query).fetchall()
    return {int(str(part)): (int(str(count)), int(str(total))) for part, count, total in rows}


def _rows(
    connection: Connection, query: sql.Composed, parts: frozenset[int], pulse: Callable[[], None]
) -> list[tuple[int, int]]:
    """Hash of the key and of the row, of every row in those parts."""
    found: list[tuple[int, int]] = []
    with connection.cursor() as cursor:
        for key, row in cursor.stream(query, (sorted(parts),)):
            found.append((int(str(key)), int(str(row))))
            if len(found) % BATCH == 0:
                pulse()
    return found


def _counts(copy: list[tuple[int, int]], live: list[tuple[int, int]], *, keyed: bool) -> RowCounts:
    if keyed:
        return by_key(dict(copy), dict(live))
    return as_bags(Counter(row for _, row in copy), Counter(row for _, row in live))
