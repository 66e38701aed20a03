"""Lets a client program work in a session of ours: over a socket in a private folder, without a password.

The session was opened by this engine, with its TLS and its settings, and it outlives the program. So the password is in
no file and no argument, TLS is what the spec says whatever the client's version makes of its options, and rows are
counted afterwards in the very transaction that was dumped, which no other way gives without locking the server.

Protocol: https://mariadb.com/kb/en/clientserver-protocol/ (handshake, packets, COM_QUIT).
"""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymysql.connections import Connection
from pymysql.constants import CLIENT

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mysql.dialect import Dialect

_CHUNK = 256 * 1024
_LOOK_SECONDS = 0.5
_GREETED_SECONDS = 30.0
_COM_QUIT = 0x01
_UTF8MB4 = 45
# What only the login needs, or would change what the two sides say to each other.
_NOT_OFFERED = (
    CLIENT.SSL | CLIENT.COMPRESS | CLIENT.CONNECT_WITH_DB | CLIENT.CONNECT_ATTRS | CLIENT.PLUGIN_AUTH_LENENC_CLIENT_DATA
)


class Relay:
    """Serves one program while the block runs. `socket_path` is for its `--socket`."""

    def __init__(self, connection: Connection[Any], dialect: Dialect) -> None:
        self._upstream = connection
        self._plugin = dialect.relay_plugin
        self._folder = Path(tempfile.mkdtemp(prefix="bosun-relay-"))
        self.socket_path = self._folder / "socket"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.socket_path))
        self._listener.listen(1)
        self._stop = threading.Event()
        self._clean = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def demand_clean_end(self) -> None:
        """Wait until the program has said goodbye; the session is ours again. WorldFault where it broke off."""
        self._thread.join(timeout=_GREETED_SECONDS)
        if not self._clean:
            said = f": {self._fault}" if self._fault else ""
            message = f"the session was broken off in the middle{said}; the next attempt starts anew"
            raise WorldFault(Reason.CONNECTION_LOST, message) from self._fault

    def _run(self) -> None:
        try:
            client = self._accept()
            if client is not None:
                with client:
                    greet(client, self._upstream, self._plugin)
                    self._clean = self._pump(client)
        except (OSError, ssl.SSLError, ValueError) as error:
            self._fault = error
        finally:
            # mysqlbinlog comes once more when its session has ended, and would wait for a greeting for ever.
            self._listener.close()

    def _accept(self) -> socket.socket | None:
        while not self._stop.is_set():
            if select.select([self._listener], [], [], _LOOK_SECONDS)[0]:
                client, _ = self._listener.accept()
                client.settimeout(None)
                return client
        return None

    def _pump(self, client: socket.socket) -> bool:
        """Carry bytes both ways until the client quits: True. Its goodbye is not passed on."""
        framing = _Framing()

        def heard(data: bytes, up: socket.socket) -> bool:
            if framing.quits(data):
                return True
            up.sendall(data)
            return False

        return carry(client, self._upstream, self._stop, heard)


def carry(
    client: socket.socket,
    upstream: Connection[Any],
    stop: threading.Event,
    heard: Callable[[bytes, socket.socket], bool],
) -> bool:
    """Carry bytes both ways until the program quits: True. False where it leaves without a word, or `stop` is set.

    `heard`: passes on to the server what the program said, and says whether that was a goodbye. ValueError where the
    server closes the connection.
    """
    up = upstream._sock
    up.settimeout(None)
    while not stop.is_set():
        pending = isinstance(up, ssl.SSLSocket) and up.pending() > 0
        ready = [up] if pending else select.select([up, client], [], [], _LOOK_SECONDS)[0]
        if up in ready:
            data = up.recv(_CHUNK)
            if not data:
                msg = "the server closed the connection"
                raise ValueError(msg)
            client.sendall(data)
        if client in ready:
            data = client.recv(_CHUNK)
            if not data:
                return False
            if heard(data, up):
                return True
    return False


def greet(client: socket.socket, up: Connection[Any], plugin: bytes) -> None:
    """The server's part of the handshake; whoever reaches this socket is let in."""
    offered = up.client_flag & up.server_capabilities & ~_NOT_OFFERED
    payload = b"".join(
        (
            b"\x0a",
            str(up.server_version).encode() + b"\0",
            struct.pack("<I", up.thread_id()),
            b"databosu\0",
            struct.pack("<HBHHB", offered & 0xFFFF, _UTF8MB4, 2, offered >> 16, 21),
            b"\0" * 10,
            b"n-relay-salt\0",
            plugin + b"\0",
        )
    )
    client.sendall(_packet(payload, 0))
    header = _exactly(client, 4)
    _exactly(client, int.from_bytes(header[:3], "little"))
    client.sendall(_packet(b"\0\0\0\2\0\0\0", header[3] + 1))


class _Framing:
    """Finds a client's COM_QUIT, which is a packet of its own."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0

    def quits(self, data: bytes) -> bool:
        """Whether these bytes, which follow those before, are a goodbye."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            need = min(4 - len(self._header), len(data) - at)
            self._header += data[at : at + need]
            at += need
            if len(self._header) == 4:
                self._left = int.from_bytes(self._header[:3], "little")
                first = self._header[3] == 0
                self._header.clear()
                if first and self._left == 1 and data[at : at + 1] == bytes([_COM_QUIT]):
                    return True
        return False


def _packet(payload: bytes, sequence: int) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence & 0xFF]) + payload


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            msg = "the program closed its connection in the handshake"
            raise ValueError(msg)
        data += piece
    return data
