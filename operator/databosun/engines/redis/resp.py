"""The servers' own protocol (RESP 2): commands out, replies in, and raw bytes where a full synchronisation brings them.

An own client, since no library that is kept well speaks PSYNC: they own the socket and hide what comes after a reply.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from databosun.domain.errors import WorldFault
from databosun.engines.redis.reasons import Reason

BUFFER_BYTES = 256 * 1024
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 60.0
_LONGEST_LINE = 64 * 1024
_LONGEST_BULK = 512 * 1024 * 1024


class ReplyError(Exception):
    """The server answered with an error; its words."""


Reply = bytes | int | None | ReplyError | list["Reply"]


def encode(*arguments: str | bytes | int) -> bytes:
    """One command as it goes over the wire."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Wire:
    """One connection. `where` names it in messages; `pulse` runs each second while it waits, and may raise."""

    def __init__(self, connection: socket.socket, where: str, pulse: Callable[[], None] = lambda: None) -> None:
        self.where = where
        self.pulse = pulse
        self._socket = connection
        self._socket.settimeout(LOOK_SECONDS)
        self._space = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._space)
        self._begin = self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(self, *arguments: str | bytes | int, seconds: float = ANSWER_SECONDS) -> Reply:
        """One command and its answer. ReplyError with the server's words; WorldFault where the connection is lost."""
        self.send(encode(*arguments))
        return self.answer(seconds=seconds)

    def send(self, data: bytes) -> None:
        """Commands, encoded."""
        rest = memoryview(data)
        until = time.monotonic() + ANSWER_SECONDS
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                self._wait(until, "takes nothing more")
            except OSError as error:
                raise self._lost(str(error)) from error

    def answer(self, *, seconds: float = ANSWER_SECONDS) -> Reply:
        """The next answer; an error of the server's is raised where it is the whole of it."""
        found = self._reply(time.monotonic() + seconds)
        if isinstance(found, ReplyError):
            raise found
        return found

    def answers(self, count: int, *, seconds: float = ANSWER_SECONDS) -> list[Reply]:
        """The answers to several commands; errors among them."""
        until = time.monotonic() + seconds
        return [self._reply(until) for _ in range(count)]

    def line(self, until: float) -> bytes:
        """The next line without its end; empty ones, too."""
        while (at := self._space.find(b"\r\n", self._begin, self._end)) < 0:
            # A server that keeps a replica waiting sends single line feeds.
            if self._end > self._begin and self._space[self._begin] == 10:
                self._begin += 1
                return b""
            if self._end - self._begin > _LONGEST_LINE:
                raise self._strange(bytes(self._view[self._begin : self._begin + 80]))
            self._fill(until)
        found = bytes(self._view[self._begin : at])
        self._begin = at + 2
        return found.lstrip(b"\n")

    def some(self, until: float) -> memoryview:
        """The next raw bytes, as many as there are, valid until the next call; empty where the server hung up."""
        if self._begin == self._end:
            self._begin = self._end = 0
            if not self._receive(until):
                return self._view[:0]
        found = self._view[self._begin : self._end]
        self._begin = self._end
        return found

    def poll(self, seconds: float) -> memoryview | None:
        """The next raw bytes within that time, valid until the next call; None where nothing came.

        WorldFault(ConnectionLost) where the server hung up.
        """
        if self._begin == self._end:
            self._begin = self._end = 0
            self._socket.settimeout(max(seconds, 0.001))
            try:
                self._end = self._socket.recv_into(self._view)
            except TimeoutError:
                return None
            except OSError as error:
                raise self._lost(str(error)) from error
            finally:
                self._socket.settimeout(LOOK_SECONDS)
            if not self._end:
                said = "it hung up"
                raise self._lost(said)
        found = self._view[self._begin : self._end]
        self._begin = self._end
        return found

    def _reply(self, until: float) -> Reply:
        line = b""
        while not line:
            line = self.line(until)
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode("utf-8", "replace"))
        if kind not in b":$*":
            raise self._strange(line)
        try:
            number = int(rest)
        except ValueError:
            raise self._strange(line) from None
        if kind == b":":
            return number
        if number < 0:
            return None
        return self._bulk(number, until) if kind == b"$" else [self._reply(until) for _ in range(number)]

    def _bulk(self, size: int, until: float) -> bytes:
        if size > _LONGEST_BULK:
            raise self._strange(b"$%d" % size)
        out = bytearray()
        while len(out) < size + 2:
            if self._begin == self._end:
                self._fill(until)
            step = min(self._end - self._begin, size + 2 - len(out))
            out += self._view[self._begin : self._begin + step]
            self._begin += step
        return bytes(out[:size])

    def _fill(self, until: float) -> None:
        if self._begin:
            left = bytes(self._view[self._begin : self._end])
            self._view[: len(left)] = left
            self._begin, self._end = 0, len(left)
        if not self._receive(until):
            said = "it hung up"
            raise self._lost(said)

    def _receive(self, until: float) -> int:
        """Bytes that came; 0 where the server hung up."""
        while True:
            try:
                count = self._socket.recv_into(self._view[self._end :])
            except TimeoutError:
                self._wait(until, "does not answer")
                continue
            except OSError as error:
                raise self._lost(str(error)) from error
            self._end += count
            return count

    def _wait(self, until: float, what: str) -> None:
        self.pulse()
        if time.monotonic() >= until:
            said = f"it {what}"
            raise self._lost(said)

    def _lost(self, said: str) -> WorldFault:
        message = f"the connection to {self.where} was lost: {said}; the next attempt starts anew"
        return WorldFault(Reason.CONNECTION_LOST, message)

    def _strange(self, line: bytes) -> WorldFault:
        message = (
            f"{self.where} said {line[:80]!r}, which is no answer of Redis; check spec.connection.port and tls.mode"
        )
        return WorldFault(Reason.PROTOCOL_ERROR, message)
