"""The server's binary log as a replica gets it: event by event, as they stand in its files, for as long as it lives."""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection
from pymysql.constants import COMMAND

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mysql.binlogevents import Event, read_event

HEARTBEAT_SECONDS = 0.5
SILENCE_SECONDS = 30.0
# 4: understands GTID events (MARIA_SLAVE_CAPABILITY_GTID); checksums as the file has them.
_SETUP = (
    "SET @mariadb_slave_capability = 4",
    "SET @master_binlog_checksum = 'CRC32'",
    f"SET @master_heartbeat_period = {int(HEARTBEAT_SECONDS * 1_000_000_000)}",
)
_SMALLEST_EVENT = 19
# Events that hold the statement of row events are left out otherwise, and the file would have holes.
_ANNOTATIONS = (2).to_bytes(2, "little")


class BinlogStream:
    """One session that has become a stream of events. `close` its connection to end it."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def start(self, file: str, offset: int, server_id: int) -> None:
        """Ask for a file from an offset on; the server goes on with the next file by itself, and never ends."""
        with self._connection.cursor() as cursor:
            for statement in _SETUP:
                cursor.execute(statement)
        self._connection._read_timeout = SILENCE_SECONDS
        body = offset.to_bytes(4, "little") + _ANNOTATIONS + server_id.to_bytes(4, "little") + file.encode()
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
