"""What checks have at hand, and how one speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from databosun.api.drill import Check, CheckOutcome, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.private import PrivateServer
from databosun.engines.redis.resp import Wire


@dataclass(frozen=True, slots=True)
class Scene:
    """The copy, the backup it came from, what was loaded, and the instant that the age of data is measured against."""

    server: PrivateServer
    backup: Backup
    loaded: Mapping[int, tuple[int, int]]
    assumed_at: datetime | None
    pulse: Callable[[], None]

    def connect(self, database: int = 0) -> Wire:
        """A session in that database."""
        wire = self.server.connect(self.pulse)
        try:
            wire.call("SELECT", database)
        except BaseException:
            wire.close()
            raise
        return wire

    def database_of(self, check: Check) -> int:
        """Which database a check looks into: the one it names, else 0. ValueError."""
        if check.database is None:
            return 0
        number = check.database.removeprefix("db")
        if not number.isdigit():
            msg = f"database is {check.database!r}; expected a number such as 0"
            raise ValueError(msg)
        return int(number)


def passed(check: Check, *, observed: str, expected: str | None = None, message: str = "") -> CheckResult:
    """All is well."""
    return _result(check, CheckOutcome.PASSED, None, observed, expected, message)


def failed(
    check: Check, reason: CheckReason, message: str, *, observed: str | None = None, expected: str | None = None
) -> CheckResult:
    """It is not as it should be."""
    return _result(check, CheckOutcome.FAILED, reason, observed, expected, message)


def skipped(check: Check, message: str) -> CheckResult:
    """Nothing can be said."""
    return _result(check, CheckOutcome.SKIPPED, None, None, None, message)


def _result(
    check: Check,
    outcome: CheckOutcome,
    reason: CheckReason | None,
    observed: str | None,
    expected: str | None,
    message: str,
) -> CheckResult:
    return CheckResult(
        name=check.name,
        type=check.type,
        severity=check.severity,
        outcome=outcome,
        reason=reason,
        observed=observed,
        expected=expected,
        message=message,
    )
