"""Decryption: the `age` program between two pipes, the mirror of `encode.Age`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from databosun.agent.channel import CHUNK_BYTES
from databosun.agent.children import Child, Children
from databosun.agent.reasons import AgentReason
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.storage.port import Buffer

_WRONG_KEY = ("no identity matched", "incorrect")
_BAD_IDENTITY = ("malformed secret key", "unknown identity type", "failed to read", "no secret keys found", "identity")


class AgeDecoder:
    """Feed it from one thread and read it in another."""

    def __init__(self, children: Children, identities: Sequence[Path]) -> None:
        argv = ["age", "--decrypt", *(part for path in identities for part in ("--identity", str(path)))]
        self._child: Child = children.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._in = self._child.stdin.fileno()
        self._out = self._child.stdout.fileno()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # the kernel limits them per user; a smaller pipe is only slower
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)

    def feed(self, data: Buffer) -> None:
        """Write ciphertext; blocks while age is behind. BrokenPipeError where it takes no more."""
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(self._in, rest) :]

    def close(self) -> None:
        """Say that the ciphertext ended."""
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def read(self) -> Iterator[bytearray]:
        """The plaintext, in chunks of about a MiB that nobody else holds."""
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

    def demand_success(self) -> None:
        """Wait for its end. UserFault(IdentityWrong) for a key that does not fit, SafetyStop for damaged ciphertext."""
        try:
            self._child.wait()
        except WorldFault as error:
            said = self._child.said
            if any(words in said for words in _WRONG_KEY):
                message = (
                    f"no identity of spec.encryption.age.identitySecretRefs decrypts this backup (age: {said}); "
                    "add the identity of the recipient that it was encrypted to"
                )
                raise UserFault(AgentReason.IDENTITY_WRONG, message) from error
            if any(words in said for words in _BAD_IDENTITY):
                message = f"an identity of spec.encryption.age.identitySecretRefs cannot be read (age: {said})"
                raise UserFault(AgentReason.IDENTITY_WRONG, message) from error
            raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, f"age cannot decrypt the artefact: {said}") from error

    def kill(self) -> None:
        """End it at once, which wakes whoever feeds or reads it."""
        self._child.kill()

    def dispose(self) -> None:
        """End it and close its pipes, once nobody feeds or reads it."""
        self.kill()
        for stream in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                stream.close()
