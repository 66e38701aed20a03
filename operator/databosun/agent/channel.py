"""Hand chunks from one thread to the next with back-pressure; a failure on either side wakes the other."""

from __future__ import annotations

import threading
from collections import deque

from databosun.storage.port import Buffer

CHUNK_BYTES = 1024 * 1024


class Channel:
    """A bounded queue of chunks, one writer, one reader."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[Buffer | None] = deque()
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self.deepest = 0

    def put(self, item: Buffer | None) -> None:
        """Hand over a chunk, or None for the end; blocks while full. Raises what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or len(self._items) < self._depth)
            if self._failure is not None:
                raise self._failure
            self._items.append(item)
            self.deepest = max(self.deepest, len(self._items))
            self._changed.notify_all()

    def get(self) -> Buffer | None:
        """The next chunk, None at the end; blocks while empty. Raises what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or bool(self._items))
            if self._failure is not None:
                raise self._failure
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def fail(self, error: BaseException) -> None:
        """Break both sides; the first failure stands."""
        with self._changed:
            if self._failure is None:
                self._failure = error
            self._items.clear()
            self._changed.notify_all()


class Coalescer:
    """Turns pieces of any size into chunks of about `CHUNK_BYTES` that nobody else holds or changes."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: Buffer) -> list[Buffer]:
        """Take the next bytes, which may be overwritten afterwards; returns the chunks that are full."""
        if isinstance(data, bytes) and not self._pending and len(data) >= CHUNK_BYTES // 4:
            view = memoryview(data)
            return [view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES)]
        full: list[Buffer] = []
        view = memoryview(data).cast("B")
        while len(view):
            room = CHUNK_BYTES - len(self._pending)
            self._pending += view[:room]
            view = view[room:]
            if len(self._pending) >= CHUNK_BYTES:
                full.append(self._pending)
                self._pending = bytearray()
        return full

    def flush(self) -> list[Buffer]:
        """What is left, if anything."""
        rest, self._pending = self._pending, bytearray()
        return [rest] if rest else []
