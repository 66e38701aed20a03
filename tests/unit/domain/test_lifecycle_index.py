"""An index that deletes by itself: what a plan shows of it, and what stands against it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from databosun.api.lifecycle import (
    ActionType,
    ColumnFact,
    HoldOrder,
    IndexFact,
    LifecycleOrder,
    LimitsOrder,
    RuleCounts,
    RuleFacts,
    RuleOrder,
    TableFact,
)
from databosun.api.v1alpha1.lifecyclestatus import PlannedRule
from databosun.cli.approve_lifecycle import details_of
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecycleguards import verdicts
from databosun.domain.lifecycleindex import index_words

AT = datetime(2026, 3, 1, tzinfo=UTC)
INDEX = IndexFact(name="databosun_ttl_aged", column="at", seconds=60, drop="dropIndex()")


def against(index: IndexFact | None, *holds: HoldOrder, eligible: int = 0, most: int = 100) -> list[str]:
    """Reasons of a rule on shop.orders."""
    limits = LimitsOrder(max_rows_per_run=most, max_percent=100)
    rule = RuleOrder(
        name="aged", table="orders", action=ActionType.ENSURE_TTL, column="at", older_than_seconds=60, limits=limits
    )
    column = ColumnFact(name="at", type="date", time=True)
    table = TableFact(name="shop.orders", kind="Table", columns=[column], primary_key=["_id"])
    counts = RuleCounts(rows=1000, eligible=eligible)
    facts = RuleFacts(rule="aged", tables=[table], index=index, counts=counts)
    order = LifecycleOrder(database_uid="u", storage="prod", rules=[rule], holds=list(holds))
    found = verdicts(make_plan(order, [facts]), order, [facts], AT)["aged"]
    return [str(one.reason) for one in found]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "make databosun_ttl_aged on at, which deletes after 60 s"),
        (60, "keep databosun_ttl_aged on at, which deletes after 60 s"),
        (30, "change databosun_ttl_aged on at, which deletes after 60 s (by now after 30 s)"),
    ],
)
def test_it_is_told_what_a_run_would_do_and_that_it_asks_nobody(found: int | None, said: str) -> None:
    words = index_words(INDEX.model_copy(update={"found": found}))
    assert words == said
    shown = PlannedRule(name="aged", action=ActionType.ENSURE_TTL, table="shop.orders", index=words)
    assert f"aged: would {said}; it deletes at any time, by itself, and knows no holds" in list(details_of(shown))


def test_holds_limits_and_other_indexes_stand_against_it() -> None:
    hold = HoldOrder(name="case", table="orders", where='{"a": 1}', reason="court")
    elsewhere = HoldOrder(name="case", table="others", reason="court")
    assert against(INDEX) == []
    assert against(INDEX, hold) == ["BlockedByHold"]
    assert against(INDEX, elsewhere) == []
    assert against(INDEX, hold.model_copy(update={"until": AT})) == []
    assert against(INDEX, eligible=101) == ["PlanGrew"]
    assert against(INDEX.model_copy(update={"found": 30}), eligible=101) == ["PlanGrew"]
    assert against(INDEX.model_copy(update={"found": 60}), eligible=101) == []  # the server is at it
    assert against(INDEX.model_copy(update={"clash": "another"})) == ["IndexClash"]
    assert against(INDEX.model_copy(update={"seconds": 1 << 31})) == ["IndexClash"]
    assert against(None) == ["RuleNotReadable"]
