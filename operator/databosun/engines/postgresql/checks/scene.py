"""What checks have at hand, and how one speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from databosun.api.drill import Check
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.recovery.facts import Backup
from databosun.engines.postgresql.recovery.private import PrivateServer

_DATABASES = """
SELECT datname::text FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """The copy, the backup it came from, and the instant that the age of data is measured against.

    `replayed_log`: the copy is of a later instant than the backup, so what was dropped since is rightly not there.
    """

    server: PrivateServer
    backup: Backup
    assumed_at: datetime | None
    pulse: Callable[[], None]
    replayed_log: bool

    def connect(self, dbname: str, *, read_only: bool = True) -> Connection:
        """A session."""
        return self.server.connect(dbname, read_only=read_only)

    def databases(self) -> tuple[str, ...]:
        """All that can be connected to and are no templates. A limit of -2: one that was being dropped; nobody can."""
        with self.connect("template1") as connection:
            return tuple(str(row[0]) for row in connection.execute(_DATABASES).fetchall())

    def all_databases(self) -> Mapping[int, str]:
        """Every one that the copy lists, whatever its state: name by oid."""
        with self.connect("template1") as connection:
            rows = connection.execute("SELECT oid::int8, datname::text FROM pg_catalog.pg_database").fetchall()
        return {int(str(oid)): str(name) for oid, name in rows}

    def database_of(self, check: Check) -> str:
        """Where a check looks: as it says, else the only database besides `postgres`. ValueError."""
        if check.database:
            return check.database
        found = self.databases()
        own = [name for name in found if name != "postgres"] or list(found)
        if len(own) != 1:
            msg = f"the copy has the databases {', '.join(own)}; say in `database` which one to look at"
            raise ValueError(msg)
        return own[0]
