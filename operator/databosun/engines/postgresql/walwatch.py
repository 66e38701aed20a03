"""Beside the stream: what the clock says at which position, how the slot fares, a heartbeat, and when to let go."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from databosun.api.archive import Sibling
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.wal import WalPoint, end_of_written, format_lsn, parse_lsn
from databosun.engines.archiving import ArchivePlan, ArchiveState, WalSink
from databosun.engines.base import Target
from databosun.engines.postgresql.connect import Connection, Endpoint, Session, open_sql, writes_on
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.slots import hold_on_standby, look_at

QUICKEST_SECONDS = 0.25
SLOWEST_SECONDS = 5.0
SIBLING_SECONDS = 15.0
# A server that stops waits for its archiver. Where the store does not take the rest, the archiver goes instead: the
# slot keeps what is missing, and nobody's restart hangs.
STOPPING_SECONDS = 10.0
# A smart shutdown, which is what SIGTERM asks for, waits for every session: none of ours may last.
RENEW_SECONDS = 5.0
HEARTBEAT = "databosun"
WATCH, SIBLINGS = "watch", "siblings"

_SAMPLE = """
SELECT s.at, s.next::text, pg_catalog.pg_current_wal_lsn()::text, substr(pg_catalog.pg_walfile_name(s.next), 1, 8)
FROM (SELECT pg_catalog.clock_timestamp() AS at, pg_catalog.pg_current_wal_insert_lsn() AS next) AS s
"""
_STOPS = frozenset({Reason.SERVER_STOPPED, Reason.SERVER_NOT_READY})


@dataclass(frozen=True, slots=True)
class Watched:
    """Whom to watch: the server as the stream sees it, its slot, and the sizes of its log."""

    session: Session
    slot: str
    system_identifier: str
    segment_bytes: int
    block_bytes: int


class WalWatch:
    """Looks every quarter of `maxLag` until the block is left. `left`: why the stream must end, once it must."""

    def __init__(self, watched: Watched, plan: ArchivePlan, sink: WalSink, state: ArchiveState) -> None:
        self._watched = watched
        self._plan = plan
        self._sink = sink
        self._state = state
        self._done = threading.Event()
        self._connection: Connection | None = None
        self._connected_at = float("-inf")
        self._stopping_since: float | None = None
        self._beat_at = float("-inf")
        self._threads = [threading.Thread(target=self._run, name="watch the log", daemon=True)]
        if len(watched.session.target.database.hosts) > 1:
            self._threads.append(threading.Thread(target=self._run_siblings, name="watch the others", daemon=True))
        self.left: WorldFault | None = None

    def __enter__(self) -> WalWatch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # One that waits for a dead host is a daemon; nobody waits for that.
        self._threads[0].join(timeout=SLOWEST_SECONDS)

    def _run(self) -> None:
        pause = min(max(self._plan.max_lag / 4, QUICKEST_SECONDS), SLOWEST_SECONDS)
        while not self._done.is_set():
            try:
                self._look()
                self._stopping_since = None
                self._state.well(WATCH)
            except DatabosunError as fault:
                self._forget()
                self._state.trouble(WATCH, fault)
                self._consider_stop(fault)
            self._done.wait(pause)
        self._forget()

    def _look(self) -> None:
        connection = self._session()
        with guarded("reading the server's clock and position"):
            row = connection.execute(_SAMPLE).fetchone()
        if row is None or not isinstance(row[0], datetime):
            raise WorldFault(Reason.DATABASE_ERROR, "the server did not tell its clock and position")
        sizes = self._watched
        written = end_of_written(
            parse_lsn(str(row[1])), block_bytes=sizes.block_bytes, segment_bytes=sizes.segment_bytes
        )
        at = row[0].astimezone(UTC)
        self._sink.sampled(at, WalPoint(int(str(row[3]), 16), written))
        self._state.know(server_now=at, server_lsn=str(row[2]))
        self._judge_slot(connection)
        self._beat(connection)

    def _session(self) -> Connection:
        """A session that is not old; a server that is about to stop gives no new one, and says so."""
        if time.monotonic() - self._connected_at >= RENEW_SECONDS:
            self._forget()
        if self._connection is None:
            self._connection, self._connected_at = open_sql(self._watched.session), time.monotonic()
        return self._connection

    def _judge_slot(self, connection: Connection) -> None:
        name = self._watched.slot
        slot = look_at(connection, name)
        if slot is None:
            return
        self._state.know(slot=name, slot_status=slot.status, retained_bytes=max(0, slot.retained))
        if slot.lost:
            message = f"the server has invalidated replication slot {name}: it let go of log that was not archived"
            self._leave(Reason.SLOT_LOST, message)
        elif slot.retained > self._plan.max_retained:
            message = (
                f"the server keeps {slot.retained} bytes of log for the archiver, and continuous.maxRetained allows "
                f"{self._plan.max_retained}; the archiver lets go of its slot"
            )
            self._leave(Reason.RETAINED_TOO_MUCH, message)

    def _beat(self, connection: Connection) -> None:
        """The opt-in heartbeat: a commit of no table, for a login-only role, which moves an idle database's clock."""
        every = self._plan.heartbeat
        if every is None or time.monotonic() - self._beat_at < every:
            return
        self._beat_at = time.monotonic()
        with guarded("emitting the heartbeat"):
            connection.execute(
                "SELECT pg_catalog.pg_logical_emit_message(true, %s, pg_catalog.clock_timestamp()::text)", (HEARTBEAT,)
            )

    def _consider_stop(self, fault: DatabosunError) -> None:
        if fault.reason not in _STOPS:
            return
        self._sink.ship()
        now = time.monotonic()
        self._stopping_since = self._stopping_since or now
        if now - self._stopping_since > STOPPING_SECONDS and not self._sink.idle():
            message = "the server stops, and the store does not take the rest of its log; its slot keeps that"
            self._leave(Reason.SERVER_STOPPED, message)

    def _leave(self, reason: str, message: str) -> None:
        self.left = self.left or WorldFault(reason, message)

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run_siblings(self) -> None:
        while not self._done.is_set():
            durable = self._sink.durable
            if durable is not None:
                target = self._watched.session.target
                others = [host for host in target.database.hosts if host != self._watched.session.endpoint.host]
                self._state.siblings([self._visit(target, host, durable) for host in others])
            self._done.wait(SIBLING_SECONDS)

    def _visit(self, target: Target, host: str, durable: WalPoint) -> Sibling:
        """Keep a slot on another host; where that one is the primary of a newer timeline, go there."""
        endpoint = Endpoint(host, target.database.port)
        try:
            session = Session(target, endpoint)
            timeline = writes_on(target, endpoint)
            with open_sql(session) as connection:
                self._demand_same_server(connection, host)
                if timeline is not None:
                    if timeline > durable.timeline:
                        message = f"{host} takes writes on timeline {timeline}, newer than {durable.timeline} here"
                        self._leave(Reason.PROMOTED, message)
                    return Sibling(host=host, held=False, message=f"takes writes itself, on timeline {timeline}")
                hold_on_standby(connection, self._watched.slot, durable.lsn)
        except DatabosunError as fault:
            return Sibling(host=host, held=False, message=f"{fault.reason}: {fault.message}"[:500])
        except psycopg.Error as error:
            return Sibling(host=host, held=False, message=str(error)[:500])
        return Sibling(host=host, held=True, message=f"advanced to {format_lsn(durable.lsn)}")

    def _demand_same_server(self, connection: Connection, host: str) -> None:
        with guarded(f"asking {host} who it is"):
            row = connection.execute("SELECT system_identifier::text FROM pg_catalog.pg_control_system()").fetchone()
        found = str(row[0]) if row else "nothing"
        if found != self._watched.system_identifier:
            message = f"{host} has system identifier {found}, not {self._watched.system_identifier}: no copy of it"
            raise WorldFault(Reason.ANOTHER_SERVER, message)
