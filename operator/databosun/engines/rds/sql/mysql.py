"""The same for MySQL and MariaDB, by pymysql."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.sql import SqlError

CONNECT_SECONDS = 15
_GONE = frozenset({CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 0})
_DATABASES = """
SELECT schema_name FROM information_schema.schemata
WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'innodb') ORDER BY 1
"""
_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1
"""
_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position
"""


@contextmanager
def login(target: Target, host: str, port: int, database: str | None) -> Iterator[Session]:
    """A session that can only read. UserFault(WrongPassword), WorldFault(ConnectFailed)."""
    given = target.credentials
    try:
        connection = pymysql.connect(
            host=host,
            port=port,
            user=given.username,
            password=given.password,
            database=database,
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            autocommit=True,
            init_command="SET SESSION TRANSACTION READ ONLY",
            ssl=_tls(target.database.tls, given),
            ssl_disabled=target.database.tls is TLSMode.DISABLE,
        )
    except (pymysql.MySQLError, OSError) as error:
        said = " ".join(str(error).split())[:500]
        if error.args and error.args[0] in (ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR):
            message = (
                f"the copy does not let {given.username} in ({said}); it has the accounts of the day of the backup: "
                "the login of spec.connection.credentialsSecretRef must have been there then"
            )
            raise UserFault(Reason.WRONG_PASSWORD, message) from error
        raise WorldFault(Reason.CONNECT_FAILED, f"{host}:{port} of the copy: {said}; let the drill's pod in") from error
    try:
        yield Session(connection)
    finally:
        connection.close()


def _tls(mode: TLSMode, given: Credentials) -> ssl.SSLContext | None:
    if mode is TLSMode.DISABLE:
        return None
    context = ssl.create_default_context(cafile=str(given.ca) if given.ca else None)
    context.check_hostname = mode is TLSMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_NONE if mode is TLSMode.REQUIRE else ssl.CERT_REQUIRED
    if given.cert is not None:
        context.load_cert_chain(given.cert, given.key)
    return context


class Session:
    """One login, to one database, or to none."""

    def __init__(self, connection: pymysql.connections.Connection[Any]) -> None:
        self._connection = connection

    @property
    def version(self) -> str:
        """Of the server."""
        return str(self._connection.get_server_info())

    def databases(self) -> Sequence[str]:
        """But those of the server."""
        return [str(row[0]) for row in self._rows(_DATABASES, 60)]

    def tables(self) -> Sequence[str]:
        """Of this database."""
        return [str(row[0]) for row in self._rows(_TABLES, 60)]

    def value(self, query: str, seconds: float) -> object:
        """Of one row with one column."""
        rows = self._rows(query, seconds)
        if len(rows) != 1 or len(rows[0]) != 1:
            msg = f"the query gives {len(rows)} rows; one row with one value was expected"
            raise ValueError(msg)
        return rows[0][0]

    def count(self, table: str, seconds: float) -> int:
        """Of `table`, or `database.table`."""
        names = ".".join(map(_quoted, table.split(".", 1)))
        return int(self._rows(f"SELECT COUNT(*) FROM {names}", seconds)[0][0])  # noqa: S608 - quoted

    def rows(self, table: str, seconds: float) -> int:
        """By their number alone."""
        return int(self._rows(f"SELECT COUNT(*) FROM {_quoted(table)}", seconds)[0][0])  # noqa: S608 - quoted

    def read(self, table: str, seconds: float) -> int:
        """Through a checksum of every column, so that every value is fetched."""
        columns = [_quoted(str(row[0])) for row in self._rows(_COLUMNS, 60, (table,))]
        sums = ", ".join(f"SUM(CRC32({column}))" for column in columns)
        return int(self._rows(f"SELECT COUNT(*), {sums} FROM {_quoted(table)}", seconds)[0][0])  # noqa: S608 - quoted

    def kill(self) -> None:
        """Close the socket under whoever waits for it."""
        self._connection._force_close()

    def _rows(self, query: str, seconds: float, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._connection.cursor() as cursor:
                self._bound(cursor, seconds)
                cursor.execute(query, values or None)
                return list(cursor.fetchall())
        except (pymysql.MySQLError, OSError) as error:
            code = error.args[0] if error.args else 0
            raise SqlError(" ".join(str(error).split())[:500], gone=code in _GONE) from error

    def _bound(self, cursor: Any, seconds: float) -> None:
        """MariaDB and MySQL have a variable each, in a unit each."""
        if "MariaDB" in self.version:
            cursor.execute("SET SESSION max_statement_time = %s", (seconds,))
        else:
            cursor.execute("SET SESSION max_execution_time = %s", (int(seconds * 1000),))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
