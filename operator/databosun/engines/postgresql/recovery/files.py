"""Writes files the fast way: large ones past the page cache, from aligned buffers.

Copying into the page cache took three quarters of the time of unpacking, and has all to be flushed afterwards anyway;
written directly, the data is on disk when the file is closed, and the node's cache stays with those who use it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from pathlib import Path

STAGE_BYTES = 4 * 1024 * 1024
DIRECT_FROM = 1024 * 1024
_ALIGNED = 4096
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileWriter:
    """Writes one new file after another; used by one thread. A file that is there already is an error."""

    def __init__(self) -> None:
        self._stage = mmap.mmap(-1, STAGE_BYTES)
        self._view = memoryview(self._stage)
        self._filled = 0
        self._file: int | None = None
        self._direct = False

    def open(self, path: Path, size: int) -> None:
        """Begin a file of that size."""
        self._direct = size >= DIRECT_FROM
        if self._direct:
            try:
                self._file = os.open(path, _FLAGS | os.O_DIRECT, 0o600)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:  # this file system has no such writes
                    raise
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()  # some make the file nevertheless
                self._direct = False
        self._file = os.open(path, _FLAGS, 0o600)

    def write(self, data: memoryview) -> None:
        """The next bytes of the file."""
        if self._file is None:
            return
        if not self._direct:
            _write_all(self._file, data)
            return
        while len(data):
            step = min(STAGE_BYTES - self._filled, len(data))
            self._view[self._filled : self._filled + step] = data[:step]
            self._filled += step
            data = data[step:]
            if self._filled == STAGE_BYTES:
                self._flush()

    def close(self) -> None:
        """End the file; harmless where none is open."""
        try:
            if self._file is not None and self._filled:
                self._flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        file, self._file, self._filled = self._file, None, 0
        if file is not None:
            os.close(file)

    def dispose(self) -> None:
        """Give the buffer back."""
        self.abandon()
        self._view.release()
        self._stage.close()

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        if self._file is None:
            return
        whole = filled - filled % _ALIGNED if self._direct else 0
        try:
            _write_all(self._file, self._view[:whole])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            whole = 0
        if whole < filled:
            # The last bytes of an odd file, or a file system that takes no such writes after all.
            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            self._direct = False
            _write_all(self._file, self._view[whole:filled])


def _write_all(file: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(file, data) :]
