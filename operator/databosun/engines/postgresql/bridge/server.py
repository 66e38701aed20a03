"""The target: sessions that may write, and what it says about its role and its databases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from psycopg.rows import dict_row

from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.postgresql.bridge.marker import Marker, read_marker
from databosun.engines.postgresql.connect import (
    MAINTENANCE_DATABASES,
    Connection,
    Session,
    abandon,
    choose_primary,
    connect,
    prepare_session,
)
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts, read_facts

_DATABASES = """
SELECT d.oid::int8 AS oid, d.datname::text AS name, d.datistemplate AS template,
       d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, r.rolname::text AS owner,
       pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owned
FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_roles AS r ON r.oid = d.datdba ORDER BY d.datname
"""
_ROLE = """
SELECT r.rolname::text AS name, r.rolsuper AS superuser, r.rolsuper OR r.rolcreatedb AS createdb,
       r.rolsuper OR r.rolcreaterole AS createrole,
       r.rolsuper OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') AS signals
FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER
"""
# What somebody made; what every new database has is nothing.
_CONTENT = """
SELECT (SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.objid = c.oid AND d.deptype = 'e'))
     + (SELECT count(*) FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            AND d.objid = p.oid AND d.deptype = 'e'))
     + (SELECT count(*) FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public'))
     + (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)
"""


@dataclass(frozen=True, slots=True)
class Role:
    """The role that logs in."""

    name: str
    superuser: bool
    createdb: bool
    createrole: bool
    signals: bool


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the target."""

    oid: int
    name: str
    template: bool
    connectable: bool
    comment: str | None
    owner: str
    owned: bool

    @property
    def marker(self) -> Marker | None:
        """What a restore wrote down there."""
        return read_marker(self.comment)


class Server:
    """The primary behind a target. `avoid`: databases that nobody may be connected to when they are renamed."""

    def __init__(self, target: Target, avoid: Iterable[str] = ()) -> None:
        self.session = Session(target, choose_primary(target))
        self._avoid = frozenset(avoid)

    @contextmanager
    def open(self, dbname: str | None = None) -> Iterator[Connection]:
        """A session that may write, in autocommit; of the hall where no database is named."""
        connection = connect(self.session.target, self.session.endpoint, dbname or self.hall)
        try:
            with guarded(f"at the target {self.session.endpoint}"):
                prepare_session(connection)
                connection.execute("SET default_transaction_read_only = off")
                yield connection
        finally:
            abandon(connection)

    @cached_property
    def hall(self) -> str:
        """A database to stand in while others are made and renamed. UserFault where there is none."""
        refused: UserFault | None = None
        for name in (name for name in MAINTENANCE_DATABASES if name not in self._avoid):
            try:
                connect(self.session.target, self.session.endpoint, name).close()
            except UserFault as fault:
                refused = fault
                continue
            return name
        if refused is not None:
            raise refused
        message = f"{self.session.endpoint} has no database to stand in beside {', '.join(sorted(self._avoid))}"
        raise UserFault(Reason.NO_DATABASE, message)

    @cached_property
    def facts(self) -> ServerFacts:
        """What it says about itself."""
        with self.open() as connection:
            return read_facts(connection, self.session.endpoint.host)

    @cached_property
    def role(self) -> Role:
        """Who we are there."""
        with self.open() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return Role(**(cursor.execute(_ROLE).fetchone() or {}))

    def databases(self) -> Mapping[str, Database]:
        """All of them, as they are now, by name."""
        with self.open() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return {row["name"]: Database(**row) for row in cursor.execute(_DATABASES).fetchall()}

    def empty(self, dbname: str) -> bool:
        """Whether nobody has made anything in it."""
        with self.open(dbname) as connection:
            return is_empty(connection)


def is_empty(connection: Connection) -> bool:
    """Whether nobody has made anything in this database."""
    row = connection.execute(_CONTENT).fetchone()
    return bool(row) and row is not None and row[0] == 0
