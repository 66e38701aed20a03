"""An HTTP proxy in front of an S3 server that breaks chosen requests, or makes all of them slow, or speaks TLS.

It forwards bytes as they are, the Host header included, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import IO, cast

PIECE = 64 * 1024


class Act(Enum):
    """What happens to a request."""

    REFUSE = auto()  # read it, forward nothing, answer with `status`
    CUT = auto()  # close the connection in the middle of its body; the server sees nothing
    SWALLOW = auto()  # forward it, then close without passing on the answer
    CORRUPT_REQUEST = auto()  # change one byte of its body
    TRUNCATE_REQUEST = auto()  # forward the first half of its body as if that were all
    CORRUPT_ANSWER = auto()  # change one byte of the answer's body
    TRUNCATE_ANSWER = auto()  # close in the middle of the answer's body
    HANG = auto()  # forward nothing and say nothing until the proxy is closed


@dataclass(slots=True)
class Fault:
    """Which requests are hit: from the `nth` (from 1) that fits method and part of the target, `times` in a row."""

    act: Act
    method: str | None = None
    contains: str = ""
    nth: int = 1
    times: int = 1_000_000
    status: int = 503
    code: str = "SlowDown"
    seen: int = 0
    hit: int = 0

    def strikes(self, method: str, target: str) -> bool:
        """Count the request if it fits, and say whether it is hit."""
        if (self.method and self.method != method) or self.contains not in target:
            return False
        self.seen += 1
        if not self.nth <= self.seen < self.nth + self.times:
            return False
        self.hit += 1
        return True


@dataclass(frozen=True, slots=True)
class Pace:
    """A store far away: seconds before each answer, and bytes a second on each connection."""

    latency: float = 0.0
    bytes_per_second: float | None = None


@dataclass
class FaultProxy:
    """A running proxy. `before` is called with method and target once a request was read, before it is forwarded."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    pace: Pace = Pace()
    requests: list[tuple[str, str]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    before: Callable[[str, str], None] = lambda _method, _target: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> Fault:
        """Break requests from now on. `reached` is set when the first one is hit."""
        with self._lock:
            self.faults.append(fault)
        return fault

    def choose(self, method: str, target: str) -> Fault | None:
        """The first fault that strikes this request; all of them count it."""
        with self._lock:
            self.requests.append((method, target))
            struck = [fault for fault in self.faults if fault.strikes(method, target)]
        if struck:
            self.reached.set()
        return struck[0] if struck else None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: tuple[str, int], bind: str) -> None:
        super().__init__((bind, 0), _Connection)
        self.upstream = upstream
        self.proxy = FaultProxy("")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what these tests are about."""


@contextmanager
def fault_proxy(
    upstream: str, *, tls: tuple[Path, Path] | None = None, pace: Pace | None = None, bind: str = "127.0.0.1"
) -> Iterator[FaultProxy]:
    """A proxy to `http://host:port`; `tls`: certificate and key files; `bind`: the address that it listens on."""
    host, _, port = upstream.removeprefix("http://").partition(":")
    with _Server((host, int(port)), bind) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        endpoint = f"{'https' if tls else 'http'}://{bind}:{server.server_address[1]}"
        server.proxy = proxy = FaultProxy(endpoint, pace=pace or Pace())
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            server.shutdown()
            thread.join()


@dataclass(slots=True)
class _Request:
    method: str
    target: str
    headers: http.client.HTTPMessage
    fault: Fault | None

    def act(self) -> Act | None:
        return self.fault.act if self.fault else None


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        server = cast("_Server", self.server)
        self.proxy = server.proxy
        self.up = http.client.HTTPConnection(*server.upstream, timeout=120)

    def handle(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while (request := self._next()) and self._serve(request):
                pass
        self.up.close()

    def _next(self) -> _Request | None:
        line = self.rfile.readline(65536).decode("latin-1").strip()
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers = http.client.parse_headers(cast("IO[bytes]", self.rfile))
        if headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return _Request(method, target, headers, self.proxy.choose(method, target))

    def _serve(self, request: _Request) -> bool:
        act = request.act()
        length = int(request.headers.get("Content-Length", 0))
        if act is Act.CUT:
            self._read(length // 2)
            return self._close()
        body = self._read(length)
        self.proxy.before(request.method, request.target)
        if act is Act.HANG:
            self.proxy.closing.wait()
            return self._close()
        if act is Act.REFUSE and request.fault:
            return self._refuse(request.fault)
        if act is Act.CORRUPT_REQUEST:
            body = _broken(body)
        if act is Act.TRUNCATE_REQUEST:
            body = body[: len(body) // 2]
            request.headers.replace_header("Content-Length", str(len(body)))
        status, headers, answer = self._forward(request, body)
        if act is Act.SWALLOW:
            return self._close()
        if act is Act.CORRUPT_ANSWER:
            answer = _broken(answer)
        return self._answer(request, status, headers, answer)

    def _answer(self, request: _Request, status: str, headers: list[tuple[str, str]], answer: bytes) -> bool:
        time.sleep(self.proxy.pace.latency)
        head = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.wfile.write("\r\n".join(head).encode("latin-1"))
        if request.act() is Act.TRUNCATE_ANSWER:
            self.wfile.write(answer[: len(answer) // 2])
            return self._close()
        for at in range(0, len(answer), PIECE):
            self.wfile.write(answer[at : at + PIECE])
            self._dawdle(len(answer[at : at + PIECE]))
        return request.headers.get("Connection", "").lower() != "close"

    def _forward(self, request: _Request, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        self.up.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() != "expect":
                self.up.putheader(name, value)
        self.up.endheaders(body or None)
        answer = self.up.getresponse()
        data = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
        if request.method != "HEAD" and not any(name.lower() == "content-length" for name, _ in headers):
            headers.append(("Content-Length", str(len(data))))
        return f"{answer.status} {answer.reason}", headers, data

    def _refuse(self, fault: Fault) -> bool:
        words = f"<Error><Code>{fault.code}</Code><Message>broken on purpose</Message></Error>".encode()
        head = (
            f"HTTP/1.1 {fault.status} Broken\r\nContent-Type: application/xml\r\nContent-Length: {len(words)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + words)
        return True

    def _close(self) -> bool:
        with suppress(OSError):
            cast("socket.socket", self.request).shutdown(socket.SHUT_RDWR)
        return False

    def _read(self, length: int) -> bytes:
        """Read a body, at the connection's pace."""
        pieces = []
        while length > 0 and (piece := self.rfile.read(min(PIECE, length))):
            pieces.append(piece)
            length -= len(piece)
            self._dawdle(len(piece))
        return b"".join(pieces)

    def _dawdle(self, count: int) -> None:
        if self.proxy.pace.bytes_per_second:
            time.sleep(count / self.proxy.pace.bytes_per_second)


def _broken(data: bytes) -> bytes:
    """One byte in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :] if data else data


def _serve(upstream: str, latency: float, bytes_per_second: float) -> None:
    """`python -m support.faultproxy UPSTREAM LATENCY RATE`: a slow proxy in a process of its own, until it is ended."""
    with fault_proxy(upstream, pace=Pace(latency, bytes_per_second)) as proxy:
        print(proxy.endpoint, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
