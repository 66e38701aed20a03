"""Tables, partitions and rows that become others, or are held by others, while an approved plan is carried out."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import Batch, RuleFault, Trouble
from databosun.engines.postgresql.lifecycle.partitions import PostgreSQLPartitions
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support.lifecycling import DAY, PARTED_EVENTS, Keeper, after_steps, result_of, rule

pytestmark = pytest.mark.servers
ELIGIBLE = "created_at < timestamptz '2025-12-01 12:00Z' AND status = 'closed'"
SMALL = {"rows": 50, "target_milliseconds": 1000, "pause_milliseconds": 0}
OWNED = "".join(f"ALTER TABLE {name} OWNER TO keeper;" for name in ("events", "events_old", "events_new"))
DROP: dict[str, Any] = {"action": ActionType.DROP_PARTITION, "older_than_seconds": 30 * DAY}
KNOWING = (
    "CREATE FUNCTION known() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';"
    "CREATE TRIGGER knowing BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION known()"
)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE items (order_id bigint REFERENCES orders ON DELETE CASCADE);"
        "INSERT INTO items SELECT id FROM orders",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';"
        "CREATE TRIGGER noting AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE RULE noting AS ON DELETE TO orders DO ALSO NOTIFY noting",
        "CREATE OR REPLACE FUNCTION known() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
    ids=["cascade", "trigger", "rule", "function"],
)
@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.ARCHIVE])
def test_no_step_is_committed_on_a_table_that_is_another_by_then(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, change: str, action: ActionType
) -> None:
    keeper.sql(KNOWING)
    left: list[set[int]] = []

    def changed(count: int) -> None:
        if count == 2:
            keeper.sql(change)
            left.append(keeper.ids())

    after_steps(monkeypatch, "release" if action is ActionType.ARCHIVE else "take", changed)
    ran = keeper.enforce(rule(action=action, triggers=["knowing"]), batch=SMALL)
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("PlanChanged", False)
    assert [keeper.ids()] == left
    if "CASCADE" in change:
        assert keeper.sql("SELECT count(*) FROM items") == [(len(left[0]),)]


def test_what_changes_nothing_that_matters_stops_nothing(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.sql(KNOWING)
    harmless = "GRANT EXECUTE ON FUNCTION known() TO keeper; VACUUM orders"
    after_steps(monkeypatch, "take", lambda count: [keeper.sql(one) for one in harmless.split("; ") if count == 2])
    done = keeper.carry_out(rule(triggers=["knowing"]), batch=SMALL)["old-orders"]
    assert (done.state, done.remaining) == (RuleState.COMPLETED, 0)


def test_a_partition_that_is_taken_out_is_not_worked_on_any_more(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.sql(PARTED_EVENTS)
    detach = "ALTER TABLE events DETACH PARTITION events_old"
    after_steps(monkeypatch, "take", lambda count: count == 1 and keeper.sql(detach))
    done = keeper.carry_out(rule(table="public.events", column="at", where=None), batch=SMALL)["old-orders"]
    assert done.failure is not None
    assert done.failure.reason == "PlanChanged"
    assert keeper.sql("SELECT count(*) FROM events_old") == [(50,)]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("ALTER TABLE events DETACH PARTITION events_old", 100),
        (
            "ALTER TABLE events DETACH PARTITION events_old;"
            "ALTER TABLE events ATTACH PARTITION events_old FOR VALUES FROM ('2020-01-01') TO ('2026-06-01')",
            100,
        ),
        ("INSERT INTO events SELECT i, '2025-06-01' FROM generate_series(1000, 1100) AS i", 201),
    ],
    ids=["detached", "attached with other bounds", "more rows"],
)
def test_a_partition_that_is_another_by_then_is_not_dropped(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, change: str, left: int
) -> None:
    keeper.sql(PARTED_EVENTS.replace("2026-01-01') TO (MAXVALUE)", "2026-06-01') TO (MAXVALUE)"))
    keeper.sql(OWNED)
    run = PostgreSQLPartitions._run

    def late(self: PostgreSQLPartitions, statement: Any, part: Any) -> None:
        if statement.startswith("LOCK"):
            keeper.sql(change)
        run(self, statement, part)

    monkeypatch.setattr(PostgreSQLPartitions, "_run", late)
    asked = rule(table="public.events", column="at", where=None, **DROP)
    done = keeper.carry_out(asked)["old-orders"]
    assert (done.failure, done.partitions, done.deleted) == (None, [], 0)
    assert keeper.sql("SELECT count(*) FROM events_old") == [(left,)]


def test_a_partition_whose_end_nobody_heard_of_is_said_to_be_uncertain(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.sql(f"{PARTED_EVENTS};{OWNED}")
    remove = PostgreSQLPartitions.remove

    def lost(self: PostgreSQLPartitions, partition: str, rows: int) -> Batch | None:
        if remove(self, partition, rows) is not None:
            raise RuleFault("ConnectionLost", "gone", Trouble.LOST)
        return None

    monkeypatch.setattr(PostgreSQLPartitions, "remove", lost)
    asked = rule(table="public.events", column="at", where=None, **DROP)
    ran = result_of(keeper.enforce(asked))
    assert (ran.outcomes[0].partitions, ran.outcomes[0].deleted) == ([], 0)
    assert any("100 rows" in note and "may be done" in note for note in ran.notes)


def test_a_row_that_somebody_works_on_is_passed_by_and_kept(keeper: Keeper) -> None:
    (first,) = keeper.sql(f"SELECT min(id) FROM orders WHERE {ELIGIBLE}")[0]
    with keeper.server.connect("shop") as busy, busy.transaction():
        busy.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", (first,))
        ran = result_of(keeper.enforce(rule()))
        assert (ran.outcomes[0].state, ran.outcomes[0].remaining) == (RuleState.LIMITED, 1)
        assert keeper.ids() & {first}
    assert ran.notes == [
        "rule old-orders: 1 rows were locked or changed by others each time they were come to, and stay for the next"
        " run"
    ]


@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.ARCHIVE])
def test_rows_that_others_hold_or_change_for_a_while_are_come_back_to(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, action: ActionType
) -> None:
    doomed = [int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {ELIGIBLE} ORDER BY id LIMIT 6")]
    restart = PostgreSQLRows.restart
    with keeper.server.connect("shop") as busy:
        busy.autocommit = False
        busy.execute("UPDATE orders SET customer = -1 WHERE id = ANY (%s)", (doomed,))

        def again(self: PostgreSQLRows) -> None:
            """At each pass one more of them is let go of."""
            busy.commit()
            busy.execute("UPDATE orders SET customer = customer - 1 WHERE id = ANY (%s)", (doomed,))
            restart(self)
            del doomed[:1]

        monkeypatch.setattr(PostgreSQLRows, "restart", again)
        ran = result_of(keeper.enforce(rule(action=action)))
        busy.rollback()
    outcome = ran.outcomes[0]
    assert (outcome.state, outcome.remaining, ran.notes) == (RuleState.COMPLETED, 0, [])
    if action is ActionType.ARCHIVE:
        assert set(keeper.archive().rows()) | keeper.ids() == set(range(1, 3001))
