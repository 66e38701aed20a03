"""A Redis server whose commands are shipped: somebody who writes to it, and what a restored copy of it holds."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.result import RestoreResult
from databosun.engines.redis.resp import Wire
from support.redisserver import Server, open_socket, serving
from support.redisyard import RedisYard

LATEST = RecoveryPoint(kind=PointKind.LATEST)


class Writer:
    """Counts up in one key and pushes each number into a list, as one transaction, until told to stop.

    `acknowledged`: how far the server confirmed. What ends it before is raised where the test asks how far it is.
    """

    def __init__(self, server: Server, *, width: int = 200, pause: float = 0.0) -> None:
        self._server = server
        self._width = width
        self._pause = pause
        self._stop = threading.Event()
        self._confirmed = 0
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def acknowledged(self) -> int:
        """So many."""
        if self._fault is not None:
            raise self._fault
        return self._confirmed

    def _run(self) -> None:
        try:
            with self._server.connect() as wire:
                while not self._stop.wait(self._pause):
                    transfer(wire, self._confirmed, self._width)
                    self._confirmed += 1
        except Exception as fault:  # carried to the test
            self._fault = fault


def transfer(wire: Wire, number: int, width: int = 200) -> None:
    """One transaction of three commands over two databases."""
    wire.call("MULTI")
    for words in (("INCR", "count"), ("RPUSH", "numbers", f"{number}:{'x' * width}"), ("SELECT", 3), ("INCR", "count")):
        wire.call(*words)
    wire.call("SELECT", 0)
    wire.call("EXEC")


def write(server: Server, first: int, count: int, width: int = 200) -> None:
    """So many transactions."""
    with server.connect() as wire:
        for number in range(first, first + count):
            transfer(wire, number, width)


def transferred(wire: Wire) -> tuple[list[int], int, int]:
    """The numbers that were pushed, and the counts of both databases."""
    numbers = wire.call("LRANGE", "numbers", 0, -1)
    assert isinstance(numbers, list)
    first = wire.call("GET", "count")
    wire.call("SELECT", 3)
    second = wire.call("GET", "count")
    wire.call("SELECT", 0)
    told = [int(one.split(b":")[0]) for one in numbers if isinstance(one, bytes)]
    return told, _number(first), _number(second)


def _number(reply: object) -> int:
    return int(reply) if isinstance(reply, bytes) else 0


@contextmanager
def restored(
    yard: RedisYard, backup: str, until: RecoveryPoint, *, appendonly: str = "yes"
) -> Iterator[tuple[RestoreResult, Wire]]:
    """A restored volume, served as a StatefulSet would serve it."""
    pod = yard.pod()
    ran = yard.restore(backup, pod=pod, until=until, id=f"restore-{secrets.token_hex(4)}")
    found = ran.result.restore
    assert found, ran.output[-4000:]
    data: Path = pod.restored / found.data_directory
    with serving(yard.its.product, data, yard.folder, f"appendonly {appendonly}") as place, open_socket(place) as wire:
        yield found, wire
