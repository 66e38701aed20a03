"""What a server says of itself, as far as a failover is concerned, and how one is told to follow another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from databosun.api.v1alpha1.database import TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mysql.connect import CONNECT_SECONDS, Endpoint, Session, one, open_sql
from databosun.engines.mysql.faults import guarded
from databosun.engines.reaching import resolve


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is; its text is the name of the member."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """`host:port`."""
        host, _, port = text.rpartition(":")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class Following:
    """Its place as a replica. `problem`: why it does not follow; `seconds`: how far it is behind, where it does.
    `received`: up to where, applied or not; `applies`: what it received."""

    host: str
    port: int
    gtid: bool
    received: str
    applies: bool
    problem: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One look. `state`: `gtid_binlog_state`."""

    server_id: int
    read_only: bool
    state: str
    position: str
    logs: bool
    semi_sync: bool
    following: Following | None
    channels: int

    @property
    def primary(self) -> bool:
        """It takes writes, and follows nobody."""
        return not self.read_only and self.following is None


@dataclass(frozen=True, slots=True)
class Nodes:
    """Opens sessions to members with one login."""

    target: Target

    @contextmanager
    def open(self, place: Place) -> Iterator[Connection[Any]]:
        """A session that may write. UserFault, WorldFault."""
        connection = self.connect(place)
        try:
            yield connection
        finally:
            connection.close()

    def connect(self, place: Place, seconds: float = CONNECT_SECONDS) -> Connection[Any]:
        """The same, the caller's to close."""
        endpoint = Endpoint(place.host, place.port, resolve(place.host, place.port)[0])
        return open_sql(Session(self.target, endpoint), read_only=False, seconds=seconds)

    def ask(self, place: Place) -> NodeFacts:
        """Look once."""
        with self.open(place) as connection, guarded(f"asking {place} for its place in the replication"):
            return ask_node(connection)

    def with_login(self, credentials: Credentials) -> Nodes:
        """The same members, as somebody else."""
        return Nodes(replace(self.target, credentials=credentials))

    @property
    def user(self) -> str:
        """Who asks."""
        return self.target.credentials.username


def members_of(target: Target) -> list[Place]:
    """Every host of the Database. UserFault where that is one name for all of them."""
    found = []
    for host in target.database.hosts:
        name, colon, port = host.rpartition(":")
        found.append(Place(name, int(port)) if colon and port.isdigit() else Place(host, target.database.port))
    if len(found) < 2:
        message = (
            f"spec.connection.hosts names {', '.join(map(str, found)) or 'nobody'}; provider MariaDBReplication needs "
            "the primary and every replica there, each by a name of its own"
        )
        raise UserFault(Reason.NO_PRIMARY, message)
    return found


def ask_node(connection: Connection[Any]) -> NodeFacts:
    """Ask in a session."""
    server_id, read_only, state, position, log_bin, updates, semi = one(
        connection,
        "SELECT @@server_id, @@GLOBAL.read_only, @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_binlog_pos, @@log_bin, "
        "@@log_slave_updates, @@GLOBAL.rpl_semi_sync_master_enabled",
    )
    with connection.cursor(DictCursor) as cursor:
        cursor.execute("SHOW ALL SLAVES STATUS")
        found: list[Mapping[str, Any]] = list(cursor.fetchall())
    return NodeFacts(
        server_id=int(server_id),
        read_only=bool(read_only),
        state=str(state),
        position=str(position),
        logs=bool(log_bin) and bool(updates),
        semi_sync=bool(semi),
        following=_following(found[0]) if found else None,
        channels=len(found),
    )


def _following(said: Mapping[str, Any]) -> Following:
    running = (said["Slave_IO_Running"], said["Slave_SQL_Running"]) == ("Yes", "Yes")
    told = said.get("Last_SQL_Error") or said.get("Last_IO_Error") or "replication is stopped, or connecting"
    behind = said.get("Seconds_Behind_Master")
    return Following(
        host=str(said["Master_Host"]),
        port=int(said["Master_Port"]),
        gtid=said.get("Using_Gtid") in ("Slave_Pos", "Current_Pos"),
        received=str(said.get("Gtid_IO_Pos") or ""),
        applies=said["Slave_SQL_Running"] == "Yes",
        problem=None if running else str(told),
        seconds=None if behind is None else float(behind),
    )


def run(connection: Connection[Any], *statements: str) -> None:
    """Statements, one after the other."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def come_to(connection: Connection[Any], wanted: str, seconds: float) -> bool:
    """Whether a replica has applied all up to a position, waiting that long for it."""
    (waited,) = one(connection, "SELECT MASTER_GTID_WAIT(%s, %s)", (wanted, seconds))
    return bool(waited == 0)


def follow(connection: Connection[Any], master: Place, login: Credentials, tls: TLSMode) -> None:
    """A server that was a primary, or was to be one, becomes a replica: from what its own log holds."""
    secured = 0 if tls is TLSMode.DISABLE else 1
    with connection.cursor() as cursor:
        cursor.execute(
            "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s, "
            "MASTER_SSL = %s, MASTER_USE_GTID = current_pos",
            (master.host, master.port, login.username, login.password, secured),
        )
        cursor.execute("START SLAVE")


def repoint(connection: Connection[Any], master: Place) -> None:
    """A replica follows another primary; how it logs in there it knows already."""
    with connection.cursor() as cursor:
        cursor.execute("STOP SLAVE")
        cursor.execute(
            "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USE_GTID = slave_pos",
            (master.host, master.port),
        )
        cursor.execute("START SLAVE")
