"""Checks that a user writes: one query, one value. Read-only, within their timeout, on the role's own search path."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

from databosun.api.drill import Check, CheckResult, Operator
from databosun.domain.drill import CheckReason
from databosun.engines.postgresql.checks.scene import Scene, failed, passed

_COMPARE: Mapping[Operator, Callable[[Decimal | str, Decimal | str], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def ask(scene: Scene, check: Check) -> object:
    """The one value that a check's query gives. ValueError where it gives something else; psycopg.Error."""
    if not check.query:
        msg = f"check {check.name} of type {check.type} needs a query"
        raise ValueError(msg)
    with scene.connect(scene.database_of(check)) as connection:
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (_milliseconds(check),))
        with connection.cursor() as cursor:
            cursor.execute(check.query.encode())
            if cursor.description is None or len(cursor.description) != 1:
                msg = f"the query gives {len(cursor.description or ())} columns; one row with one value was expected"
                raise ValueError(msg)
            rows = cursor.fetchmany(2)
    if len(rows) != 1:
        msg = f"the query gives {'no row' if not rows else 'several rows'}; one row with one value was expected"
        raise ValueError(msg)
    return rows[0][0]


def check_query(scene: Scene, check: Check) -> CheckResult:
    """The value compares as asked."""
    found, expected = ask(scene, check), check.value if check.value is not None else "t"
    return _judged(check, found, expected, CheckReason.CHECK_FAILED)


def check_canary(scene: Scene, check: Check) -> CheckResult:
    """A known value is there, exactly."""
    if check.value is None:
        msg = f"check {check.name} of type Canary needs the value that is expected"
        raise ValueError(msg)
    found = ask(scene, check.model_copy(update={"operator": Operator.EQUAL}))
    return _judged(
        check.model_copy(update={"operator": Operator.EQUAL}), found, check.value, CheckReason.CANARY_MISSING
    )


def check_freshness(scene: Scene, check: Check) -> CheckResult:
    """The newest row is no older than asked, at the instant of the drill (or at the point that was recovered to)."""
    if check.max_age_seconds is None or scene.assumed_at is None:
        msg = f"check {check.name} of type Freshness needs maxAge"
        raise ValueError(msg)
    found = ask(scene, check)
    if found is None:
        return failed(check, CheckReason.STALE, "the query gives NULL: there is no row at all", observed="NULL")
    if not isinstance(found, date):
        msg = f"the query gives {found!r}; a timestamp or a date was expected"
        raise ValueError(msg)
    newest = found if isinstance(found, datetime) else datetime.combine(found, time.min)
    newest = newest.replace(tzinfo=UTC) if newest.tzinfo is None else newest.astimezone(UTC)
    age = (scene.assumed_at - newest).total_seconds()
    expected = f"at most {check.max_age_seconds:.0f} s before {scene.assumed_at.isoformat()}"
    if age > check.max_age_seconds:
        message = f"the newest is of {newest.isoformat()}, {age:.0f} s old; {check.max_age_seconds:.0f} s are allowed"
        return failed(check, CheckReason.STALE, message, observed=newest.isoformat(), expected=expected)
    return passed(check, observed=newest.isoformat(), expected=expected)


def _judged(check: Check, found: object, expected: str, reason: CheckReason) -> CheckResult:
    shown, wanted = _text(found), f"{check.operator} {expected}"
    left, right = _number(shown), _number(expected)
    both = (left, right) if left is not None and right is not None else (shown, expected)
    if found is not None and _COMPARE[check.operator](both[0], both[1]):
        return passed(check, observed=shown, expected=wanted)
    return failed(check, reason, f"found {shown}, expected {wanted}", observed=shown, expected=wanted)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    return "NULL" if value is None else str(value)[:500]


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _milliseconds(check: Check) -> str:
    return f"{max(1, int(check.timeout_seconds * 1000))}ms"
