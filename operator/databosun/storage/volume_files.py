"""Files that appear whole or not at all, for the volume store."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from databosun.storage.port import Buffer

SIDECAR = ".databosun-meta"


class TemporaryFile:
    """A file under a random name, until it appears under its own. All methods raise OSError."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def create(cls, folder: Path) -> TemporaryFile:
        """Create one in a folder of the file system it is to appear on."""
        folder.mkdir(exist_ok=True)
        path = folder / secrets.token_hex(16)
        return cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))

    def write(self, data: Buffer) -> None:
        """Append."""
        if self._descriptor is None:
            msg = f"{self._path.name} was closed already"
            raise RuntimeError(msg)
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(self._descriptor, rest) :]

    def flush(self) -> None:
        """Bring the bytes to disk and close."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            self._close()

    def appear(self, path: Path, *, exclusively: bool) -> None:
        """Take a name. FileExistsError where it is taken and `exclusively`."""
        if exclusively:
            path.hardlink_to(self._path)
        else:
            self._path.replace(path)

    def discard(self) -> None:
        """Remove the random name; what has appeared stays. Never raises: the sweep finds what is left."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time, among all threads, processes and nodes that mount the volume (Linux carries flock over NFS)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sidecar(path: Path) -> Path:
    """The file that holds an object's user metadata."""
    return path.with_name(path.name + SIDECAR)


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
