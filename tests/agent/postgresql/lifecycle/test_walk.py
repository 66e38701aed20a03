"""Rows that are walked as they lie: each is come to, nothing else goes, and no step takes more than it may."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import Batch
from databosun.engines.postgresql.lifecycle import walk
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from databosun.engines.postgresql.lifecycle.walk import Walk
from support.lifecycling import Keeper, after_steps, result_of, rule

pytestmark = pytest.mark.servers
FEW = {"rows": 70, "target_milliseconds": 60_000, "pause_milliseconds": 0}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int | None]]:
    """Of each step: how many rows it might take, how many it took, and up to which block."""
    seen: list[tuple[int, int, int | None]] = []
    take = PostgreSQLRows.take

    def taken(self: PostgreSQLRows, most: int) -> Batch:
        until = self._walk.until
        batch = take(self, most)
        seen.append((most, len(batch.keys), until))
        return batch

    monkeypatch.setattr(PostgreSQLRows, "take", taken)
    return seen


def doomed_of(keeper: Keeper) -> set[int]:
    """By their numbers."""
    return {one for one in keeper.ids() if one % 3 and one % 200 >= 90}


def test_every_row_is_come_to_in_short_stretches_however_few_are_old(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[int, int, int | None]]
) -> None:
    monkeypatch.setattr(walk, "STRETCH", 3)
    keeper.sql("UPDATE orders SET created_at = now() WHERE id BETWEEN 500 AND 2500")  # whole stretches without any
    before = keeper.ids()
    doomed = {one for one in doomed_of(keeper) if not 500 <= one <= 2500}
    done = keeper.carry_out(rule(), batch=FEW)["old-orders"]
    assert (done.failure, done.state, done.deleted) == (None, RuleState.COMPLETED, len(doomed))
    assert before - keeper.ids() == doomed
    assert all(taken <= most <= 140 for most, taken, _ in steps)
    assert (70, 0) in {step[:2] for step in steps[:-1]}


def test_what_comes_to_lie_before_the_walk_is_found_by_the_next_pass(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, doomed = keeper.ids(), doomed_of(keeper)
    last = sorted(doomed)[-200]  # its block is full
    moved: list[Any] = []

    def move(count: int) -> None:
        if count == 3:
            keeper.sql("VACUUM orders")  # there is room where the first ones lay
            keeper.sql(f"UPDATE orders SET customer = -1 WHERE id = {last}")
            moved.extend(keeper.sql(f"SELECT (ctid::text::point)[0] FROM orders WHERE id = {last}"))

    after_steps(monkeypatch, "take", move)
    done = keeper.carry_out(rule(), batch=FEW)["old-orders"]
    assert (done.failure, done.state, done.remaining) == (None, RuleState.COMPLETED, 0)
    assert before - keeper.ids() == doomed
    assert moved[0][0] < 3


def test_a_server_that_reads_in_another_order_takes_no_row_too_many(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[int, int, int | None]]
) -> None:
    monkeypatch.setattr(walk, "IN_ORDER", {**walk.BY_PLACE, "enable_bitmapscan": "off"})
    keeper.sql("CREATE INDEX backwards ON orders (status, id DESC) INCLUDE (created_at)")
    keeper.sql("ALTER ROLE keeper SET enable_tidscan = off")
    try:
        before, doomed = keeper.ids(), doomed_of(keeper)
        ran = keeper.enforce(rule(), batch=FEW)
    finally:
        keeper.sql("ALTER ROLE keeper RESET enable_tidscan")
    assert result_of(ran).outcomes[0].failure is None
    assert before - keeper.ids() == doomed
    assert all(taken <= most for most, taken, _ in steps)
    assert steps[-1][2] is None  # by key
    assert any("in another order" in str(line.get("message")) for line in ran.lines)


@pytest.mark.parametrize(
    ("index", "action", "lies"),
    [("", ActionType.DELETE, True), ("(created_at)", ActionType.DELETE, False), ("", ActionType.ARCHIVE, False)],
)
def test_rows_are_walked_by_an_index_that_leads_to_them(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, index: str, action: ActionType, lies: bool
) -> None:
    if index:
        keeper.sql(f"CREATE INDEX aged ON orders {index}")
    found: set[bool] = set()
    go_on = Walk.go_on

    def gone_on(self: Walk, *arguments: Any) -> None:
        found.add(self.until is not None)
        go_on(self, *arguments)

    monkeypatch.setattr(Walk, "go_on", gone_on)
    done = keeper.carry_out(rule(action=action))["old-orders"]
    assert (done.failure, done.state) == (None, RuleState.COMPLETED)
    assert found == {lies}
