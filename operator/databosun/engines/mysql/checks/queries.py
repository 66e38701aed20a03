"""Checks that a user writes: one query, one value. Read-only, within their timeout."""

from __future__ import annotations

from databosun.api.drill import Check, CheckResult
from databosun.engines.checking import compare_age, compare_canary, compare_value
from databosun.engines.mysql.checks.scene import Scene
from databosun.engines.mysql.connect import limit_statements


def ask(scene: Scene, check: Check) -> object:
    """The one value that a check's query gives. ValueError where it gives something else; the driver's errors."""
    if not check.query:
        msg = f"check {check.name} of type {check.type} needs a query"
        raise ValueError(msg)
    connection = scene.server.connect()
    try:
        connection.select_db(scene.schema_of(connection, check))
        limit_statements(connection, scene.server.dialect, max(0.001, check.timeout_seconds))
        with connection.cursor() as cursor:
            cursor.execute(check.query)
            if cursor.description is None or len(cursor.description) != 1:
                msg = f"the query gives {len(cursor.description or ())} columns; one row with one value was expected"
                raise ValueError(msg)
            rows = cursor.fetchmany(2)
    finally:
        connection.close()
    if len(rows) != 1:
        msg = f"the query gives {'no row' if not rows else 'several rows'}; one row with one value was expected"
        raise ValueError(msg)
    value = rows[0][0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def check_query(scene: Scene, check: Check) -> CheckResult:
    """The value compares as asked; true is 1."""
    wanted = check if check.value is not None else check.model_copy(update={"value": "1"})
    return compare_value(wanted, ask(scene, check))


def check_canary(scene: Scene, check: Check) -> CheckResult:
    """A known value is there, exactly."""
    return compare_canary(check, ask(scene, check))


def check_freshness(scene: Scene, check: Check) -> CheckResult:
    """The newest row is no older than asked, at the instant of the drill."""
    return compare_age(check, ask(scene, check), scene.assumed_at)
