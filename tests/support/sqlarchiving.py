"""A server of MariaDB or MySQL whose log is shipped: where it is, and somebody who writes to it."""

from __future__ import annotations

import threading
from contextlib import suppress

import pymysql

from databosun.api.drill import Check, PointKind, RecoveryPoint
from databosun.api.result import RestoreResult
from databosun.domain.wal import format_lsn
from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.recoveryyard import check

LATEST = RecoveryPoint(kind=PointKind.LATEST)


def end_of(server: MariaServer) -> str:
    """The end of a server's binary log, as every log has positions."""
    name, offset = server.position()
    return format_lsn((int(name.rpartition(".")[2]) << 32) | offset)


def counted(name: str, value: int, where: str = "TRUE") -> Check:
    """A check that `t` has that many rows."""
    return check(name, "Query", database="shop", query=f"SELECT COUNT(*) FROM t WHERE {where}", value=str(value))


def restored_rows(yard: MariaYard, backup: str, until: RecoveryPoint) -> tuple[RestoreResult, list[int]]:
    """What a restore holds: everything, and the rows of `t`."""
    pod = yard.pod()
    ran = yard.restore(backup, pod=pod, until=until, id=f"restore-{backup}-{until.kind.lower()}")
    restored = ran.result.restore
    assert restored, ran.output[-4000:]
    other = type(yard.its)()
    try:
        other.data = pod.restored / restored.data_directory
        other.configure()
        other.start()
        return restored, [row[0] for row in other.sql("SELECT i FROM t ORDER BY i", "shop")]
    finally:
        other.remove()


class Writer:
    """Commits rows one by one in a thread until told to stop; `acknowledged` are those that the server confirmed.

    `pause`: seconds between two of them.
    """

    def __init__(self, server: MariaServer, *, width: int = 600, pause: float = 0.0) -> None:
        self._server = server
        self._width = width
        self._pause = pause
        self._stop = threading.Event()
        self.acknowledged: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._server.sql("CREATE TABLE IF NOT EXISTS t (i INT PRIMARY KEY, v TEXT)", "shop")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(pymysql.MySQLError):
            connection = self._server.connect("shop")
            with connection.cursor() as cursor:
                while not self._stop.wait(self._pause):
                    number = len(self.acknowledged)
                    cursor.execute("INSERT INTO t VALUES (%s, REPEAT('x', %s))", (number, self._width))
                    self.acknowledged.append(number)
