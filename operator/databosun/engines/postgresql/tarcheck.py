"""The format check of a physical archive: zstd frames and tar are whole, members' sizes known, logical bytes counted.

It decompresses everything, so it works in a thread of its own behind a short queue; zstd releases the interpreter lock.
"""

from __future__ import annotations

import queue
import threading
from typing import IO, cast

import zstandard

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.tarstream import TarWalk
from databosun.engines.postgresql.zstdframes import FrameScan

_WRITE_SIZE = 1024 * 1024
_QUEUED = 8
_STOP_SECONDS = 1.0


class TarCheck:
    """A StreamCheck for one `.tar` or `.tar.zst` archive. `sizes` and `logical_bytes` hold after `close`."""

    def __init__(self, name: str, *, compressed: bool) -> None:
        self._name = name
        self._walk = TarWalk(name)
        self._frames = FrameScan(name) if compressed else None
        # It only ever calls `write`; the stubs ask for a whole file.
        whole = cast("IO[bytes]", self._walk)
        self._writer = zstandard.ZstdDecompressor().stream_writer(whole, write_size=_WRITE_SIZE) if compressed else None
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self._fault: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"check {name}", daemon=True)
        self._thread.start()

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each regular member by name."""
        return self._walk.sizes

    @property
    def logical_bytes(self) -> int:
        """Bytes of the uncompressed archive."""
        return self._walk.bytes

    def feed(self, data: memoryview) -> None:
        """Queue the next bytes; raises what the thread found in earlier ones."""
        self._raise()
        self._queue.put(bytes(data))

    def close(self) -> int:
        """Wait for the thread and demand a whole archive. Returns the logical bytes."""
        self._queue.put(None)
        self._thread.join()
        self._raise()
        if self._frames:
            self._frames.close()
        self._walk.close()
        return self._walk.bytes

    def stop(self) -> None:
        """End the thread of a stream that will not be closed; harmless after `close`."""
        self._stopped.set()

    def _work(self) -> None:
        while (data := self._next()) is not None:
            # After a fault the queue is only emptied, so that `feed` never blocks on a thread that gave up.
            if self._fault is None:
                try:
                    self._look(data)
                except (DatabosunError, zstandard.ZstdError) as error:
                    self._fault = error

    def _next(self) -> bytes | None:
        while not self._stopped.is_set():
            try:
                return self._queue.get(timeout=_STOP_SECONDS)
            except queue.Empty:
                continue
        return None

    def _look(self, data: bytes) -> None:
        if self._frames and self._writer:
            self._frames.feed(memoryview(data))
            self._writer.write(data)
        else:
            self._walk.write(data)

    def _raise(self) -> None:
        if isinstance(self._fault, DatabosunError):
            raise self._fault
        if self._fault is not None:
            message = f"{self._name}: the zstd stream cannot be read: {self._fault}"
            raise WorldFault(Reason.FORMAT_CHECK_FAILED, message) from self._fault
