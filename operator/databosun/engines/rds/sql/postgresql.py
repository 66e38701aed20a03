"""The same for PostgreSQL, by psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.sql import SqlError

CONNECT_SECONDS = 15
_SSL = {
    TLSMode.DISABLE: "disable",
    TLSMode.REQUIRE: "require",
    TLSMode.VERIFY_CA: "verify-ca",
    TLSMode.VERIFY_FULL: "verify-full",
}
# AWS's own database holds nothing that a user may read.
_DATABASES = """
SELECT datname::text FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND datname <> 'rdsadmin' ORDER BY 1
"""
_TABLES = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1
"""


@contextmanager
def login(target: Target, host: str, port: int, database: str | None) -> Iterator[Session]:
    """A session that can only read. UserFault(WrongPassword), WorldFault(ConnectFailed)."""
    given = target.credentials
    try:
        connection = psycopg.connect(
            host=host,
            port=port,
            user=given.username,
            password=given.password,
            dbname=database or "postgres",
            sslmode=_SSL[target.database.tls],
            sslrootcert=str(given.ca) if given.ca else None,
            sslcert=str(given.cert) if given.cert else None,
            sslkey=str(given.key) if given.key else None,
            connect_timeout=CONNECT_SECONDS,
            options="-c default_transaction_read_only=on",
            application_name="databosun",
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())[:500]
        if "authentication failed" in said or "no pg_hba.conf entry" in said or "permission denied" in said:
            message = (
                f"the copy does not let {given.username} in ({said}); it has the accounts of the day of the backup: "
                "the login of spec.connection.credentialsSecretRef must have been there then"
            )
            raise UserFault(Reason.WRONG_PASSWORD, message) from error
        raise WorldFault(Reason.CONNECT_FAILED, f"{host}:{port} of the copy: {said}; let the drill's pod in") from error
    with connection:
        yield Session(connection)


class Session:
    """One login, to one database."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @property
    def version(self) -> str:
        """Of the server."""
        return self._connection.info.parameter_status("server_version") or ""

    def databases(self) -> Sequence[str]:
        """But those of AWS and templates."""
        return [str(row[0]) for row in self._rows(_DATABASES, 60)]

    def tables(self) -> Sequence[str]:
        """With their schemas, quoted. Unlogged ones come back empty, and are left out."""
        return [str(row[0]) for row in self._rows(_TABLES, 60)]

    def value(self, query: str, seconds: float) -> object:
        """Of one row with one column."""
        rows = self._rows(query, seconds)
        if len(rows) != 1 or len(rows[0]) != 1:
            msg = f"the query gives {len(rows)} rows; one row with one value was expected"
            raise ValueError(msg)
        return rows[0][0]

    def count(self, table: str, seconds: float) -> int:
        """Of `schema.table`, or a table on the path."""
        names = sql.Identifier(*table.split(".", 1))
        return int(self._rows(sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(names), seconds)[0][0])

    def rows(self, table: str, seconds: float) -> int:
        """By their number alone."""
        query = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}").format(sql.SQL(table))
        return int(self._rows(query, seconds)[0][0])

    def read(self, table: str, seconds: float) -> int:
        """Through a hash of every row as text, so that every value is fetched and decoded."""
        query = sql.SQL(
            "SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::text, 0)) FROM ONLY {} AS t"
        ).format(sql.SQL(table))
        return int(self._rows(query, seconds)[0][0])

    def kill(self) -> None:
        """Close the socket under whoever waits for it."""
        self._connection.cancel_safe(timeout=5)

    def _rows(self, query: Any, seconds: float) -> list[tuple[Any, ...]]:
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(int(seconds * 1000))))
                cursor.execute(query)
                return cursor.fetchall()
        except psycopg.Error as error:
            raise SqlError(" ".join(str(error).split())[:500], gone=self._connection.broken) from error
