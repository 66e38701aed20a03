"""The `age` program between two pipes, whichever way it is used: fed from one thread, read in another."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence

from databosun.agent.channel import CHUNK_BYTES
from databosun.agent.children import Child, Children
from databosun.storage.port import Buffer


class AgeProgram:
    """One run of it. `bytes`: fed so far."""

    def __init__(self, children: Children, arguments: Sequence[str]) -> None:
        self.child: Child = children.spawn(["age", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._in = self.child.stdin.fileno()
        self._out = self.child.stdout.fileno()
        self.bytes = 0
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # the kernel limits them per user; a smaller pipe is only slower
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)

    def feed(self, data: Buffer) -> None:
        """Write what it is to read; blocks while it is behind. BrokenPipeError where it takes no more."""
        rest = memoryview(data)
        self.bytes += len(rest)
        while len(rest):
            rest = rest[os.write(self._in, rest) :]

    def read(self) -> Iterator[bytearray]:
        """What it writes, in chunks of about a MiB that nobody else holds."""
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

    def kill(self) -> None:
        """End it at once, which wakes whoever feeds or reads it."""
        self.child.kill()

    def dispose(self) -> None:
        """End it and close its pipes, once nobody feeds or reads it: a closed number is soon another file's."""
        self.kill()
        for stream in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(OSError):  # what was still buffered for a program that is gone
                stream.close()
