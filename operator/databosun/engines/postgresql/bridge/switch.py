"""The switch: every rename in one transaction, so that it has happened wholly or not at all, whoever is killed when.

A rename of a database takes its lock first, at which new sessions wait; it then waits up to five seconds for the others
to go. Those are ended from a second session meanwhile. Nobody is locked out for longer than that, and a transaction
that is not committed leaves no trace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import errors, sql

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.reasons import Reason

_EVERY_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0
_END = """
SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
WHERE a.datid = ANY(%s) AND a.pid <> ALL(%s) AND a.backend_type NOT LIKE 'autovacuum%%'
"""
_WHO = """
SELECT DISTINCT coalesce(a.usename::text, a.backend_type), a.pid FROM pg_catalog.pg_stat_activity AS a
WHERE a.datid = ANY(%s) ORDER BY 2
"""


@dataclass(frozen=True, slots=True)
class Rename:
    """One database gets another name."""

    oid: int
    name: str
    to: str


def rename_all(server: Server, renames: Sequence[Rename], pulse: Callable[[], None]) -> None:
    """All of them or none. WorldFault(TargetBusy) where sessions do not go away."""
    oids = [one.oid for one in renames]
    limit = time.monotonic() + _PATIENCE_SECONDS
    while True:
        pulse()
        with server.open() as connection, _Clearing(server, oids, connection.info.backend_pid) as clearing:
            try:
                _rename(connection, renames)
            except errors.ObjectInUse as error:
                if time.monotonic() < limit:
                    continue
                raise WorldFault(Reason.TARGET_BUSY, _busy(server, oids, error, clearing.fault)) from error
            return


def _rename(connection: psycopg.Connection[tuple[object, ...]], renames: Sequence[Rename]) -> None:
    with connection.transaction():
        for one in renames:
            alter = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(alter.format(sql.Identifier(one.name), sql.Identifier(one.to)))


def _busy(server: Server, oids: list[int], error: psycopg.Error, fault: str | None) -> str:
    with server.open() as connection:
        rows = connection.execute(_WHO, (oids,)).fetchall()
    who = ", ".join(f"{user} ({pid})" for user, pid in rows[:5]) or "nobody that is shown"
    why = f"; {fault}" if fault else ""
    return (
        f"for {_PATIENCE_SECONDS:.0f} s the databases could not be renamed: {error.diag.message_primary}; connected: "
        f"{who}{why}; nothing was renamed"
    )


@dataclass
class _Clearing:
    """Ends the sessions of some databases for as long as the block runs."""

    server: Server
    oids: list[int]
    own: int
    fault: str | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> _Clearing:
        self._thread = threading.Thread(target=self._run, name="end sessions", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self.server.open() as connection:
                while not self._over.wait(_EVERY_SECONDS):
                    try:
                        connection.execute(_END, (self.oids, [self.own]))
                    except errors.InsufficientPrivilege as error:
                        self.fault = f"not all sessions may be ended: {error.diag.message_primary}"
        except DatabosunError as error:
            self.fault = error.message
