"""What a check says: results, and the comparisons that are the same for every engine."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

from databosun.api.drill import Check, CheckOutcome, CheckResult, Operator
from databosun.domain.drill import CheckReason

_NAMED = 5
Fingerprint = tuple[int | None, str | None]
"""How many rows, and the sum of their hashes."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What an engine's checks count, in words. `counted`, `hashed`: what the backup's counts and hashes are of."""

    rows: str
    tables: str
    none: str
    counted: str
    hashed: str


ROWS = Unit("rows", "tables", "no table", "the backup's snapshot", "the backup's snapshot")

_COMPARE: Mapping[Operator, Callable[[Decimal | str, Decimal | str], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def compare_value(check: Check, found: object) -> CheckResult:
    """A Query's value compares as asked."""
    return _judged(check, found, check.value if check.value is not None else "t", CheckReason.CHECK_FAILED)


def compare_canary(check: Check, found: object) -> CheckResult:
    """A known value is there, exactly. ValueError where the check does not say which."""
    if check.value is None:
        msg = f"check {check.name} of type Canary needs the value that is expected"
        raise ValueError(msg)
    equal = check.model_copy(update={"operator": Operator.EQUAL})
    return _judged(equal, found, check.value, CheckReason.CANARY_MISSING)


def compare_age(check: Check, found: object, assumed_at: datetime | None) -> CheckResult:
    """The newest instant is no older than asked. ValueError where the check or what was found cannot be compared."""
    if check.max_age_seconds is None or assumed_at is None:
        msg = f"check {check.name} of type Freshness needs maxAge"
        raise ValueError(msg)
    if found is None:
        return failed(check, CheckReason.STALE, "the query gives NULL: there is no row at all", observed="NULL")
    if not isinstance(found, date):
        msg = f"the query gives {found!r}; a timestamp or a date was expected"
        raise ValueError(msg)
    newest = found if isinstance(found, datetime) else datetime.combine(found, time.min)
    newest = newest.replace(tzinfo=UTC) if newest.tzinfo is None else newest.astimezone(UTC)
    age = (assumed_at - newest).total_seconds()
    expected = f"at most {check.max_age_seconds:.0f} s before {assumed_at.isoformat()}"
    if age > check.max_age_seconds:
        message = f"the newest is of {newest.isoformat()}, {age:.0f} s old; {check.max_age_seconds:.0f} s are allowed"
        return failed(check, CheckReason.STALE, message, observed=newest.isoformat(), expected=expected)
    return passed(check, observed=newest.isoformat(), expected=expected)


def compare_count(check: Check, count: int) -> CheckResult:
    """A table's rows lie within the bounds of a RowCount."""
    wanted = " and ".join(
        [f"at least {check.min}"] * (check.min is not None) + [f"at most {check.max}"] * (check.max is not None)
    )
    low, high = check.min is not None and count < check.min, check.max is not None and count > check.max
    if low or high:
        message = f"{check.table} has {count} rows; {wanted} were expected"
        return failed(check, CheckReason.ROW_COUNT_WRONG, message, observed=str(count), expected=wanted)
    return passed(check, observed=str(count), expected=wanted or None)


def compare_counts(check: Check, found: Mapping[str, int], known: Mapping[str, int], unit: Unit = ROWS) -> CheckResult:
    """Each count by name is what the backup knows; what it does not know is only counted."""
    wrong = [f"{name} has {found.get(name, unit.none)}, not {count}" for name, count in known.items()
             if found.get(name) != count]  # fmt: skip
    observed = f"{sum(found.values())} {unit.rows} in {len(found)} {unit.tables}"
    if wrong:
        message = f"{len(wrong)} {unit.tables} differ from {unit.counted}: {'; '.join(wrong[:_NAMED])}"
        return failed(check, CheckReason.ROW_COUNT_WRONG, message, observed=observed)
    return passed(check, observed=observed, expected=f"{sum(known.values())} {unit.rows}" if known else None)


def compare_fingerprints(
    check: Check, found: Mapping[str, Fingerprint], known: Mapping[str, Fingerprint], unit: Unit = ROWS
) -> CheckResult:
    """Each fingerprint by name is what the backup knows."""
    wrong = [f"{name}: {found.get(name, 'not there')}, not {value}" for name, value in known.items()
             if found.get(name) != value]  # fmt: skip
    observed = f"{sum(rows or 0 for rows, _ in found.values())} {unit.rows} in {len(found)} {unit.tables}"
    if wrong:
        message = f"{len(wrong)} {unit.tables} differ from {unit.hashed}: {'; '.join(wrong[:_NAMED])}"
        return failed(check, CheckReason.ROWS_DIFFER, message, observed=observed)
    return passed(check, observed=observed, expected=f"{len(known)} fingerprints equal")


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
