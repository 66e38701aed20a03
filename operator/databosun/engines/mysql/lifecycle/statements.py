"""Run statements of a lifecycle, and say of one that failed whether to wait, to connect anew, or to give up.

Values stand in statements as literals, since a `%` in a person's condition must have no say; the session's `sql_mode`
is fixed, so a backslash escapes in every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from typing import Any, NoReturn

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import SSCursor

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.mysql.connect import Row, quote
from databosun.engines.mysql.dialect import LONGEST_IDLE
from databosun.engines.mysql.faults import driver_fault, number_of, server_fault

# The locks, and the snapshot, of an agent that hangs in the middle of a step are held no longer.
IDLE_SECONDS, IDLE_SNAPSHOT_SECONDS = 60, 900
# What passes by itself: locks, deadlocks (of Galera too), what was cancelled, changed definitions, room that is short.
_BUSY = frozenset({1020, 1021, 1037, 1038, 1041, 1114, 1135, 1180, 1205, 1206, 1213, 1317, 1412, 1615, 1637, 1969, 3024,
                   3572})  # fmt: skip
# What a new connection mends; 1290 and 1836: the host that took writes is read-only by now; 1047: Galera lost the node.
_LOST = frozenset({0, 1047, 1053, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 3032, 3169, 4031})
# Words of the server in which no value of a row can stand.
_DISCREET = frozenset({1044, 1045, 1048, 1049, 1051, 1054, 1093, 1142, 1143, 1146, 1176, 1193, 1227, 1264, 1267, 1290,
                       1305, 1356, 1370, 1406, 1442, 1449, 1451, 1452, 1665, 1792, 3819, 4025})  # fmt: skip
_RAISED = 1644  # a trigger or a function says why it does not go on
# A text that is read as a number or a date and is none counts as 0 or NULL: a condition then means what nobody wrote.
_CONVERSIONS = frozenset({1265, 1292, 1366, 1411, 1918})


def trouble_of(number: int) -> Trouble:
    """By the number of an error; a driver's without one is a connection that is gone."""
    if number in _LOST:
        return Trouble.LOST
    return Trouble.BUSY if number in _BUSY else Trouble.PERMANENT


@contextmanager
def stepping(doing: str, *, rows: bool = True) -> Iterator[None]:
    """Turn what the driver raises inside into a RuleFault. `rows`: rows are read, and nothing of them is repeated."""
    try:
        yield
    except pymysql.MySQLError as error:
        number = number_of(error)
        safe = not rows or number in _BUSY or number in _LOST or number in _DISCREET
        fault = driver_fault(error, doing) if safe else server_fault(number, _unsaid(number), doing)
        raise RuleFault(fault.reason, fault.message, trouble_of(number), error.sqlstate) from error
    except OSError as error:
        raise RuleFault(Reason.CONNECTION_LOST, f"{doing}: {error}", Trouble.LOST) from error


@contextmanager
def transaction(connection: Connection[Any], *how: str) -> Iterator[None]:
    """From START TRANSACTION to COMMIT. Whatever is raised inside takes all of it back: the server itself takes back
    one statement only when a lock is not to be had, and the rest when it hears nothing for too long."""
    seconds = IDLE_SNAPSHOT_SECONDS if "READ ONLY" in how else IDLE_SECONDS
    run(connection, f"SET SESSION wait_timeout = {seconds}")
    run(connection, f"START TRANSACTION {', '.join(how)}")
    try:
        yield
    except BaseException:
        with suppress(pymysql.MySQLError, OSError):  # a session that is gone has taken it back
            connection.rollback()
        raise
    connection.commit()
    with suppress(pymysql.MySQLError, OSError):  # it is committed; the next statement says that the session is gone
        run(connection, f"SET SESSION wait_timeout = {LONGEST_IDLE}")


def run(connection: Connection[Any], statement: str) -> list[Row]:
    """All rows of one statement, in which nothing is replaced."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def stream(connection: Connection[Any], statement: str) -> Iterator[Row]:
    """The same row by row: they need not fit into memory."""
    with connection.cursor(SSCursor) as cursor:
        cursor.execute(statement)
        while (row := cursor.fetchone()) is not None:
            yield row


def ask(connection: Connection[Any], statement: str, condition: str | None) -> list[Row]:
    """The same of a statement with people's own condition in it. UserFault where the server had to make a number or a
    date of what is none."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = list(cursor.fetchall())
        if condition is not None:
            cursor.execute("SHOW WARNINGS LIMIT 64")
            if any(int(warning[1]) in _CONVERSIONS for warning in cursor.fetchall()):
                message = (
                    f"the condition {condition!r} has the server read a text as a number or a date that it is not, and"
                    " such a text counts as 0 or as nothing; compare a column with what is of its type, and put texts"
                    " in quotes"
                )
                raise UserFault(Reason.CONDITION_REFUSED, message)
    return found


def change(connection: Connection[Any], statement: str) -> int:
    """Rows that a statement changed."""
    with connection.cursor() as cursor:
        return int(cursor.execute(statement))


def literal(value: str) -> str:
    """A text."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def named(table: str) -> str:
    """A table, `schema.table`, in a statement."""
    schema, name = split(table)
    return f"{quote(schema)}.{quote(name)}"


def split(table: str, schema: str = "") -> tuple[str, str]:
    """Schema and table of a name as people write it."""
    found, dot, name = table.rpartition(".")
    return (found, name) if dot else (schema, table)


def number(value: object) -> int:
    """A count or a sum; none is 0."""
    return int(str(value)) if value is not None else 0


def instant(value: object) -> datetime | None:
    """A date or an instant of the server, as an instant in UTC; NULL and a day that no calendar has are none."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return datetime.combine(value, time.min, UTC) if isinstance(value, date) else None


def no_table(name: str) -> NoReturn:
    """There is none of that name."""
    raise UserFault(Reason.NO_SUCH_TABLE, f"there is no table {name}")


def _unsaid(number: int) -> str:
    whose = " of a trigger or a function" if number == _RAISED else ""
    return f"an error{whose}; what it says may repeat what stands in a row, and is left out"
