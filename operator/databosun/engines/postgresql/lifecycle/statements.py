"""Run statements of a lifecycle, and say of one that failed whether to wait, to connect anew, or to give up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import psycopg
from psycopg import sql

from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.faults import psycopg_fault, server_fault
from databosun.engines.postgresql.reasons import Reason

# What passes by itself, and what a new connection mends: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY = ("40", "53", "55P03", "55006", "57014")
_LOST = ("08", "57P", "25006")  # 25006: the host that took writes is a standby by now

_IN_FUNCTION = re.compile(r"^(?:PL/\w+|SQL) function .*$", re.MULTILINE)


def trouble_of(sqlstate: str | None) -> Trouble:
    """By SQLSTATE; a driver's error without one is a connection that is gone."""
    if sqlstate is None or sqlstate.startswith(_LOST):
        return Trouble.LOST
    return Trouble.BUSY if sqlstate.startswith(_BUSY) else Trouble.PERMANENT


@contextmanager
def stepping(doing: str, *, rows: bool = True) -> Iterator[None]:
    """Turn what the driver raises inside into a RuleFault. `rows`: rows are read, and nothing of them is repeated."""
    try:
        yield
    except psycopg.Error as error:
        fault = _discreet(error, doing) if rows else psycopg_fault(error, doing)
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        trouble = trouble_of(error.sqlstate) if error.sqlstate or lost else Trouble.PERMANENT
        raise RuleFault(fault.reason, fault.message, trouble, error.sqlstate) from error


def _discreet(error: psycopg.Error, doing: str) -> DatabosunError:
    """Without the server's details, which repeat rows, and without its words where these repeat a value: where one
    cannot be read as something (class 22), and where a function of people's own says why it does not go on."""
    diag = error.diag
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return psycopg_fault(error, doing)
    function = _IN_FUNCTION.search(diag.context or "")
    said = diag.message_primary or type(error).__name__
    if function is not None or (error.sqlstate or "").startswith("22"):
        where = f" in {function[0]}" if function is not None else ""
        said = f"an error{where}; what it says may repeat what stands in a row, and is in the server's log only"
    return server_fault(said, error.sqlstate, doing)


def one(connection: Connection, query: sql.Composable) -> tuple[object, ...]:
    """The one row of a query."""
    row = connection.execute(sql.Composed([query])).fetchone()
    return row if row is not None else ()


def locally(settings: Mapping[str, str]) -> sql.Composed:
    """Set these until the transaction ends."""
    each = sql.SQL("pg_catalog.set_config({}, {}, true)")
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(each.format(*pair) for pair in settings.items()))


def number(value: object) -> int:
    """A count or a sum; none is 0."""
    return int(str(value)) if value is not None else 0


def text_of(value: object) -> str:
    """A text that cannot be NULL."""
    return str(value)


def texts(value: object) -> list[str]:
    """An array of texts."""
    return [str(part) for part in value] if isinstance(value, list) else []


def table_bytes(connection: Connection, name: str) -> int:
    """Of a table, `schema.table`, with its indexes and partitions."""
    schema, _, table = name.rpartition(".")
    regclass = sql.Literal(sql.Identifier(schema, table).as_string(connection))
    query = sql.SQL(
        "SELECT coalesce((SELECT sum(pg_catalog.pg_total_relation_size(relid)) "
        "FROM pg_catalog.pg_partition_tree({t}::regclass)), pg_catalog.pg_total_relation_size({t}::regclass))::int8"
    ).format(t=regclass)
    return number(one(connection, query)[0])


def no_table(name: str) -> NoReturn:
    """There is none of that name."""
    raise UserFault(Reason.NO_SUCH_TABLE, f"there is no table {name}")
