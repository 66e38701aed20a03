"""What people's own words, odd values and lost answers must not make of a rule."""

from __future__ import annotations

import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import Batch, RuleFault, Trouble
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support.lifecycling import PARTED_EVENTS, Keeper, result_of, rule

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "where",
    [
        "true; COMMIT; SET default_transaction_read_only = off; COMMIT; BEGIN; DELETE FROM public.orders; COMMIT;"
        " BEGIN; SELECT 1",
        "true; SELECT pg_catalog.set_config('default_transaction_read_only', 'off', false); SELECT 1",
    ],
    ids=["delete", "set"],
)
@pytest.mark.parametrize("place", ["rule", "hold"])
def test_a_condition_carries_no_second_statement(keeper: Keeper, where: str, place: str) -> None:
    before = keeper.ids()
    holds = [HoldOrder(name="case", table="public.orders", where=where, reason="court")] if place == "hold" else []
    asked = rule(where=where) if place == "rule" else rule()
    fault = keeper.look(asked, holds=holds).facts[0].fault
    assert keeper.ids() == before
    assert fault is not None
    assert "multiple commands" in fault


@pytest.mark.parametrize("where", ["random/**/() < 2", 'public."Dice"(id)', 'U&"\\0072andom"() < 2'])
def test_a_volatile_function_is_found_however_it_is_written(keeper: Keeper, where: str) -> None:
    keeper.sql("CREATE FUNCTION \"Dice\"(bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN true; END'")
    fault = keeper.look(rule(where=where)).facts[0].fault
    assert fault is not None
    assert "may answer otherwise each time" in fault


def test_what_the_server_says_of_a_row_is_not_repeated(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE people (id int PRIMARY KEY, created_at timestamptz, email text CHECK (email LIKE '%@%'),"
        " masked_at timestamptz);"
        "INSERT INTO people VALUES (1, '2020-01-01', 'mustermann@example.org');"
        "CREATE TABLE notes (id int PRIMARY KEY, created_at timestamptz, note text);"
        "INSERT INTO notes VALUES (1, '2020-01-01', 'mustermann');"
        "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''% is not to go'', OLD.email; END';"
        "CREATE TRIGGER denying BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION deny()"
    )
    mask = MaskOrder(column="email", method=MaskMethod.FIXED, value="x")
    ran = keeper.enforce(
        rule("checked", table="public.people", where=None, action=ActionType.ANONYMIZE, masks=[mask],
             mark_column="masked_at"),
        rule("cast", table="public.notes", where="note::int > 3"),
        rule("raised", table="public.people", where=None, triggers=["denying"]),
    )  # fmt: skip
    done = {one.name: one for one in result_of(ran).outcomes}
    for name, sqlstate in (("checked", "23514"), ("cast", "22P02"), ("raised", "P0001")):
        failure = done[name].failure
        assert failure is not None
        assert sqlstate in failure.message
    raised = done["raised"].failure
    assert raised is not None
    assert "deny()" in raised.message
    assert "mustermann" not in ran.output
    assert "mustermann" not in result_of(ran).model_dump_json()


@pytest.mark.parametrize("table", ["public.order", "nowhere.orders", "public.orders_view"])
def test_a_hold_on_what_is_no_table_holds_all(keeper: Keeper, table: str) -> None:
    keeper.sql("CREATE VIEW orders_view AS SELECT * FROM orders")
    before = keeper.ids()
    hold = HoldOrder(name="case", table=table, where="customer = 7", reason="court")
    done = keeper.carry_out(rule(), holds=[hold])["old-orders"]
    assert done.state is RuleState.REFUSED
    assert done.failure is not None
    assert "case" in done.failure.message
    assert table in done.failure.message
    assert keeper.ids() == before


@pytest.mark.parametrize("where", ["id = 7", None])
@pytest.mark.parametrize(("target", "held"), [("events", "events_old"), ("events_old", "events")])
def test_a_hold_on_a_partition_and_on_its_parent_hold_the_same_rows(
    keeper: Keeper, target: str, held: str, where: str | None
) -> None:
    keeper.sql(PARTED_EVENTS)
    hold = HoldOrder(name="case", table=f"public.{held}", where=where, reason="court")
    done = keeper.carry_out(rule(table=f"public.{target}", column="at", where=None), holds=[hold])["old-orders"]
    assert keeper.sql("SELECT count(*) FROM events WHERE id = 7") == [(1,)]
    assert done.deleted == (99 if where else 0)
    assert done.state is (RuleState.COMPLETED if where else RuleState.REFUSED)


@pytest.mark.parametrize("hold", ["items", "kids.items", "kids.items_1"])
def test_a_hold_on_children_holds_wherever_their_table_lies(keeper: Keeper, hold: str) -> None:
    keeper.sql(
        "CREATE SCHEMA kids; CREATE TABLE kids.items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE"
        " CASCADE) PARTITION BY RANGE (id); CREATE TABLE kids.items_1 PARTITION OF kids.items DEFAULT;"
        "GRANT USAGE ON SCHEMA kids TO keeper; GRANT SELECT ON ALL TABLES IN SCHEMA kids TO keeper"
    )
    held = HoldOrder(name="case", table=hold, where="id = 7", reason="court")
    done = keeper.carry_out(rule(cascades=["kids.items"]), holds=[held])["old-orders"]
    assert done.failure is not None
    assert done.failure.reason == "BlockedByHold"


def test_answers_that_are_lost_do_not_let_more_go_than_the_limit(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, times = PostgreSQLRows.take, [0]

    def lost(self: PostgreSQLRows, rows: int) -> Batch:
        batch = take(self, rows)
        times[0] += 1
        if times[0] in (1, 3):
            raise RuleFault("ConnectionLost", "gone", Trouble.LOST)
        return batch

    monkeypatch.setattr(PostgreSQLRows, "take", lost)
    before = keeper.ids()
    asked = rule(limits={"max_rows_per_run": 100})
    done = keeper.carry_out(asked, batch={"rows": 40, "target_milliseconds": 60_000, "pause_milliseconds": 0})
    assert len(before - keeper.ids()) == 100
    assert (done["old-orders"].state, done["old-orders"].deleted) == (RuleState.LIMITED, 40)


def test_a_child_that_cannot_be_looked_at_is_refused(keeper: Keeper) -> None:
    keeper.sql('CREATE TABLE "it.ems" (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE)')
    done = keeper.carry_out(rule(cascades=["public.it.ems"]))["old-orders"]
    assert done.state is RuleState.REFUSED
    assert done.failure is not None
    assert "it.ems" in done.failure.message


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_a_row_from_before_all_time_has_no_age(keeper: Keeper, kind: str) -> None:
    keeper.sql(
        f"CREATE TABLE days (id int PRIMARY KEY, at {kind});"
        "INSERT INTO days VALUES (1, '-infinity'), (2, 'infinity'), (3, '0044-03-15 BC'), (4, '12026-01-01'),"
        " (5, '2020-01-01'), (6, NULL)"
    )
    days = rule(table="public.days", column="at", where=None)
    counts = keeper.look(days).facts[0].counts
    assert counts.eligible == 2
    done = keeper.carry_out(days)["old-orders"]
    assert (done.failure, done.state, done.deleted) == (None, RuleState.COMPLETED, 2)
    assert keeper.sql("SELECT id FROM days ORDER BY id") == [(1,), (2,), (4,), (6,)]
