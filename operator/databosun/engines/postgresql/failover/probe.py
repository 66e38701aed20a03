"""What applications are: sessions that insert numbered rows into a table of their own where a client is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import sql

from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Bits
from databosun.engines.base import Target
from databosun.engines.failover import FailoverFault, ProbeError, Site, probe_error
from databosun.engines.postgresql.connect import MAINTENANCE_DATABASES, Connection, Endpoint, connect
from databosun.engines.postgresql.failover.line import Line
from databosun.engines.postgresql.faults import guarded
from databosun.engines.reaching import resolve

STATEMENT_TIMEOUT = "30s"
LOCK_TIMEOUT = "10s"
_NAME_BYTES = 63
_SAID = """
SELECT r, (CASE WHEN r THEN coalesce(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
                ELSE pg_catalog.pg_current_wal_lsn() END) - '0/0'::pg_catalog.pg_lsn,
       pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn,
       EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()),
       CASE WHEN r THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
       EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE pid IS NOT NULL),
       pg_catalog.current_setting('synchronous_standby_names')
FROM (SELECT pg_catalog.pg_is_in_recovery()) AS one (r)
"""
_FOLLOWERS = """
SELECT application_name, pg_catalog.host(client_addr) FROM pg_catalog.pg_stat_replication
WHERE application_name IS NOT NULL AND client_addr IS NOT NULL
"""
_HERE = "pg_catalog.inet_server_addr(), pg_catalog.inet_server_port()"
_WHERE = f"SELECT NOT pg_catalog.pg_is_in_recovery(), {_HERE}"


@dataclass(frozen=True, slots=True)
class Said:
    """A server by its own word. `position`: what it has written, or received; `replayed` of that, a replica, and `age`:
    seconds since its newest commit; `receives`: from whomever; `synchronous`: for whom its commits wait."""

    recovers: bool
    position: int | None
    replayed: int | None
    age: float | None
    paused: bool
    receives: bool
    synchronous: str


@dataclass(frozen=True, slots=True)
class Table:
    """The schema of one run, with its one table; nobody else's is ever in it."""

    schema: str

    @classmethod
    def of(cls, site: Site) -> Table:
        """That of a site."""
        run = "".join(letter for letter in site.run if letter.isalnum())[:32]
        return cls(f"{site.table[: _NAME_BYTES - 1 - len(run)]}_{run}")

    @property
    def name(self) -> sql.Identifier:
        """With its schema."""
        return sql.Identifier(self.schema, "writes")

    def make(self, connection: Connection) -> None:
        """Both; harmless where they are there."""
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
        columns = sql.SQL("CREATE TABLE IF NOT EXISTS {} (client int, seq int, PRIMARY KEY (client, seq))")
        connection.execute(columns.format(self.name))

    def remove(self, connection: Connection) -> None:
        """Both; harmless where they are not there."""
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self.name))
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(self.schema)))

    def rows(self, connection: Connection, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the server holds."""
        found = {client: Bits() for client in clients}
        for client, seq in connection.execute(sql.SQL("SELECT client, seq FROM {}").format(self.name)):
            found.setdefault(int(str(client)), Bits()).add(int(str(seq)))
        return found


Nodes = Mapping[tuple[str, int], str]
"""Members, by the address and port that a server says it was reached at."""


class Session:
    """One connection of one client, or of a watcher. Each write is told by whoever makes it who that is: behind a
    pooler that is another one than before, and the session knows nothing of it. `nodes`: None where only the caller
    can know it, and says it in `node`."""

    def __init__(self, line: Line, table: Table, client: int, nodes: Nodes | None) -> None:
        self.node: str | None = None
        self._line = line
        self._nodes = nodes
        name = table.name.as_string(None)
        self._insert = f"INSERT INTO {name} VALUES ($1, $2) RETURNING {_HERE}"  # noqa: S608 - a quoted name
        self._select = f"SELECT pg_catalog.max(seq) FROM {name} WHERE client = $1"  # noqa: S608 - a quoted name
        self._client = client

    def write(self, seq: int) -> None:
        """Insert one row; acknowledged once it is committed. `node` is who did, and nobody where it was refused."""
        if self._nodes is None:
            self._line.ask(self._insert, (self._client, seq))
            return
        self.node = None
        ((address, port),) = self._line.ask(self._insert, (self._client, seq))
        self.node = self._nodes.get((address.partition("/")[0], int(port))) if address and port else None

    def read(self) -> None:
        """Read the last row."""
        self._line.ask(self._select, (self._client,))

    def takes_writes(self) -> bool:
        """By its word: what is not in recovery takes writes."""
        return self._line.ask(_WHERE)[0][0] == "t"

    def say(self) -> Said:
        """What any login may ask."""
        recovers, position, replayed, age, paused, receives, synchronous = self._line.ask(_SAID)[0]
        return Said(
            recovers=recovers == "t",
            position=None if position is None else int(position),
            replayed=None if replayed is None else int(replayed),
            age=None if age is None else float(age),
            paused=paused == "t",
            receives=receives == "t",
            synchronous=synchronous or "",
        )

    def followers(self) -> dict[str, str]:
        """The addresses of its replicas, by the names that they give themselves."""
        return {name: host for name, host in self._line.ask(_FOLLOWERS) if name is not None and host is not None}

    def address(self) -> str | None:
        """Its own, as it was reached."""
        address = self._line.ask(_WHERE)[0][1]
        return address.partition("/")[0] if address else None

    def close(self) -> None:
        """Hang up."""
        self._line.close()


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients get in. `nodes`: members by the address and port that a server says it was reached at."""

    target: Target
    table: Table
    nodes: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def dbname(self) -> str:
        """Where the table is."""
        return self.target.database.database or MAINTENANCE_DATABASES[0]

    def know(self, name: str, host: str, port: int) -> None:
        """A member, and where it is. One whose name has no address is not told apart."""
        try:
            addresses = resolve(host, port)
        except WorldFault:
            return
        for address in addresses:
            self.nodes[address, port] = name

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> Session:
        """The first of the hosts that takes writes, as drivers with several hosts do. ProbeError."""
        database = self.target.database
        places = [(path.host, path.port)] if path else [(host, database.port) for host in database.hosts]
        fault = probe_error(WorldFault(FailoverFault.NO_PRIMARY, "no host takes writes"))
        for host, port in places:
            try:
                return self._session(host, port, client, seconds, lone=len(places) == 1)
            except ProbeError as error:
                fault = error
        raise fault

    def watch(self, name: str, host: str, port: int, seconds: float) -> Session:
        """A session at a member itself. ProbeError."""
        session = Session(self._line(host, port, seconds), self.table, 0, None)
        session.node = name
        return session

    @contextmanager
    def administer(self, endpoint: Endpoint, doing: str) -> Iterator[Connection]:
        """A session at a member that may define and read tables. UserFault, WorldFault."""
        connection = connect(self.target, endpoint, self.dbname)
        try:
            with guarded(doing):
                connection.execute(
                    "SELECT pg_catalog.set_config('statement_timeout', %s, false),"
                    " pg_catalog.set_config('lock_timeout', %s, false)",
                    (STATEMENT_TIMEOUT, LOCK_TIMEOUT),
                )
                yield connection
        finally:
            connection.close()

    def _session(self, host: str, port: int, client: int, seconds: float, *, lone: bool) -> Session:
        line = self._line(host, port, seconds)
        try:
            writes = line.ask(_WHERE)[0][0]
            if writes != "t" and not lone:
                fault = WorldFault(FailoverFault.NO_PRIMARY, f"{host}:{port} takes no writes")
                raise probe_error(fault)
        except BaseException:
            line.close()
            raise
        return Session(line, self.table, client, self.nodes)

    def _line(self, host: str, port: int, seconds: float) -> Line:
        try:
            endpoint = Endpoint(host, port, _address(host, port, seconds))
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        return Line.open(self.target, endpoint, self.dbname, seconds)


def endpoint_of(host: str, port: int) -> Endpoint:
    """Where a name leads to."""
    return Endpoint(host, port, _address(host, port))


def _address(host: str, port: int, seconds: float | None = None) -> str | None:
    if host.startswith("/"):
        return None
    return (resolve(host, port) if seconds is None else resolve(host, port, seconds=seconds))[0]
