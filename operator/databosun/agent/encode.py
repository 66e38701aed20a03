"""The stages that change bytes on their way: zstd in this process, age as a program of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Protocol

import zstandard

from databosun.agent.channel import CHUNK_BYTES
from databosun.agent.children import Child, Children
from databosun.agent.reasons import AgentReason
from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.port import Buffer

ZSTD_LEVEL = 1  # 850 MB/s a thread on the reference machine; level 3 gains a few per cent for a fifth of the speed
ZSTD_THREADS = 2


class Encoder(Protocol):
    """Turns a stream into another, piece by piece."""

    def feed(self, data: Buffer) -> bytes:
        """What comes out for the next bytes; may be nothing yet."""
        ...

    def flush(self) -> bytes:
        """What is left at the end."""
        ...


class Identity:
    """Leaves a stream as it is: the bytes are passed on without a copy."""

    def feed(self, data: Buffer) -> Buffer:
        """The bytes themselves."""
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        return b""


class Zstd:
    """One zstd frame with a content checksum, so that `zstd -t` finds damage."""

    def __init__(self) -> None:
        threads = min(ZSTD_THREADS, len(os.sched_getaffinity(0)))
        self._frame = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=threads, write_checksum=True).compressobj()

    def feed(self, data: Buffer) -> bytes:
        """Compressed bytes, as they come."""
        return self._frame.compress(data)

    def flush(self) -> bytes:
        """The end of the frame."""
        return self._frame.flush()


class Age:
    """The `age` program between two pipes. Feed it from one thread and read it in another. `bytes`: fed so far."""

    def __init__(self, children: Children, recipients: Sequence[str]) -> None:
        argv = ["age", "--encrypt", *(part for recipient in recipients for part in ("--recipient", recipient))]
        self.child: Child = children.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._in = self.child.stdin.fileno()
        self._out = self.child.stdout.fileno()
        self.bytes = 0
        self.closed = False
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # the kernel limits them per user; a smaller pipe is only slower
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)

    def feed(self, data: Buffer) -> None:
        """Write plaintext; blocks while age is behind. Its failure is raised as its own words."""
        rest = memoryview(data)
        self.bytes += len(rest)
        try:
            while len(rest):
                rest = rest[os.write(self._in, rest) :]
        except BrokenPipeError:
            self.ended()
            message = "age closed its input before the end of the stream, and exited with 0"
            raise WorldFault(AgentReason.ENCRYPTION_FAILED, message) from None

    def close(self) -> None:
        """Say that the plaintext ended."""
        self.closed = True
        self.child.stdin.close()

    def read(self) -> Iterator[bytearray]:
        """The ciphertext, in chunks of about a MiB that nobody else holds."""
        while True:
            chunk = bytearray(CHUNK_BYTES)
            view, filled = memoryview(chunk), 0
            while filled < CHUNK_BYTES and (count := os.readv(self._out, [view[filled:]])):
                filled += count
            view.release()
            if not filled:
                return
            if filled < CHUNK_BYTES:
                del chunk[filled:]
            yield chunk

    def ended(self) -> None:
        """Wait for its end and look at its exit code."""
        try:
            self.child.wait()
        except WorldFault as error:
            if "recipient" in self.child.said:
                message = f"age refuses a recipient of spec.encryption.age.recipients: {self.child.said}"
                raise UserFault(AgentReason.ENCRYPTION_RECIPIENT_INVALID, message) from error
            raise WorldFault(AgentReason.ENCRYPTION_FAILED, error.message) from error

    def kill(self) -> None:
        """End it at once, which wakes whoever feeds or reads it."""
        self.child.kill()

    def dispose(self) -> None:
        """End it and close its pipes, once nobody feeds or reads it: a closed number is soon another file's."""
        self.kill()
        for stream in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(OSError):  # what was still buffered for a program that is gone
                stream.close()
