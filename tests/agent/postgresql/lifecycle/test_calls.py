"""Functions and views that conditions, holds and triggers call: a plan is bound to what they are."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, CallFact, HoldOrder
from databosun.engines.postgresql.lifecycle.partitions import PostgreSQLPartitions
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support.lifecycling import DAY, PARTED_EVENTS, Keeper, after_steps, result_of, rule

pytestmark = pytest.mark.servers
SMALL = {"rows": 50, "target_milliseconds": 1000, "pause_milliseconds": 0}
CLOSED = "CREATE OR REPLACE FUNCTION closed_one(text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT $1 = 'closed' $$"
ANY = CLOSED.replace("$1 = 'closed'", "true OR $1 = ''")
DEEP = (
    f"{CLOSED};"
    "CREATE FUNCTION over_there(text) RETURNS boolean LANGUAGE plpgsql STABLE AS "
    "$$ BEGIN RETURN (SELECT public.closed_one($1)); END $$;"
    "CREATE VIEW gone AS SELECT id FROM orders WHERE over_there(status)"
)
CALLED = "function public.closed_one(text)"


def named(keeper: Keeper, *rules: Any, **more: Any) -> set[str]:
    return {call.name for fact in keeper.look(*rules, **more).facts for call in fact.calls}


@pytest.mark.parametrize(
    ("where", "made", "calls"),
    [
        ("public.closed_one(status)", CLOSED, {CALLED}),
        ('public . "closed_one" /* so */ (status)', CLOSED, {CALLED}),
        ('public.U&"closed\\005fone"(status)', CLOSED, {CALLED}),
        (
            "id IN (SELECT g.id FROM public.gone AS g)",
            DEEP,
            {CALLED, "function public.over_there(text)", "view public.gone"},
        ),
        (
            "status OPERATOR(public.===) 'closed'",
            "CREATE FUNCTION alike(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';"
            "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = alike)",
            {"function public.alike(text,text)"},
        ),
        (
            "(SELECT public.every_one(o.status) FROM public.orders AS o)",
            f"{CLOSED}; CREATE FUNCTION along(boolean, text) RETURNS boolean LANGUAGE sql STABLE "
            "AS 'SELECT $1 AND public.closed_one($2)';"
            "CREATE AGGREGATE every_one (text) (SFUNC = along, STYPE = boolean, INITCOND = 'true')",
            {CALLED, "function public.along(boolean,text)", "aggregate public.every_one(text)"},
        ),
        (
            "(status, id)::public.pair IS NOT NULL AND status::public.state::boolean",
            "CREATE TYPE pair AS (a text, b bigint); CREATE TYPE state AS ENUM ('open', 'closed');"
            "CREATE FUNCTION truth(state) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 = 'closed' $$;"
            "CREATE CAST (state AS boolean) WITH FUNCTION truth(state)",
            {"function public.truth(public.state)"},
        ),
        ("status = 'closed' AND length(status) > 3", CLOSED, set()),
    ],
    ids=["function", "quoted", "escaped", "view", "operator", "aggregate", "cast", "none"],
)
def test_a_plan_names_all_that_its_condition_calls(keeper: Keeper, where: str, made: str, calls: set[str]) -> None:
    keeper.sql(made)
    found = keeper.look(rule(where=where)).facts[0]
    assert found.fault is None
    assert {call.name for call in found.calls} == calls


def test_a_body_that_the_server_has_parsed_says_itself_what_it_calls(any_keeper: Keeper) -> None:
    any_keeper.sql(
        f"{DEEP};CREATE FUNCTION alike(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE AS 'texteq';"
        "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = alike);"
        "CREATE FUNCTION parsed(text) RETURNS boolean LANGUAGE sql STABLE "
        "BEGIN ATOMIC SELECT $1 === 'closed' AND EXISTS (SELECT FROM gone); END;"
        "ALTER VIEW gone RENAME TO renamed; ALTER FUNCTION over_there RENAME TO elsewhere"
    )
    asked = rule(where="public.parsed(status)")
    wanted = {
        CALLED,
        "function public.alike(text,text)",
        "function public.elsewhere(text)",
        "function public.parsed(text)",
        "view public.renamed",
    }
    assert named(any_keeper, asked) == wanted
    before = any_keeper.look(asked).plan_hash
    any_keeper.sql(ANY)
    assert any_keeper.look(asked).plan_hash != before


@pytest.mark.parametrize(
    ("where", "made", "change", "said"),
    [
        ("public.closed_one(status)", CLOSED, ANY, f"{CALLED} has another definition"),
        ("id IN (SELECT id FROM public.gone)", DEEP, ANY, f"{CALLED} has another definition"),
        (
            "id IN (SELECT id FROM public.gone)",
            DEEP,
            "CREATE OR REPLACE VIEW gone AS SELECT id FROM orders",
            "view public.gone has another definition",
        ),
        (
            "id IN (SELECT id FROM public.chosen)",
            "CREATE TABLE chosen AS SELECT id FROM orders WHERE status = 'closed'; GRANT SELECT ON chosen TO keeper",
            "ALTER TABLE chosen RENAME TO aside; CREATE VIEW chosen AS SELECT id FROM orders;"
            "GRANT SELECT ON chosen TO keeper",
            "view public.chosen is called, which was not before",
        ),
        (
            "public.closed_one(status)",
            CLOSED,
            "CREATE FUNCTION closed_one(varchar) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'",
            "function public.closed_one(character varying) is called, which was not before",
        ),
        (
            "public.closed_one(status)",
            CLOSED,
            "ALTER FUNCTION closed_one(text) SET search_path = 'elsewhere'",
            f"{CALLED} has another definition",
        ),
    ],
    ids=["function", "deep", "view", "table becomes view", "overloaded", "settings"],
)
def test_another_definition_is_another_plan_and_is_refused_by_its_name(
    keeper: Keeper, where: str, made: str, change: str, said: str
) -> None:
    keeper.sql(made)
    asked, before = rule(where=where), keeper.ids()
    seen = keeper.look(asked)
    keeper.sql(change)
    calls = {fact.rule: fact.calls for fact in seen.facts}
    ran = keeper.enforce(asked, approved=seen.plan_hash, calls=calls)
    assert (ran.result.outcome, ran.result.reason) == ("Refused", "PlanChanged")
    assert said in ran.result.message
    assert keeper.ids() == before


def test_what_is_not_called_may_be_replaced(keeper: Keeper) -> None:
    keeper.sql(f"{CLOSED}; CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    asked = rule(where="public.closed_one(status)")
    before = keeper.look(asked).plan_hash
    keeper.sql("CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 2'")
    keeper.sql("GRANT EXECUTE ON FUNCTION closed_one(text) TO keeper; ANALYZE orders")
    keeper.sql(CLOSED)  # the same again
    assert keeper.look(asked).plan_hash == before


@pytest.mark.parametrize("until", [None, "2020-01-01T00:00:00Z"], ids=["in force", "over"])
def test_a_plan_is_bound_to_what_holds_call(keeper: Keeper, until: Any) -> None:
    keeper.sql(CLOSED.replace("closed_one", "is_held"))
    held = [
        HoldOrder(name="case", table="orders", where="public.is_held(status)", reason="court", until=until),
        HoldOrder(
            name="other", table="elsewhere", where="public.closed_one(status)", reason="court", until="2020-01-01"
        ),
    ]
    assert named(keeper, rule(), holds=held) == {"function public.is_held(text)"}


def test_a_plan_is_bound_to_what_the_functions_of_triggers_call(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE FUNCTION inner_part() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE FUNCTION known() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM public.inner_part(); RETURN OLD; END';"
        "CREATE TRIGGER knowing BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION known()"
    )
    assert named(keeper, rule(triggers=["knowing"])) == {"function public.inner_part()", "function public.known()"}


@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.ARCHIVE])
def test_a_function_that_is_replaced_in_the_midst_of_a_run_takes_no_more_rows(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, action: ActionType
) -> None:
    keeper.sql(CLOSED)
    left: list[set[int]] = []

    def replaced(count: int) -> None:
        if count == 2:
            keeper.sql(ANY)
            left.append(keeper.ids())

    after_steps(monkeypatch, "release" if action is ActionType.ARCHIVE else "take", replaced)
    ran = keeper.enforce(rule(where="public.closed_one(status)", action=action), batch=SMALL)
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("PlanChanged", False)
    assert f"{CALLED} has another definition" in failure.message
    assert [keeper.ids()] == left


def test_a_function_that_is_replaced_for_a_moment_takes_no_row(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.sql(CLOSED)
    open_ones = keeper.sql("SELECT count(*) FROM orders WHERE status = 'open'")
    pick, times = PostgreSQLRows._pick, [0]

    def for_a_moment(self: PostgreSQLRows, *arguments: Any) -> Any:
        """Both what is picked and what is deleted then is by the other function; before the end it is back."""
        times[0] += 1
        if times[0] in (1, 3):
            keeper.sql(ANY)
        return pick(self, *arguments)

    keys = PostgreSQLRows._keys

    def back(self: PostgreSQLRows, query: Any) -> Any:
        found = keys(self, query)
        if times[0] in (1, 3):
            keeper.sql(CLOSED)
        return found

    monkeypatch.setattr(PostgreSQLRows, "_pick", for_a_moment)
    monkeypatch.setattr(PostgreSQLRows, "_keys", back)
    done = keeper.carry_out(rule(where="public.closed_one(status)"), batch=SMALL)["old-orders"]
    assert (done.failure, done.remaining) == (None, 0)
    assert times[0] > 3
    assert keeper.sql("SELECT count(*) FROM orders WHERE status = 'open'") == open_ones


def test_a_partition_is_not_dropped_by_a_condition_that_is_another_by_then(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.sql(
        f"{PARTED_EVENTS};"
        + "".join(f"ALTER TABLE {name} OWNER TO keeper;" for name in ("events", "events_old", "events_new"))
    )
    held = "CREATE OR REPLACE FUNCTION is_held(bigint) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT $1 = {} $$"
    keeper.sql(held.format(-1))
    run = PostgreSQLPartitions._run

    def late(self: PostgreSQLPartitions, statement: Any, part: Any) -> None:
        if statement.startswith("LOCK"):
            keeper.sql(held.format("7 OR $1 < 0"))
        run(self, statement, part)

    monkeypatch.setattr(PostgreSQLPartitions, "_run", late)
    hold = HoldOrder(name="case", table="public.events", where="public.is_held(id)", reason="court")
    asked = rule(
        table="public.events", column="at", where=None, action=ActionType.DROP_PARTITION, older_than_seconds=30 * DAY
    )
    done = keeper.carry_out(asked, holds=[hold])["old-orders"]
    assert done.failure is not None
    assert "function public.is_held(bigint) has another definition" in done.failure.message
    assert keeper.sql("SELECT count(*) FROM events_old") == [(100,)]


def test_more_than_anybody_looks_at_is_refused(keeper: Keeper) -> None:
    kinds = [", ".join(["int"] * (1 + one % 90) + ["text"] * (1 + one // 90)) for one in range(300)]
    made = [f"CREATE FUNCTION s1.many({one}) RETURNS boolean LANGUAGE sql AS 'SELECT true'" for one in kinds]
    keeper.sql(";".join(["CREATE SCHEMA s1; GRANT USAGE ON SCHEMA s1 TO keeper", *made]))
    done = keeper.carry_out(rule(where="s1.many(1, status)"))["old-orders"]
    assert done.failure is not None
    assert "depend on more than 256 functions and views" in done.failure.message


def test_an_approval_from_before_calls_were_known_names_what_it_did_not_cover(keeper: Keeper) -> None:
    keeper.sql(CLOSED)
    ran = keeper.enforce(rule(where="public.closed_one(status)"), approved="0" * 32)
    assert f"{CALLED} is called, which was not before" in ran.result.message
    other = CallFact(name=CALLED, definition_sha256="0" * 64)
    ran = keeper.enforce(rule(where="public.closed_one(status)"), approved="0" * 32, calls={"old-orders": [other]})
    assert f"{CALLED} has another definition" in ran.result.message
