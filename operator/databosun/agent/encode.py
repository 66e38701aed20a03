"""The stages that change bytes on their way: zstd in this process, age as a program of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import zstandard

from databosun.agent.ageprogram import AgeProgram
from databosun.agent.children import Children
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


class Age(AgeProgram):
    """Encrypts a stream."""

    def __init__(self, children: Children, recipients: Sequence[str]) -> None:
        super().__init__(children, ["--encrypt", *(part for one in recipients for part in ("--recipient", one))])
        self.closed = False

    def feed(self, data: Buffer) -> None:
        """Write plaintext; blocks while age is behind. Its failure is raised as its own words."""
        try:
            super().feed(data)
        except BrokenPipeError:
            self.ended()
            message = "age closed its input before the end of the stream, and exited with 0"
            raise WorldFault(AgentReason.ENCRYPTION_FAILED, message) from None

    def close(self) -> None:
        """Say that the plaintext ended."""
        self.closed = True
        self.child.stdin.close()

    def ended(self) -> None:
        """Wait for its end and look at its exit code."""
        try:
            self.child.wait()
        except WorldFault as error:
            if "recipient" in self.child.said:
                message = f"age refuses a recipient of spec.encryption.age.recipients: {self.child.said}"
                raise UserFault(AgentReason.ENCRYPTION_RECIPIENT_INVALID, message) from error
            raise WorldFault(AgentReason.ENCRYPTION_FAILED, error.message) from error
