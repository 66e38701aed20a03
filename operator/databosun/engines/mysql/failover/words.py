"""How MariaDB and MySQL are asked and told of replication: one set of words each, the moves are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.gtidset import parse_gtid_set
from databosun.engines.base import Credentials
from databosun.engines.mysql.connect import one, rows
from databosun.engines.mysql.failover.facts import Following, NodeFacts, Place
from databosun.engines.mysql.failover.gtids import errant

MARIADB_REPLICATION = "MariaDBReplication"
MYSQL_REPLICATION = "MySQLReplication"


@dataclass(frozen=True, slots=True)
class Words:
    """`provider`: who moves primaries by them. `by_gtid`, `logs`: settings that replicas need, for people. `stop`,
    `stop_receiving`, `start`, `forget`: a replica's statements; `freeze`: a server takes no more writes; `thaw`: it
    does. `wait` waits for a position for so many seconds, and gives 0 once it is there.

    `change` points a replica, by options that begin with `option`; `repointed`, `following`: the one by which it then
    replicates, as it did or as one that was a primary; `plain`: what a login without TLS needs besides. `longest`: of
    the password that a replica may be told, in bytes.

    `mover`: privileges of who moves, `looker` of who only looks. `errant`: what a server has that another has not.
    """

    provider: str
    by_gtid: str
    logs: str
    stop: str
    stop_receiving: str
    start: str
    forget: str
    freeze: str
    wait: str
    change: str
    option: str
    repointed: str
    following: str
    plain: str
    longest: int
    mover: tuple[str, ...]
    looker: tuple[str, ...]
    ask: Callable[[Connection[Any]], NodeFacts]
    errant: Callable[[str, str], list[str]]
    thaw: str = "SET GLOBAL read_only = 0"

    def come_to(self, connection: Connection[Any], wanted: str, seconds: float) -> bool:
        """Whether a replica has applied all up to a position, waiting that long for it."""
        (waited,) = one(connection, self.wait, (wanted, seconds))
        return bool(waited == 0)

    def follow(self, connection: Connection[Any], source: Place, login: Credentials, tls: TLSMode) -> None:
        """A server that was a primary, or was to be one, becomes a replica: from what its own log holds."""
        names = ", ".join(f"{self.option}_{name} = %s" for name in ("HOST", "PORT", "USER", "PASSWORD", "SSL"))
        plain = tls is TLSMode.DISABLE
        said = f"{self.change} {names}, {self.following}{self.plain if plain else ''}"
        with connection.cursor() as cursor:
            cursor.execute(said, (source.host, source.port, login.username, login.password, 0 if plain else 1))
            cursor.execute(self.start)

    def repoint(self, connection: Connection[Any], source: Place) -> None:
        """A replica follows another primary; how it logs in there it knows already."""
        with connection.cursor() as cursor:
            cursor.execute(self.stop)
            said = f"{self.change} {self.option}_HOST = %s, {self.option}_PORT = %s, {self.repointed}"
            cursor.execute(said, (source.host, source.port))
            cursor.execute(self.start)


def words_of(engine: EngineName | str) -> Words:
    """Of an engine of this package."""
    return _KNOWN[EngineName(engine)]


def run(connection: Connection[Any], *statements: str) -> None:
    """Statements, one after the other."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _ask_mariadb(connection: Connection[Any]) -> NodeFacts:
    server_id, read_only, state, position, log_bin, updates, semi = one(
        connection,
        "SELECT @@server_id, @@GLOBAL.read_only, @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_binlog_pos, @@log_bin, "
        "@@log_slave_updates, @@GLOBAL.rpl_semi_sync_master_enabled",
    )
    found = _replica(connection, "SHOW ALL SLAVES STATUS")
    return NodeFacts(
        server_id=int(server_id),
        read_only=bool(read_only),
        state=str(state),
        position=str(position),
        logs=bool(log_bin) and bool(updates),
        semi_sync=bool(semi),
        following=_following(found[0], "Master", "Slave") if found else None,
        channels=len(found),
    )


# By either name: which one there is depends on the version, and, of the second, on the plug-in.
_UPDATES = ("log_replica_updates", "log_slave_updates")
_SEMI_SYNC = ("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")


def _ask_mysql(connection: Connection[Any]) -> NodeFacts:
    server_id, read_only, executed, mode = one(
        connection, "SELECT @@server_id, @@GLOBAL.read_only, @@GLOBAL.gtid_executed, @@GLOBAL.gtid_mode"
    )
    named = "SHOW GLOBAL VARIABLES WHERE Variable_name IN %s"
    on = {str(name) for name, value in rows(connection, named, (("log_bin", *_UPDATES, *_SEMI_SYNC),)) if value == "ON"}
    found = _replica(connection, "SHOW REPLICA STATUS")
    state = "".join(str(executed).split())
    return NodeFacts(
        server_id=int(server_id),
        read_only=bool(read_only),
        state=state,
        position=state,
        logs="log_bin" in on and mode == "ON" and not on.isdisjoint(_UPDATES),
        semi_sync=not on.isdisjoint(_SEMI_SYNC),
        following=_following(found[0], "Source", "Replica") if found else None,
        channels=len(found),
    )


def _replica(connection: Connection[Any], statement: str) -> list[Mapping[str, Any]]:
    with connection.cursor(DictCursor) as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _following(said: Mapping[str, Any], source: str, replica: str) -> Following:
    applies = said[f"{replica}_SQL_Running"] == "Yes"
    running = said[f"{replica}_IO_Running"] == "Yes" and applies
    told = said.get("Last_SQL_Error") or said.get("Last_IO_Error") or "replication is stopped, or connecting"
    behind = said.get(f"Seconds_Behind_{source}")
    by_gtid = said.get("Using_Gtid") in ("Slave_Pos", "Current_Pos") or str(said.get("Auto_Position")) == "1"
    received = said.get("Gtid_IO_Pos") or said.get("Retrieved_Gtid_Set") or ""
    return Following(
        host=str(said[f"{source}_Host"]),
        port=int(said[f"{source}_Port"]),
        gtid=by_gtid,
        received="".join(str(received).split()),
        applies=applies,
        problem=None if running else str(told),
        seconds=None if behind is None else float(behind),
    )


def _errant_set(of: str, against: str) -> list[str]:
    """A stretch by server, as MySQL writes it."""
    left = str(parse_gtid_set(of) - parse_gtid_set(against))
    return left.split(",") if left else []


_KNOWN = {
    EngineName.MARIADB: Words(
        provider=MARIADB_REPLICATION,
        by_gtid="MASTER_USE_GTID",
        logs="log_bin, log_slave_updates",
        stop="STOP SLAVE",
        stop_receiving="STOP SLAVE IO_THREAD",
        start="START SLAVE",
        forget="RESET SLAVE ALL",
        freeze="SET GLOBAL read_only = 1",
        wait="SELECT MASTER_GTID_WAIT(%s, %s)",
        change="CHANGE MASTER TO",
        option="MASTER",
        repointed="MASTER_USE_GTID = slave_pos",
        following="MASTER_USE_GTID = current_pos",
        plain="",
        longest=96,
        mover=("REPLICATION SLAVE", "REPLICATION SLAVE ADMIN", "BINLOG MONITOR", "SLAVE MONITOR", "READ_ONLY ADMIN",
               "RELOAD"),
        looker=("BINLOG MONITOR", "SLAVE MONITOR"),
        ask=_ask_mariadb,
        errant=errant,
    ),
    EngineName.MYSQL: Words(
        provider=MYSQL_REPLICATION,
        by_gtid="SOURCE_AUTO_POSITION",
        logs="gtid_mode, log_bin, log_replica_updates",
        stop="STOP REPLICA",
        stop_receiving="STOP REPLICA IO_THREAD",
        start="START REPLICA",
        forget="RESET REPLICA ALL",
        # Those who may pass `read_only` by are stopped, too. Letting go of the one lets go of both.
        freeze="SET GLOBAL super_read_only = 1",
        wait="SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)",
        change="CHANGE REPLICATION SOURCE TO",
        option="SOURCE",
        repointed="SOURCE_AUTO_POSITION = 1",
        following="SOURCE_AUTO_POSITION = 1",
        plain=", GET_SOURCE_PUBLIC_KEY = 1",  # a password goes by the source's own key where there is no TLS
        longest=32,
        mover=("REPLICATION SLAVE", "REPLICATION CLIENT", "RELOAD", "REPLICATION_SLAVE_ADMIN",
               "SYSTEM_VARIABLES_ADMIN"),
        looker=("REPLICATION CLIENT",),
        ask=_ask_mysql,
        errant=_errant_set,
    ),
}  # fmt: skip
