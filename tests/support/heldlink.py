"""A TCP link that passes on only so much of what the server sends: whoever waits for the rest is at work until then."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class HeldLink:
    """Listens on the loopback. Of what the server sends over each connection, `most` bytes are passed on."""

    def __init__(self, port: int, most: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._open: set[_Pair] = set()
        self._most = most
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def allow(self, most: int) -> None:
        """Pass on so much of each connection, in all."""
        with self._changed:
            self._most = most
            self._changed.notify_all()

    def cut(self) -> None:
        """End every connection; what was held is lost, as on the way from a node that died."""
        with self._changed:
            for pair in list(self._open):
                self._end(pair)

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream))
                except OSError:
                    client.close()
                    continue
                pair = client, server
                with self._changed:
                    self._open.add(pair)
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(pair,), daemon=True).start()

    def _ask(self, pair: _Pair) -> None:
        client, server = pair
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with self._changed:
            self._end(pair)

    def _answer(self, pair: _Pair) -> None:
        client, server = pair
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                passed += len(data)
                if not self._allowed(pair, passed):
                    return
                client.sendall(data)
        with self._changed:
            self._end(pair)

    def _allowed(self, pair: _Pair, passed: int) -> bool:
        """Wait until so much may be passed on; False where the connection ends before."""
        with self._changed:
            self._changed.wait_for(lambda: passed <= self._most or pair not in self._open)
            return pair in self._open

    def _end(self, pair: _Pair) -> None:
        self._open.discard(pair)
        for one in pair:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._changed.notify_all()


_Pair = tuple[socket.socket, socket.socket]


@contextmanager
def held_link(port: int, most: int) -> Iterator[HeldLink]:
    """A link to a port of the loopback, cut in the end."""
    link = HeldLink(port, most)
    try:
        yield link
    finally:
        link.close()
