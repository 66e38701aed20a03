"""A drill restores what was backed up, whatever kind of backup it is, and says so with figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.api.drill import CheckOutcome, Level, RpoSource, Verdict
from databosun.api.v1alpha1.backuppolicy import Method
from support.agekeys import make_age_key
from support.agentrun import backup_task
from support.recoveryyard import Yard, check, drilled

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize("major", [15, 18])
def test_a_full_passes(yard_of: Callable[..., Yard], workplace: Path, major: int, method: Method) -> None:
    yard = yard_of(major, key=make_age_key(workplace))
    yard.back_up(backup_task("orders-1", method=method))
    before = yard.objects()
    checks = [
        check("customers", "RowCount", table="customers", min=2000, max=2000, database="shop"),
        check("sum", "Query", query="SELECT sum(id) FROM customers", value="2001000", database="shop"),
    ]
    script = """
        test "$(psql -Atc 'SELECT count(*) FROM customers')" = 2000 || exit 1
        psql -qAtc 'CREATE TABLE mine ()' 2>&1 | grep -q 'read-only transaction' || exit 2
        env | cut -d= -f1 | grep -iqE 'secret|passw|token|aws|databosun' && exit 3
        test "$(pwd)" = "$HOME" && echo noted > note && echo seen
    """
    checks.append(check("program", "Job", exec=["sh", "-c", script], database="shop"))
    found = drilled(yard.drill("orders-1", checks=checks))
    assert found.verdict is Verdict.PASSED, found
    assert found.level_reached is Level.DEEP
    assert found.proven
    assert {one.outcome for one in found.checks} == {CheckOutcome.PASSED}, found.checks
    assert next(one.observed for one in found.checks if one.name == "program") == "seen"
    assert found.rto
    assert found.rto.seconds >= found.rto.fetch + found.rto.restore + found.rto.start
    assert found.rpo
    assert found.rpo.source in (RpoSource.MANIFEST, RpoSource.COMMIT)
    assert found.evidence_sha256
    assert yard.objects() == before
