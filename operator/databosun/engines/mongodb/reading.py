"""Batches of raw documents, read ahead in a thread: the server answers while the ones before are hashed and stored."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from pymongo.cursor import RawBatchCursor
from pymongo.errors import PyMongoError

_AHEAD = 2
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 5.0

Cursor = RawBatchCursor[Any]


@contextmanager
def batches(begin: Callable[[], Cursor], pulse: Callable[[], None]) -> Iterator[Iterator[bytes]]:
    """Each batch, in order; at most three are held. `pulse` runs while they are waited for, and may raise."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()
    thread = threading.Thread(target=_read, args=(begin, ready, stop), name="read", daemon=True)
    thread.start()
    try:
        with closing(_given(ready, pulse)) as given:
            yield given
    finally:
        stop.set()
        thread.join(timeout=_LEAVE_SECONDS)


def _given(ready: queue.Queue[bytes | BaseException | None], pulse: Callable[[], None]) -> Generator[bytes, None, None]:
    while True:
        try:
            found = ready.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            pulse()
            continue
        if found is None:
            return
        if isinstance(found, BaseException):
            raise found
        pulse()
        yield found


def _read(begin: Callable[[], Cursor], ready: queue.Queue[bytes | BaseException | None], stop: threading.Event) -> None:
    """Whatever goes wrong is told to whoever waits; a cursor that nobody wants any more is closed at the server."""
    last: BaseException | None = None
    try:
        cursor = begin()
        try:
            for batch in cursor:
                if not _put(ready, bytes(batch), stop):
                    return
        finally:
            with suppress(PyMongoError, OSError):
                cursor.close()
    except Exception as error:
        last = error
    _put(ready, last, stop)


def _put(
    ready: queue.Queue[bytes | BaseException | None], found: bytes | BaseException | None, stop: threading.Event
) -> bool:
    while not stop.is_set():
        with suppress(queue.Full):
            ready.put(found, timeout=_LOOK_SECONDS)
            return True
    return False
