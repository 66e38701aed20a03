"""Real MySQL servers for tests: of a suite of Debian that moves on, so that a day may come on which there is none."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path

import pytest
from hack.debian import Undelivered
from hack.tools import toolbox

from support.mariaserver import MariaServer
from support.waiting import eventually

_SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-buffer-pool-size": "32M",
    "innodb-redo-log-capacity": "16M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "OFF",
    "performance-schema": "OFF",
    "log-bin": "bin",
    "server-id": "7",
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "skip-name-resolve": "ON",
    "event-scheduler": "OFF",
    "secure-file-priv": "NULL",
    "mysqlx": "OFF",
}


@cache
def _brought() -> tuple[Path | None, str]:
    try:
        return toolbox.get("mysql"), ""
    except Undelivered as said:
        return None, str(said)


def mysql_bin() -> Path:
    """Where its programs are; brought on first use. The test is skipped, and says why, where the suite has none."""
    folder, reason = _brought()
    if folder is None:
        pytest.skip(f"no MySQL to test with: {reason}")
    return folder


def plugins() -> Path:
    """Where its plug-ins are."""
    return mysql_bin().parent / "files/usr/lib/mysql/plugin"


class MySQLServer(MariaServer):
    """One server of MySQL, in a copy of a data directory that was made once."""

    defaults = _SETTINGS

    def __init__(self, *, settings: dict[str, str] | None = None, origin: MariaServer | None = None) -> None:
        self.program = str(mysql_bin() / "mysqld")
        self.installer = (self.program, "--initialize-insecure")
        super().__init__(settings=settings, origin=origin)

    def init(self) -> None:
        """Make the data directory: of a server of its own, whose uuid is not the origin's."""
        super().init()
        (self.data / "auto.cnf").unlink(missing_ok=True)

    def position(self) -> tuple[str, int]:
        """File and position of the binary log."""
        ((file, position, *_),) = self.sql("SHOW BINARY LOG STATUS")
        return str(file), int(position)

    def transaction(self) -> str:
        """All transactions up to the newest one, which is what names it here."""
        ((executed,),) = self.sql("SELECT @@gtid_executed")
        return "".join(str(executed).split())

    def lead(self, other: MariaServer) -> None:
        """A server that has nothing of its own becomes a replica of this one."""
        self.sql("CREATE USER IF NOT EXISTS repl@'127.0.0.1' IDENTIFIED BY 'r'")
        self.sql("GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'")
        other.sql(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={self.port}, SOURCE_USER='repl', "
            "SOURCE_PASSWORD='r', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
        )
        other.sql("START REPLICA")
        self.wait_for(other)

    def wait_for(self, other: MariaServer) -> None:
        """Until another one has all that this server has."""
        wanted = self.transaction()
        waited = f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{wanted}', 1)"
        eventually("the replica has it all", lambda: other.sql(waited) == [(0,)], 240)

    def begin_log_anew(self) -> None:
        """Forget the log and its transactions."""
        self.sql("RESET BINARY LOGS AND GTIDS")


@cache
def new_server() -> MySQLServer:
    """A server that was installed and never started: the origin of others."""
    server = MySQLServer()
    atexit.register(server.remove)
    server.init()
    return server
