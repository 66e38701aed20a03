"""Lets a program open several sessions at once, each a session of ours, and says what it is about to run in them.

What holds for `relay.py` holds here: no password in a file or an argument, TLS as the spec says. Beyond that, what the
program says is seen before the server sees it: so the instant of the copy can be looked at from a session of our own
while no commit can happen, and no wait for a lock, nor for us, is longer than we say.
"""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.mysql.connect import Session, abandon, open_sql
from databosun.engines.mysql.relay import carry, greet

_LOOK_SECONDS = 0.5
_LET_GO_SECONDS = 10.0
_QUIT, _QUERY = 0x01, 0x03
_HEADER = 4


class Doors:
    """Serves one program while the block runs. `socket_path` is for its `--socket`. `before`: told of each statement
    before the server is, in a thread of its session; what it returns is sent instead, in order: the program gets the
    answer to the last one."""

    def __init__(self, session: Session, before: Callable[[str], Sequence[str]]) -> None:
        self._session = session
        self._before = before
        self._folder = Path(tempfile.mkdtemp(prefix="bosun-doors-"))
        self.socket_path = self._folder / "socket"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.socket_path))
        self._listener.listen(16)
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._threads = [threading.Thread(target=self._accept, name="doors", daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:  # the first one makes the others, and is joined before them
            thread.join(_LET_GO_SECONDS)
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def demand_open(self) -> None:
        """Raise what broke a session off, or kept it from being opened, where one was. WorldFault, UserFault."""
        if isinstance(self._fault, DatabosunError):
            raise self._fault
        if self._fault is not None:
            message = (
                f"a session of the backup was broken off in the middle: {self._fault}; the next attempt starts anew"
            )
            raise WorldFault(Reason.CONNECTION_LOST, message) from self._fault

    def _accept(self) -> None:
        while not self._stop.is_set():
            if select.select([self._listener], [], [], _LOOK_SECONDS)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), name="door", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        """One session, to its end. One that the program leaves behind is ended at the server, too."""
        with ExitStack() as stack:
            stack.enter_context(client)
            try:
                upstream = open_sql(self._session)
            except DatabosunError as fault:
                self._fault = self._fault or fault
                return
            stack.callback(abandon, self._session, upstream)
            try:
                greet(client, upstream, self._session.dialect.relay_plugin)
                clean = self._pump(client, upstream)
            except (OSError, ssl.SSLError, ValueError, pymysql.MySQLError) as error:
                self._fault = self._fault or error
                return
            if clean:
                stack.pop_all()
                with suppress(pymysql.MySQLError, OSError):
                    upstream.close()
                client.close()

    def _pump(self, client: socket.socket, upstream: Connection[Any]) -> bool:
        """Carry bytes both ways until the program quits: True. Its goodbye is not passed on."""
        said = bytearray()

        def heard(data: bytes, up: socket.socket) -> bool:
            said.extend(data)
            while (size := _packet_size(said)) is not None:
                packet = bytes(said[:size])
                del said[:size]
                if packet[_HEADER:] == bytes([_QUIT]):
                    return True
                up.sendall(self._seen(packet, upstream))
            return False

        return carry(client, upstream, self._stop, heard)

    def _seen(self, packet: bytes, upstream: Connection[Any]) -> bytes:
        """The packet as the server is to have it, once it has had what comes before it."""
        if packet[_HEADER : _HEADER + 1] != bytes([_QUERY]):
            return packet
        statement = packet[_HEADER + 1 :].decode("utf-8", "replace")
        *first, wanted = self._before(statement)
        for one in first:  # no answer is outstanding: the program waits for each
            upstream.query(one)
        if wanted == statement:
            return packet
        payload = bytes([_QUERY]) + wanted.encode()
        return len(payload).to_bytes(3, "little") + packet[3:_HEADER] + payload


def _packet_size(said: bytearray) -> int | None:
    """Of the packet that is whole at the beginning; None where none is."""
    size = _HEADER + int.from_bytes(said[:3], "little")
    return size if len(said) >= max(size, _HEADER) else None
