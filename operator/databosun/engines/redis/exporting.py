"""Exports of one person's keys from Redis and Valkey, by type. There are no snapshots: each is as it was when read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import Step
from databosun.engines.base import Target
from databosun.engines.exporting import ExportSession
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.redis.lifecycle.scan import Scan
from databosun.engines.redis.lifecycle.session import RedisSession
from databosun.engines.redis.resp import ReplyError, Wire
from databosun.engines.redis.values import plain, read_value

MOST_BYTES = 128 * 1024 * 1024  # of one key, all of which is in memory here
_NO_END = -1


class RedisExporting:
    """`Exporting` of `engines/exporting.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[ExportSession]:
        """Log in at the master; hang up afterwards."""
        session = RedisSession(target, scope)
        try:
            yield _Reading(session, scope)
        finally:
            session.close()


EXPORTING = RedisExporting()


class _Reading:
    """`ExportSession` of `engines/exporting.py`."""

    def __init__(self, session: RedisSession, scope: LifecycleScope) -> None:
        self._session = session
        self._scope = scope
        self._at = datetime.now(UTC)

    @property
    def dbname(self) -> str:
        """The number of the database."""
        return self._session.dbname

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._session.engine_version

    @property
    def at(self) -> datetime:
        """Right before the first key was looked for."""
        return self._at

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """The database and the pattern. UserFault where it is none that a person's key stands in."""
        with self._session.reading(rule):
            return list(self._session.definitions(rule).tables)

    def read(self, step: Step, table: str, sink: Callable[[bytes], None]) -> int:
        """One line of JSON each."""
        del table  # there is no other
        count = 0
        with self._session.reading(step.rule) as (wire, names):
            scan, done = Scan(names), set[bytes]()
            while not scan.ended:
                self._scope.pulse()
                for name in scan.next(wire):
                    if name not in done and (line := _line(wire, name)) is not None:
                        sink(line)
                        count += 1
                    done.add(name)
        return count


def _line(wire: Wire, name: bytes) -> bytes | None:
    """None where the key has gone meanwhile."""
    kind, left = wire.call("TYPE", name), wire.call("PTTL", name)
    if not isinstance(kind, (bytes, str)) or kind == b"none":
        return None
    size = _demand_small(wire, name)
    found = read_value(wire, name, kind.decode() if isinstance(kind, bytes) else kind, size)
    if found is None:
        return None
    ends = {"millisecondsToLive": left} if isinstance(left, int) and left > _NO_END else {}
    return f"{json.dumps({'key': plain(name), **ends, **found}, ensure_ascii=False)}\n".encode()


def _demand_small(wire: Wire, name: bytes) -> int | None:
    """Its bytes; None where it has gone."""
    try:
        size = wire.call("MEMORY", "USAGE", name)
    except ReplyError as error:
        message = f"asking how large a key is: {error}; grant +memory|usage, or nothing is exported"
        raise UserFault(Reason.PERMISSION_DENIED, message) from error
    if isinstance(size, int) and size > MOST_BYTES:
        message = f"a key of the person takes {size} bytes, and no more than {MOST_BYTES} are exported; do it by hand"
        raise UserFault(Reason.RULE_NOT_READABLE, message)
    return size if isinstance(size, int) else None
