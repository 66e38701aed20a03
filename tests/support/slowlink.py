"""A TCP link over which one end hears the other late: nothing is lost, and it is never silent."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_LOOK_SECONDS = 0.02


class SlowLink:
    """Listens on the loopback and passes on. What the server sends over the first connection is `seconds` late, also
    what is under way when that is changed. `late`: the last that was passed on there had to wait."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self.seconds = 0.0
        self.late = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Cut every connection."""
        self._ended.set()
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._upstream))
                slow = not self._open
                self._open += [client, server]
                waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
                self._start(self._receive, server, waiting)
                self._start(self._deliver, client, waiting, slow)
                self._start(self._pass, client, server)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _receive(self, source: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                waiting.put((time.monotonic(), data))
        waiting.put((0.0, b""))

    def _deliver(self, target: socket.socket, waiting: queue.Queue[tuple[float, bytes]], slow: bool) -> None:
        with suppress(OSError):
            while (said := waiting.get())[1]:
                waited = False
                while slow and not self._ended.is_set() and time.monotonic() < said[0] + self.seconds:
                    waited = True
                    self._ended.wait(_LOOK_SECONDS)  # `seconds` may be another by then
                target.sendall(said[1])
                self.late = waited if slow else self.late
            target.shutdown(socket.SHUT_WR)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def slow_link(port: int) -> Iterator[SlowLink]:
    """A link to a port of the loopback, cut in the end."""
    link = SlowLink(port)
    try:
        yield link
    finally:
        link.close()
