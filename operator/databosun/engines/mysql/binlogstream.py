"""The server's binary log as a replica gets it: event by event, as they stand in its files, for as long as it lives."""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection
from pymysql.constants import COMMAND

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mysql.binlogevents import FIRST, Event, Kind, read_event
from databosun.engines.mysql.connect import Session, opened
from databosun.engines.mysql.dialect import Dialect

HEARTBEAT_SECONDS = 0.5
SILENCE_SECONDS = 30.0
_SMALLEST_EVENT = 19
_NOBODY = 0  # the server ends the stream of such a reader at the log's end, and nobody else's


class BinlogStream:
    """One session that has become a stream of events. `close` its connection to end it."""

    def __init__(self, connection: Connection[Any], dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def start(self, file: str, offset: int, server_id: int) -> None:
        """Ask for a file from an offset on; the server goes on with the next file by itself, and never ends."""
        heartbeat = int(HEARTBEAT_SECONDS * 1_000_000_000)
        with self._connection.cursor() as cursor:
            for statement in self._dialect.streamed:
                cursor.execute(statement.format(heartbeat=heartbeat))
            if server_id and self._dialect.replica_name:
                # Of two streams of one name the server ends the older, whatever their numbers.
                cursor.execute(self._dialect.replica_name, (f"{server_id:08x}-da7a-4b05-8000-{server_id:012x}",))
        self._connection._read_timeout = SILENCE_SECONDS
        flags = self._dialect.stream_flags.to_bytes(2, "little")
        body = offset.to_bytes(4, "little") + flags + server_id.to_bytes(4, "little") + file.encode()
        self._connection._execute_command(COMMAND.COM_BINLOG_DUMP, body)

    def next(self) -> Event:
        """The next event; on an idle server a heartbeat. WorldFault(ServerStopped) at the end."""
        packet = self._connection._read_packet()
        data = bytearray(packet.get_all_data())
        if data[0] == 0xFE and len(data) < 9:
            raise WorldFault(Reason.SERVER_STOPPED, "the server ended the stream of its binary log: it stops")
        if len(data) <= _SMALLEST_EVENT:
            message = f"the server sent {len(data)} bytes where an event was expected"
            raise WorldFault(Reason.BINLOG_UNREADABLE, message)
        return read_event(data[1:])


def began_at(session: Session, file: str) -> int:
    """When a file was begun, by the server's clock, to the second: it stands at its beginning and never changes."""
    with opened(session) as connection:
        stream = BinlogStream(connection, session.dialect)
        stream.start(file, FIRST, _NOBODY)
        while (event := stream.next()).kind != Kind.FORMAT_DESCRIPTION:
            pass
        return event.when
