"""Counts and hashes tables in a thread, in a session that is in a transaction, so that it can be given up any time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from pymysql.connections import Connection

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.domain.errors import DatabosunError
from databosun.engines.mysql.connect import Session, abandon
from databosun.engines.mysql.fingerprint import Table, count_objects


class Counting:
    """Runs while the block does; leaving it before the end closes the session."""

    def __init__(self, session: Session, connection: Connection[Any], tables: Iterable[Table]) -> None:
        self._session = session
        self._connection = connection
        self._tables = tuple(tables)
        self._stop = threading.Event()
        self._objects: tuple[ObjectCount, ...] = ()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="count", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._stop.set()
            abandon(self._session, self._connection)
            self._thread.join()

    @property
    def done(self) -> bool:
        """True once a result or an error is there."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait at most so long."""
        self._thread.join(timeout=seconds)

    def result(self) -> tuple[ObjectCount, ...]:
        """What was counted. Raises what went wrong."""
        if self._fault:
            raise self._fault
        return self._objects

    def _run(self) -> None:
        try:
            self._objects = count_objects(self._connection, self._session.dialect, self._tables, self._check)
        except (DatabosunError, ValueError, AttributeError) as fault:  # a session closed under it has no socket
            self._fault = fault

    def _check(self) -> None:
        if self._stop.is_set():
            msg = "given up"
            raise ValueError(msg)
