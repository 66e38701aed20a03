"""A temporary instance as a recovered copy: what is asked of it by SQL before its backup may be called good."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from databosun.api.drill import Check, CheckResult, CheckType, Level
from databosun.domain.drill import CheckReason
from databosun.domain.errors import WorldFault
from databosun.engines.base import Target
from databosun.engines.checking import (
    compare_age,
    compare_canary,
    compare_count,
    compare_value,
    failed,
    passed,
    skipped,
)
from databosun.engines.rds.instances import Instance
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.sql import Session, SqlError, dialect_of
from databosun.engines.rds.waiting import Patience
from databosun.engines.recovery import Reached

R = TypeVar("R")
SERVER, TABLES, ROWS = "server", "tables", "rows"
_TABLE_SECONDS = 6 * 3600.0  # blocks of a new instance come from S3 as they are first read


@dataclass
class RDSCopy:
    """`Copy` of `engines/base.py`."""

    target: Target
    instance: Instance
    engine: str
    patience: Patience
    reached: Reached
    assumed_at: datetime | None
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    _running: Session | None = None
    _killed: bool = False

    def answer(self) -> str:
        """Log in and ask for the version, as soon as the instance lets somebody in."""

        def look() -> str | None:
            try:
                with dialect_of(self.engine)(
                    self.target, self.instance.host, self.instance.port, self._home()
                ) as session:
                    return session.version
            except WorldFault:
                if self.patience.now() >= self.patience.until:
                    raise
                return None

        return self.patience.wait(f"{self.instance.host} to answer", look)

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """Restore: it answers, and each table is counted. Deep: and every value of every row is read."""
        server = Check(name=SERVER, type=CheckType.SERVER_READY)
        deep = level is not Level.RESTORE
        found = Check(name=ROWS if deep else TABLES, type=CheckType.ENGINE_INTEGRITY, timeout_seconds=_TABLE_SECONDS)
        return (server, found)

    def check(self, check: Check) -> CheckResult:
        """Run one; raises only where the copy itself is gone."""
        began = time.monotonic()
        try:
            result = self._check(check)
        except SqlError as error:
            if error.gone:
                message = f"instance {self.instance.name} ended the session of check {check.name}: {error}"
                raise WorldFault(Reason.CONNECT_FAILED, message) from error
            result = failed(check, CheckReason.QUERY_FAILED, str(error))
        except ValueError as error:
            result = failed(check, CheckReason.QUERY_FAILED, str(error))
        return result.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def reindex(self) -> None:
        """Nothing: AWS starts the copy on the image of the original."""

    def flush(self) -> None:
        """Nothing: the copy runs as a server in earnest does."""

    def finish(self) -> None:
        """Nothing: there is no folder to hand over."""

    def kill(self) -> None:
        """End what is being asked; the instance itself goes when the block ends."""
        self._killed = True
        if self._running is not None:
            self._running.kill()

    def _check(self, check: Check) -> CheckResult:
        match check.type:
            case CheckType.SERVER_READY:
                return passed(check, observed=self._with(None, lambda session: session.version))
            case CheckType.ENGINE_INTEGRITY:
                return self._read_all(check, whole=check.name == ROWS)
            case CheckType.ROW_COUNT if check.table:
                table = check.table
                count = self._with(check.database, lambda session: session.count(table, check.timeout_seconds))
                return compare_count(check, count)
            case CheckType.QUERY:
                return compare_value(check, self._value(check))
            case CheckType.CANARY:
                return compare_canary(check, self._value(check))
            case CheckType.FRESHNESS:
                return compare_age(check, self._value(check), self.assumed_at)
            case _:
                return skipped(check, f"a check of type {check.type} is not made of a copy in RDS")

    def _read_all(self, check: Check, *, whole: bool) -> CheckResult:
        """Every table of every database; one that cannot be read fails it, and is named."""
        found = [self.target.database.database] if self.target.database.database else self._with(None, _databases)
        tables = rows = 0
        for database in found:
            for table in self._with(database, lambda session: session.tables()):
                self.patience.pulse()
                rows += self._one(database, table, check.timeout_seconds, whole=whole)
                tables += 1
        if not tables:
            return failed(check, CheckReason.NOTHING_CHECKED, "the copy has no table at all", observed="0 tables")
        return passed(check, observed=f"{tables} tables, {rows} rows")

    def _one(self, database: str | None, table: str, seconds: float, *, whole: bool) -> int:
        try:
            return self._with(database, lambda one: one.read(table, seconds) if whole else one.rows(table, seconds))
        except SqlError as error:
            message = f"{database}: {table}: {error}"
            raise SqlError(message, gone=error.gone) from error

    def _value(self, check: Check) -> object:
        query = check.query
        if not query:
            msg = f"check {check.name} of type {check.type} needs a query"
            raise ValueError(msg)
        return self._with(check.database, lambda session: session.value(query, check.timeout_seconds))

    def _with(self, database: str | None, ask: Callable[[Session], R]) -> R:
        login = dialect_of(self.engine)
        with login(self.target, self.instance.host, self.instance.port, database or self._home()) as session:
            self._running = session
            try:
                if self._killed:
                    message = "the copy was ended"
                    raise SqlError(message, gone=True)
                return ask(session)
            finally:
                self._running = None

    def _home(self) -> str | None:
        return self.target.database.database


def _databases(session: Session) -> Sequence[str]:
    return session.databases()
