"""Rows picked and deleted by one statement: only where nothing but the row decides, and never a row that changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from databosun.agent.lifecycle import work
from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.agent.lifecycle.pacemaker import Pacemaker
from databosun.api.lifecycle import ActionType, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import hash_key
from databosun.engines.postgresql.lifecycle import rows
from databosun.engines.postgresql.lifecycle.atonce import AtOnce
from databosun.engines.postgresql.lifecycle.rowsql import MOST_MEANWHILE, still_telling
from support.lifecycling import HASH_KEY, Keeper, result_of, rule
from support.waiting import eventually

pytestmark = pytest.mark.servers
WAITED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'keeper' AND wait_event_type = 'Lock'"
LIMITS = "SELECT concat_ws('/', current_setting('lock_timeout'), current_setting('statement_timeout'))"
OTHERS = "EXISTS (SELECT FROM public.orders AS o WHERE o.id = orders.id)"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were made to be done at once."""
    made: list[str] = []
    for name in ("take", "release"):
        original = getattr(AtOnce, name)

        def make(self: AtOnce, *arguments: Any, original: Callable[..., Any] = original, name: str = name) -> Any:
            made.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(AtOnce, name, make)
    return made


def test_a_condition_of_the_row_alone_is_done_at_once(keeper: Keeper, at_once: list[str]) -> None:
    where = "status = 'closed' AND abs(id) > 0 AND amount IS NOT NULL"
    assert keeper.carry_out(rule(where=where, limits={"max_rows_per_run": 100}))["old-orders"].deleted == 100
    assert keeper.carry_out(rule(action=ActionType.ARCHIVE))["old-orders"].state is RuleState.COMPLETED
    assert set(at_once) == {"take", "release"}


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ("", {"where": OTHERS}),
        ("", {"where": "(TABLE public.one) = 1"}),
        ("", {"where": "id IN (VALUES (95), (96))"}),
        ("", {"where": "current_setting('a.b', true) IS NULL"}),
        ("", {"where": "public.own(id)"}),
        ("", {"where": 'public.U&"\\006Fwn"(id)'}),
        ("", {"triggers": ["t"]}),
        ("CREATE RULE r AS ON DELETE TO orders DO ALSO UPDATE one SET n = n + 1", {"triggers": ["r"]}),
        ("", {"cascades": ["items"]}),
        ("", {"action": ActionType.ARCHIVE, "cascades": ["items"]}),
        (
            "ALTER TABLE orders ADD masked_at date",
            {
                "action": ActionType.ANONYMIZE,
                "masks": [MaskOrder(column="amount", method=MaskMethod.NULL)],
                "mark_column": "masked_at",
            },
        ),
    ],
)
def test_what_asks_for_more_than_the_row_is_not_done_at_once(
    keeper: Keeper, at_once: list[str], before: str, more: dict[str, Any]
) -> None:
    keeper.sql(
        "CREATE TABLE one AS SELECT 1 AS n; GRANT ALL ON one TO keeper;"
        "CREATE FUNCTION own(bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0';"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"
    )
    if more.get("triggers") == ["t"]:
        keeper.sql("CREATE TRIGGER t BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION f()")
    if "cascades" in more:
        keeper.sql("CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE)")
    keeper.sql(before or "SELECT 1")
    done = keeper.carry_out(rule(**more))["old-orders"]
    assert (done.failure, done.state) == (None, RuleState.COMPLETED)
    assert done.deleted + done.anonymized > 0
    assert at_once == []


@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.ARCHIVE])
def test_a_row_that_somebody_holds_is_soon_passed_over(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, at_once: list[str], action: ActionType
) -> None:
    monkeypatch.setattr(work, "MOST_PASSES", 1)
    before = keeper.ids()
    doomed = {one for one in before if one % 3 and one % 200 >= 90}
    held = sorted(doomed)[7]
    with keeper.server.connect("shop") as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", (held,))
        ran = keeper.enforce(rule(action=action), throttle={"lock_timeout_milliseconds": 60_000})
        busy.execute("ROLLBACK")
    assert before - keeper.ids() == doomed - {held}
    assert result_of(ran).outcomes[0].failure is None
    assert at_once
    assert not any(line["event"] == "step" for line in ran.lines)  # nothing was given up for it


def test_a_step_at_once_waits_briefly_and_any_other_as_long_as_it_may(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, waits = rows.PostgreSQLRows._changing, set[str]()

    @contextmanager
    def noted(self: rows.PostgreSQLRows, *arguments: Any, **more: Any) -> Iterator[None]:
        with changing(self, *arguments, **more):
            waits.add(str(self._connected().execute(LIMITS).fetchone()))
            yield

    monkeypatch.setattr(rows.PostgreSQLRows, "_changing", noted)
    some, throttle = {"max_rows_per_run": 100}, {"lock_timeout_milliseconds": 7000}
    for asked, wait in ((rule(limits=some), "50ms/5s"), (rule(where=OTHERS, limits=some), "7s/1h")):
        waits.clear()
        assert result_of(keeper.enforce(asked, throttle=throttle)).outcomes[0].deleted == 100
        assert waits == {f"('{wait}',)"}


@pytest.mark.parametrize(
    ("change", "stays"), [("status = 'open'", True), ("customer = -1", False), ("id = 777777", False)]
)
def test_a_row_that_changes_while_it_is_waited_for_is_asked_anew(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, change: str, stays: bool
) -> None:
    for limit in ("MOST_BRIEF", "LONGEST"):
        monkeypatch.setattr(rows, limit, 600_000)
    doomed = {one for one in keeper.ids() if one % 3 and one % 200 >= 90}
    changed = sorted(doomed)[7]
    busy = keeper.server.connect("shop")
    busy.execute("BEGIN")
    busy.execute(f"UPDATE orders SET {change} WHERE id = {changed}".encode())

    def commit() -> None:
        eventually("the agent waits", lambda: keeper.sql(WAITED) != [(0,)])
        busy.execute("COMMIT")
        busy.close()

    ender = threading.Thread(target=commit)
    ender.start()
    done = keeper.carry_out(rule(), throttle={"lock_timeout_milliseconds": 600_000})["old-orders"]
    ender.join()
    assert (done.failure, done.state) == (None, RuleState.COMPLETED)
    assert (changed in keeper.ids()) is stays
    assert done.deleted == len(doomed) - stays
    assert not keeper.ids() & (doomed - {changed})


@pytest.mark.parametrize("where", ["status = 'closed'", f"status = 'closed' AND {OTHERS}"], ids=["at once", "locked"])
@pytest.mark.parametrize("event", ["written anew", "another session"])
def test_no_row_is_taken_for_one_that_was_archived_since_it_lies_where_that_did(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, where: str, event: str
) -> None:
    """The same versions in other places; or a server that may have lost what it had done, and number it anew."""
    keeper.sql("CREATE INDEX other_way ON orders (id DESC)")
    monkeypatch.setattr(work, "FIRST_PART", 100)
    write, times = Ledger.write, []

    def written(self: Ledger, rule: str, what: Event, keys: Any = (), **more: Any) -> int:
        number = write(self, rule, what, keys, **more)
        if what is Event.ARCHIVED and not times:
            times.append(number)
            keeper.sql("CLUSTER orders USING other_way") if event == "written anew" else keeper.cut()
        return number

    before, approved = keeper.ids(), keeper.look(rule(action=ActionType.ARCHIVE, where=where)).plan_hash
    monkeypatch.setattr(Ledger, "write", written)
    ran = keeper.enforce(rule(action=ActionType.ARCHIVE, where=where), approved=approved)
    done = result_of(ran).outcomes[0]
    assert (done.failure, done.state, done.changed) == (None, RuleState.COMPLETED, 100)
    assert before - keeper.ids() == set(keeper.archive().rows())


def test_a_step_at_once_that_takes_too_long_in_all_is_done_passing_by(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, at_once: list[str]
) -> None:
    monkeypatch.setattr(rows, "LONGEST", 1)
    doomed = {one for one in keeper.ids() if one % 3 and one % 200 >= 90}
    ran = keeper.enforce(rule())
    assert (result_of(ran).outcomes[0].failure, not keeper.ids() & doomed) == (None, True)
    assert at_once
    assert not any(line["event"] == "step" for line in ran.lines)


def test_a_version_is_told_by_its_number_until_that_comes_round() -> None:
    """Numbers of transactions are of 32 bits in a row, and without end in a snapshot."""
    since, now = 3 * 2**32 + 1000, 3 * 2**32 + 2000
    early, due, later = "999", str(1000), str(2000 + MOST_MEANWHILE + 1)
    assert still_telling({early, due, "1500", later, str(2**32 - 1)}, since, now) == {early, later, str(2**32 - 1)}


def test_chunks_that_overlap_take_no_more_than_the_limit_and_name_every_row(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK_ROWS", 100)
    before, batch = keeper.ids(), {"rows": 30, "target_milliseconds": 60_000, "pause_milliseconds": 0}
    done = keeper.carry_out(rule(limits={"max_rows_per_run": 250}), batch=batch)["old-orders"]
    gone = before - keeper.ids()
    assert (done.state, done.deleted, len(gone)) == (RuleState.LIMITED, 250, 250)
    archive = keeper.archive()
    links = archive.links()
    assert [(link["event"], link.get("rows", link.get("deleted"))) for link in links[1:]] == [
        ("Granted", 100),
        ("Granted", 100),
        ("Done", 100),
        ("Done", 100),
        ("Granted", 50),
        ("Done", 50),
    ]
    named: set[str] = set()
    for link in links:
        if "keys" in link:
            packed = archive.store.get(f"{archive.root}/audit/{link['number']:06d}.keys.zst", limit=1 << 24)
            named |= set(archive.unpack(packed).decode().split())
    assert named == {hash_key(HASH_KEY.encode(), [str(one)]) for one in gone}


def test_a_chunk_that_is_open_when_the_time_is_up_is_closed(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "CHUNK_ROWS", 100)
    before = keeper.ids()
    monkeypatch.setattr(Pacemaker, "_up", lambda self: before - keeper.ids() != set())
    batch = {"rows": 100, "target_milliseconds": 60_000, "pause_milliseconds": 0}
    done = keeper.carry_out(rule(), batch=batch)["old-orders"]
    assert (done.state, done.deleted, len(before - keeper.ids())) == (RuleState.LIMITED, 100, 100)
    links = keeper.archive().links()[1:]
    assert [link.get("rows", link.get("deleted")) for link in links] == [100, 100, 100, 0]
    assert [link.get("of") for link in links] == [None, None, links[0]["number"], links[1]["number"]]
