"""What applications are: sessions that insert rows of their own where a client is sent.

The login may be one that a read-only server would not stop. So each insert asks itself whether the server is one: it
waits for the lock of a move as any other, and what it finds then holds for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.failoverprobe import ErrorName, ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Bits, Fate
from databosun.engines.failover import FailoverFault, ProbeError, Site, probe_error
from databosun.engines.mysql.connect import one, quote, rows
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.words import run
from databosun.engines.mysql.faults import number_of

READ_ONLY = "1290"
_NAMES: Mapping[int, ErrorName] = {
    1290: ErrorName.READ_ONLY,
    1836: ErrorName.READ_ONLY,
    1040: ErrorName.TOO_MANY_CONNECTIONS,
    1203: ErrorName.TOO_MANY_CONNECTIONS,
    1053: ErrorName.SHUTTING_DOWN,
    1927: ErrorName.CONNECTION_LOST,
    1205: ErrorName.CONFLICT,
    1213: ErrorName.CONFLICT,
    1317: ErrorName.TIMEOUT,
    2003: ErrorName.CONNECTION_REFUSED,
    2006: ErrorName.CONNECTION_LOST,
    2013: ErrorName.CONNECTION_LOST,
}
# Ended in the middle: whether it was committed nobody says.
_IN_DOUBT = (1053, 1180, 1317, 1927)
_FIRST_OF_THE_CLIENT = 2000
_LAST_OF_THE_CLIENT = 2999


@dataclass(frozen=True, slots=True)
class Tables:
    """The schema of the probe, and the tables of one run in it."""

    schema: str
    run: str

    @classmethod
    def of(cls, site: Site) -> Tables:
        """Those of a site."""
        return cls(site.table, "".join(letter for letter in site.run if letter.isalnum())[:48])

    @property
    def writes(self) -> str:
        """Where clients write."""
        return f"{quote(self.schema)}.{quote(f'writes_{self.run}')}"

    @property
    def moves(self) -> str:
        """Where it stands that this run moves a primary, so that what it left can be told from what others did."""
        return f"{quote(self.schema)}.{quote(f'moves_{self.run}')}"

    def make(self, connection: Connection[Any]) -> None:
        """Both."""
        run(
            connection,
            f"CREATE DATABASE IF NOT EXISTS {quote(self.schema)}",
            f"CREATE TABLE IF NOT EXISTS {self.writes} (client INT, seq INT, PRIMARY KEY (client, seq)) ENGINE=InnoDB",
            f"CREATE TABLE IF NOT EXISTS {self.moves} (former VARCHAR(300) PRIMARY KEY, candidate VARCHAR(300)) "
            "ENGINE=InnoDB",
        )

    def remove(self, connection: Connection[Any]) -> None:
        """Both, and the schema where nobody else's are in it."""
        if not rows(connection, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (self.schema,)):
            return
        run(connection, f"DROP TABLE IF EXISTS {self.writes}", f"DROP TABLE IF EXISTS {self.moves}")
        (others,) = one(
            connection, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (self.schema,)
        )
        if not others:
            run(connection, f"DROP DATABASE IF EXISTS {quote(self.schema)}")

    def remove_writes(self, connection: Connection[Any]) -> None:
        """Where clients wrote; what was written down of a move stays."""
        if rows(connection, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (self.schema,)):
            run(connection, f"DROP TABLE IF EXISTS {self.writes}")

    def mark(self, connection: Connection[Any], former: Place, candidate: Place) -> None:
        """Write down what is about to be done."""
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT IGNORE INTO {self.moves} VALUES (%s, %s)", (str(former), str(candidate)))  # noqa: S608 - quoted names

    def marked(self, connection: Connection[Any], former: Place | None = None) -> bool:
        """Whether it was, as far as this server knows. `former`: of that one alone."""
        there = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        if not rows(connection, there, (self.schema, f"moves_{self.run}")):
            return False
        if former is None:
            return bool(rows(connection, f"SELECT 1 FROM {self.moves}"))  # noqa: S608 - quoted names
        return bool(rows(connection, f"SELECT 1 FROM {self.moves} WHERE former = %s", (str(former),)))  # noqa: S608


class Session:
    """One connection of one client, or of a watcher."""

    def __init__(self, connection: Connection[Any], tables: Tables, client: int, node: str | None) -> None:
        self.node = node
        self._connection = connection
        self._insert = f"INSERT INTO {tables.writes} SELECT %s, %s FROM DUAL WHERE @@GLOBAL.read_only = 0"  # noqa: S608 - quoted names
        self._select = f"SELECT MAX(seq) FROM {tables.writes} WHERE client = %s"  # noqa: S608 - quoted names
        self._client = client

    def write(self, seq: int) -> None:
        """Insert one row, unless the server is read-only by the time it could be."""
        if not self._execute(self._insert, (self._client, seq)):
            said = "the server is read-only"
            raise ProbeError(READ_ONLY, said, Fate.FAILED, broken=True, name=ErrorName.READ_ONLY)

    def read(self) -> None:
        """Read the last row."""
        self._execute(self._select, (self._client,))

    def takes_writes(self) -> bool:
        """By its word: a write on a replica that takes some would be the very errant transaction that is looked for."""
        self._execute("SELECT 1 FROM DUAL WHERE @@GLOBAL.read_only = 0", ())
        return self._found

    def close(self) -> None:
        """Hang up without a word: a server that does not answer is not waited for."""
        self._connection._force_close()

    def _execute(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            with self._connection.cursor() as cursor:
                count = cursor.execute(statement, values)
                self._found = bool(cursor.fetchall())
                return int(count)
        except (pymysql.MySQLError, OSError) as error:
            raise told(error) from error


def told(error: Exception) -> ProbeError:
    """What a client is told, and what that means for its write."""
    number = number_of(error)
    ours = _FIRST_OF_THE_CLIENT <= number <= _LAST_OF_THE_CLIENT
    unknown = ours or number in _IN_DOUBT or not isinstance(error, pymysql.MySQLError) or not number
    said = " ".join(str(part) for part in error.args[1:]) or str(error)
    fate = Fate.UNKNOWN if unknown else Fate.FAILED
    broken = unknown or str(number) == READ_ONLY  # then a client looks for another server
    name = ErrorName.TIMEOUT if "timed out" in said else _NAMES.get(number)
    return ProbeError(str(number or type(error).__name__), said[:200], fate, broken=broken, name=name)


@dataclass(frozen=True, slots=True)
class Clients:
    """How a client gets in: the first of the hosts that takes writes, as drivers with several hosts do."""

    nodes: Nodes
    members: tuple[Place, ...]

    def open(self, path: ProbePath | None, seconds: float) -> Connection[Any]:
        """A session; at a server that takes none only where there is no other. ProbeError."""
        places = (Place(path.host, path.port),) if path else self.members
        fault: DatabosunError = WorldFault(FailoverFault.NO_PRIMARY, "no host takes writes")
        for place in places:
            try:
                connection = self.nodes.connect(place, seconds)
            except DatabosunError as error:
                fault = error
                continue
            connection._read_timeout = connection._write_timeout = seconds
            try:
                (read_only,) = one(connection, "SELECT @@GLOBAL.read_only")
            except (pymysql.MySQLError, OSError, DatabosunError):
                connection._force_close()
                continue
            if len(places) == 1 or not read_only:
                return connection
            connection._force_close()
        raise probe_error(fault)


def read_rows(connection: Connection[Any], tables: Tables, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
    """What the server holds."""
    found = {client: Bits() for client in clients}
    for client, seq in rows(connection, f"SELECT client, seq FROM {tables.writes}"):  # noqa: S608 - quoted names
        found.setdefault(int(client), Bits()).add(int(seq))
    return found
