"""Checks that a user writes: one query, one value. Read-only, within their timeout, on the role's own search path."""

from __future__ import annotations

from databosun.api.drill import Check, CheckResult
from databosun.engines.checking import compare_age, compare_canary, compare_value
from databosun.engines.postgresql.checks.scene import Scene


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
    return compare_value(check, ask(scene, check))


def check_canary(scene: Scene, check: Check) -> CheckResult:
    """A known value is there, exactly."""
    return compare_canary(check, ask(scene, check))


def check_freshness(scene: Scene, check: Check) -> CheckResult:
    """The newest row is no older than asked, at the instant of the drill (or at the point that was recovered to)."""
    return compare_age(check, ask(scene, check), scene.assumed_at)


def _milliseconds(check: Check) -> str:
    return f"{max(1, int(check.timeout_seconds * 1000))}ms"
