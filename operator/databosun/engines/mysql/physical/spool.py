"""Keeps what a program prints while a server waits for it: on scratch, so that no store decides how long that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mysql.faults import guarded

_IN_MEMORY = 4 * 1024 * 1024
_CHUNK = 1024 * 1024

Write = Callable[[bytes], object]


class Spool:
    """Between whoever reads the program and a writer. `hold` and `let_go` are called from another thread."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by this one's block
        self._limit = limit
        self._size = 0
        self._holding = False
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def hold(self) -> None:
        """Return once no write to the store is under way: none is begun then until `let_go`."""
        self._holding = True
        with self._writing:
            return

    def let_go(self) -> None:
        """What is kept may go on to the store, and all that comes."""
        self._holding = False

    def put(self, data: bytes, write: Write) -> None:
        """Hand it on in its turn, or keep it. UserFault(ScratchTooSmall)."""
        with self._writing:
            if self._holding:
                self._keep(data)
            else:
                self._pour(write)
                write(data)

    def finish(self, write: Write) -> None:
        """Hand on what is still kept."""
        with self._writing:
            self._pour(write)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            message = (
                "what the program copies while the server waits has outgrown the scratch volume "
                f"({humanize_bytes(self._limit)}): raise podTemplate.scratch.size, or empty the tables that the server "
                "logs to (mysql.slow_log, mysql.general_log)"
            )
            raise UserFault(Reason.SCRATCH_TOO_SMALL, message)
        with guarded("writing to scratch"):
            self._file.write(data)

    def _pour(self, write: Write) -> None:
        if not self._size:
            return
        self._file.seek(0)
        while piece := self._read():
            write(piece)
        self._file.seek(0)
        self._file.truncate()
        self._size = 0

    def _read(self) -> bytes:
        with guarded("reading back from scratch"):
            return self._file.read(_CHUNK)
