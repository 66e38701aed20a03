"""What must not go: rows that changed since they were archived, children and triggers that nobody listed, and rows of a
plan that is another by now. Alike on every engine that is served."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from databosun.agent.lifecycle import work
from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.agent.upload import VolumeUpload
from databosun.api.lifecycle import ActionType, ForeignKeys, HoldOrder, LifecycleMode, ServerOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import WorldFault
from databosun.engines.lifecycle import Batch, RuleFault, Trouble
from databosun.engines.mysql.lifecycle.rows import MySQLRows
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support.rulekeeping import Keeper, result_of, rule

pytestmark = pytest.mark.servers
ARCHIVE = rule(action=ActionType.ARCHIVE)
SMALL = {"rows": 50, "target_milliseconds": 1000, "pause_milliseconds": 0}
CASCADE = "FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE"

Between = Callable[[Callable[[int], None]], None]
AfterSteps = Callable[[str, Callable[[int], object]], None]


def eligible(keeper: Keeper[Any]) -> list[int]:
    """By a query of the test's own."""
    where = f"created_at < {keeper.at('2025-12-01 12:00')} AND status = 'closed'"
    return [int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {where} ORDER BY id")]


def items(keeper: Keeper[Any], rows: int, key: str = CASCADE) -> None:
    """Children of orders."""
    keeper.sql(f"CREATE TABLE items (id INT PRIMARY KEY, order_id BIGINT, state VARCHAR(9), {key})")
    keeper.sql(f"INSERT INTO items (id, order_id) SELECT seq, seq FROM {keeper.numbers(rows)}")


def test_a_name_that_leads_to_another_server_by_now_is_not_worked_on(postgresql: Keeper[Any]) -> None:
    keeper = postgresql
    live = keeper.sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    order = keeper.task(rule()).order
    here = ServerOrder(hosts=["orders.db"], port=5432, system=str(live))
    for mode in LifecycleMode:
        other = order.model_copy(update={"server": here.model_copy(update={"system": "7000"})})
        ran = keeper.place.run(keeper.task(rule(), mode=mode, order=other, approved="0" * 32), database=keeper.database)
        assert (ran.result.outcome, ran.result.reason) == (Outcome.REFUSED, "PlanChanged")
        assert f"is {live}, and the plan is for 7000" in ran.result.message
    same = keeper.task(rule(), order=order.model_copy(update={"server": here}))
    assert keeper.place.run(same, database=keeper.database).result.outcome is Outcome.SUCCEEDED


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Do something each time after rows were archived, and before the first of them is deleted."""

    def arrange(do: Callable[[int], None]) -> None:
        write, times = Ledger.write, []

        def written(self: Ledger, rule: str, event: Event, keys: Any = (), **more: Any) -> int:
            number = write(self, rule, event, keys, **more)
            if event is Event.ARCHIVED:
                times.append(number)
                do(len(times))
            return number

        monkeypatch.setattr(Ledger, "write", written)

    return arrange


@pytest.fixture
def after_steps(monkeypatch: pytest.MonkeyPatch) -> AfterSteps:
    """Do something after each committed step of any engine."""

    def arrange(method: str, do: Callable[[int], object]) -> None:
        count = [0]
        for engine in (PostgreSQLRows, MySQLRows):
            original = getattr(engine, method)

            def stepped(self: Any, *arguments: Any, original: Any = original) -> Batch:
                batch: Batch = original(self, *arguments)
                count[0] += 1
                do(count[0])
                return batch

            monkeypatch.setattr(engine, method, stepped)

    return arrange


def test_a_row_that_changes_between_archive_and_delete_stays_and_is_archived_again(
    keeper: Keeper[Any], between: Between
) -> None:
    doomed = set(eligible(keeper))
    changed = set(sorted(doomed)[:20])
    seen: list[set[int]] = []

    def change(time: int) -> None:
        if time == 1:
            keeper.sql(f"UPDATE orders SET customer = -1 WHERE id IN ({','.join(map(str, changed))})")
        else:
            seen.append(keeper.ids() & changed)

    between(change)
    done = keeper.carry_out(ARCHIVE)["old-orders"]
    assert seen == [changed]
    assert (done.state, done.changed, done.deleted, done.archived) == (
        RuleState.COMPLETED,
        20,
        len(doomed),
        len(doomed) + 20,
    )
    rows = keeper.archive().rows()
    assert set(rows) == doomed
    assert {rows[one]["customer"] for one in changed} == {-1}


def test_a_row_that_is_no_longer_eligible_stays(keeper: Keeper[Any], between: Between) -> None:
    doomed = eligible(keeper)
    reopened, moved = doomed[3], doomed[5]
    before = keeper.ids()

    def change(_: int) -> None:
        keeper.sql(f"UPDATE orders SET status = 'open' WHERE id = {reopened}")
        keeper.sql(f"UPDATE orders SET id = 999999 WHERE id = {moved}")

    between(change)
    done = keeper.carry_out(ARCHIVE)["old-orders"]
    assert reopened in keeper.ids()
    assert done.state is RuleState.COMPLETED
    rows = keeper.archive().rows()
    # The row that got another key is archived under that key too, before it goes.
    assert set(rows) | keeper.ids() == before | {999999}
    assert reopened not in rows


def test_a_change_that_only_an_exact_look_sees_is_seen(keeper: Keeper[Any], between: Between) -> None:
    changes = {
        EngineName.POSTGRESQL: [("amount = 1.0", "amount = 1.00"), ("weight = 0", "weight = '-0'")],
    }.get(keeper.engine, [("small = 0.1", "small = 0.100000009"), ("said = 'x'", "said = 'X'")])
    rows = list(zip(eligible(keeper), changes, strict=False))
    for row, (before, _) in rows:
        keeper.sql(f"UPDATE orders SET {before} WHERE id = {row}")

    def change(time: int) -> None:
        if time == 1:
            for row, (_, after) in rows:
                keeper.sql(f"UPDATE orders SET {after} WHERE id = {row}")

    between(change)
    assert keeper.carry_out(ARCHIVE)["old-orders"].changed == len(rows) == 2


def test_children_with_on_delete_cascade_are_refused_unless_listed(keeper: Keeper[Any]) -> None:
    items(keeper, 3000)
    keeper.sql(
        "CREATE TABLE notes (id INT PRIMARY KEY, item_id INT, FOREIGN KEY (item_id) REFERENCES items (id)"
        " ON DELETE CASCADE)"
    )
    keeper.sql(f"INSERT INTO notes SELECT seq, seq FROM {keeper.numbers(1000)}")
    before = keeper.ids()
    done = keeper.carry_out(rule(), rule("all", cascades=["items"]))
    for one in done.values():
        assert (one.state, one.failure.reason if one.failure else None) == (RuleState.REFUSED, "CascadeNotAllowed")
    assert keeper.ids() == before
    listed = rule(cascades=["items", "notes"])
    seen = keeper.look(listed).facts[0].counts
    outcome = keeper.carry_out(listed)["old-orders"]
    assert outcome.deleted == len(before - keeper.ids()) == seen.eligible
    assert outcome.children == seen.children
    assert sorted(name.rpartition(".")[2] for name in outcome.children) == ["items", "notes"]
    assert keeper.sql("SELECT count(*) FROM items")[0][0] == 3000 - outcome.deleted


def test_an_archive_takes_no_row_whose_children_would_go_unarchived(keeper: Keeper[Any], between: Between) -> None:
    items(keeper, 1500)
    late = eligible(keeper)[-1]

    def add(time: int) -> None:
        if time == 1:
            keeper.sql(f"INSERT INTO items (id, order_id) VALUES (9000, {late})")

    between(add)
    before = keeper.ids()
    done = keeper.carry_out(rule(action=ActionType.ARCHIVE, cascades=["items"]))["old-orders"]
    assert done.state is RuleState.COMPLETED
    gone = before - keeper.ids()
    assert gone
    assert min(gone) > 1500
    assert late not in gone
    assert keeper.sql("SELECT count(*) FROM items") == [(1501,)]


def test_children_that_keep_their_parents_go_first_where_that_is_asked(keeper: Keeper[Any]) -> None:
    items(keeper, 3000, "FOREIGN KEY (order_id) REFERENCES orders (id)")
    keeper.sql("CREATE TABLE notes (id INT PRIMARY KEY, item_id INT, FOREIGN KEY (item_id) REFERENCES items (id))")
    keeper.sql(f"INSERT INTO notes SELECT seq, seq FROM {keeper.numbers(3000)}")
    asked = rule(cascades=["items", "notes"])
    refused = keeper.carry_out(asked)["old-orders"]
    assert refused.failure is not None
    assert refused.failure.reason == "ForeignKeyRefuses"
    done = keeper.carry_out(asked.model_copy(update={"foreign_keys": ForeignKeys.CHILDREN_FIRST}))["old-orders"]
    assert done.failure is None
    assert done.state is RuleState.COMPLETED
    assert set(done.children.values()) == {done.deleted}
    assert len(done.children) == 2
    assert keeper.sql("SELECT count(*) FROM items WHERE order_id NOT IN (SELECT id FROM orders)") == [(0,)]
    assert keeper.sql("SELECT count(*) FROM items") == [(3000 - done.deleted,)]


@pytest.mark.parametrize("on_delete", ["", " ON DELETE CASCADE"])
def test_a_condition_about_the_children_that_go_is_asked_while_they_are_there(
    keeper: Keeper[Any], on_delete: str
) -> None:
    items(keeper, 3000, f"FOREIGN KEY (order_id) REFERENCES orders (id){on_delete}")
    where = f"EXISTS (SELECT 1 FROM {keeper.within}.items AS i WHERE i.order_id = orders.id)"
    asked = rule(where=where, cascades=["items"], foreign_keys=ForeignKeys.CHILDREN_FIRST)
    done = keeper.carry_out(asked)["old-orders"]
    assert (done.failure, done.state, done.remaining) == (None, RuleState.COMPLETED, 0)
    assert done.deleted > 0
    assert keeper.sql("SELECT count(*) FROM items") == [(3000 - done.deleted,)]


def test_a_hold_on_children_holds_their_parents(keeper: Keeper[Any]) -> None:
    items(keeper, 3000)
    hold = HoldOrder(name="case", table="items", where="id = 2", reason="court")
    done = keeper.carry_out(rule(cascades=["items"]), holds=[hold])["old-orders"]
    assert done.failure is not None
    assert done.failure.reason == "BlockedByHold"
    assert keeper.sql("SELECT count(*) FROM items") == [(3000,)]


def test_a_hold_on_what_is_no_table_holds_all(keeper: Keeper[Any]) -> None:
    before = keeper.ids()
    hold = HoldOrder(name="case", table="order", where="customer = 7", reason="court")
    done = keeper.carry_out(rule(), holds=[hold])["old-orders"]
    assert done.state is RuleState.REFUSED
    assert done.failure is not None
    assert "hold case is on order" in done.failure.message
    assert keeper.ids() == before


@pytest.mark.parametrize("action", [ActionType.ARCHIVE, ActionType.DELETE])
def test_a_table_that_is_another_between_two_chunks_stops_the_rule(
    keeper: Keeper[Any], monkeypatch: pytest.MonkeyPatch, action: ActionType
) -> None:
    demand, times = work.RuleWork.demand_same, [0]

    def demanded(self: work.RuleWork) -> None:
        times[0] += 1
        if times[0] == (1 if action is ActionType.ARCHIVE else 3):
            keeper.sql(f"CREATE TABLE items (order_id BIGINT, {CASCADE})")
        demand(self)

    approved, before = keeper.look(rule(action=action)).plan_hash, keeper.ids()
    monkeypatch.setattr(work.RuleWork, "demand_same", demanded)
    monkeypatch.setattr(work, "CHUNK_ROWS", 100)
    ran = keeper.enforce(rule(action=action), approved=approved)
    outcome = result_of(ran).outcomes[0]
    assert outcome.failure is not None
    assert (outcome.failure.reason, ran.summary.retryable) == ("PlanChanged", False)
    assert len(before) - len(keeper.ids()) == (0 if action is ActionType.ARCHIVE else 200)


@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.ARCHIVE])
def test_no_step_is_committed_on_a_table_that_is_another_by_then(
    keeper: Keeper[Any], after_steps: AfterSteps, action: ActionType
) -> None:
    left: list[set[int]] = []

    def changed(count: int) -> None:
        if count == 2:
            keeper.sql(f"CREATE TABLE items (order_id BIGINT, {CASCADE})")
            keeper.sql("INSERT INTO items SELECT id FROM orders")
            left.append(keeper.ids())

    after_steps("release" if action is ActionType.ARCHIVE else "take", changed)
    ran = keeper.enforce(rule(action=action), batch=SMALL)
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("PlanChanged", False)
    assert [keeper.ids()] == left
    assert keeper.sql("SELECT count(*) FROM items") == [(len(left[0]),)]


def test_a_changed_plan_is_not_carried_out(keeper: Keeper[Any]) -> None:
    before, approved = keeper.ids(), keeper.look(rule()).plan_hash
    for change in ("ALTER TABLE orders ADD COLUMN note VARCHAR(9)", f"CREATE TABLE items (order_id BIGINT, {CASCADE})",
                   "CREATE UNIQUE INDEX once ON orders (id, customer)"):  # fmt: skip
        keeper.sql(change)
        ran = keeper.enforce(rule(), approved=approved)
        assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "PlanChanged")
        now = result_of(ran).plan_hash
        assert now != approved
        approved = now
    assert keeper.ids() == before
    other = keeper.enforce(rule(older_than_seconds=86400), approved=approved)
    assert other.summary.reason == "PlanChanged"
    assert keeper.ids() == before


def test_an_archive_that_the_store_does_not_take_leads_to_no_delete(
    keeper: Keeper[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: VolumeUpload, check: Callable[[], None]) -> None:
        raise WorldFault("UploadCorrupt", "it reads back otherwise")

    approved, before = keeper.look(ARCHIVE).plan_hash, keeper.ids()
    monkeypatch.setattr(VolumeUpload, "verify", broken)
    ran = keeper.enforce(ARCHIVE, approved=approved)
    assert (ran.summary.outcome, ran.summary.retryable) == (Outcome.FAILED, True)
    assert keeper.ids() == before
    assert keeper.archive().rows() == {}
    monkeypatch.undo()
    again = keeper.enforce(ARCHIVE, approved=approved, attempt=2)
    assert again.summary.outcome is Outcome.SUCCEEDED
    assert set(keeper.archive().rows()) == before - keeper.ids()
    left = [path for path in keeper.place.paths.volume.rglob("a1/archive/*/*") if path.is_file()]
    assert left == []  # what the first attempt had begun is gone


def test_an_attempt_that_was_thought_dead_cannot_go_on_beside_the_next(keeper: Keeper[Any], between: Between) -> None:
    approved = keeper.look(ARCHIVE).plan_hash
    before = keeper.ids()
    keeper.runs += 1
    store = keeper.archive()
    keeper.runs -= 1

    def overtaken(time: int) -> None:
        if time == 1:
            links = sorted((keeper.place.paths.volume / store.root / "audit").glob("*.json"))
            number = int(links[-1].stem) + 1
            (links[-1].parent / f"{number:06d}.json").write_text('{"of": "another"}')

    between(overtaken)
    ran = keeper.enforce(ARCHIVE, approved=approved)
    assert (ran.summary.reason, ran.summary.retryable) == ("AttemptTaken", True)
    gone = before - keeper.ids()
    # The part that it had vouched for was its own to delete; it began no other.
    assert gone <= {json.loads(line)["id"] for _, text in store.parts() for line in text.splitlines()}


def test_what_lies_in_the_store_is_encrypted_and_names_nothing_of_a_row(keeper: Keeper[Any]) -> None:
    keeper.sql("UPDATE orders SET status = 'closed', doc = '{\"who\": \"mustermann@example.org\"}'")
    ran = keeper.enforce(ARCHIVE)
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert "mustermann" not in ran.output
    stored = b"".join(path.read_bytes() for path in keeper.place.paths.volume.rglob("*") if path.is_file())
    assert b"mustermann" not in stored
    assert b"mustermann" in b"".join(text for _, text in keeper.archive().parts())


@pytest.mark.parametrize(("method", "action"), [("take", ActionType.DELETE), ("release", ActionType.ARCHIVE)])
def test_a_lost_connection_is_made_anew_and_nothing_is_lost(
    keeper: Keeper[Any], after_steps: AfterSteps, method: str, action: ActionType
) -> None:
    before = keeper.ids()

    def cut(count: int) -> None:
        if count in (2, 5):
            keeper.cut()

    after_steps(method, cut)
    ran = keeper.enforce(rule(action=action), batch=SMALL)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    outcome = result_of(ran).outcomes[0]
    gone = before - keeper.ids()
    assert (outcome.remaining, outcome.deleted) == (0, len(gone))
    if action is ActionType.ARCHIVE:
        assert set(keeper.archive().rows()) == gone


def test_an_answer_that_is_lost_after_the_commit_is_not_taken_for_a_row_that_stayed(
    keeper: Keeper[Any], after_steps: AfterSteps
) -> None:
    before = keeper.ids()

    def lose(count: int) -> None:
        if count == 2:
            raise RuleFault("ConnectionLost", "gone", Trouble.LOST)

    after_steps("release", lose)
    ran = keeper.enforce(ARCHIVE, batch=SMALL)
    outcome = result_of(ran).outcomes[0]
    gone = before - keeper.ids()
    assert outcome.deleted == len(gone)
    # What another session of PostgreSQL captured is archived again, but for the two steps that were done.
    assert (0 < outcome.changed < len(gone)) if keeper.engine is EngineName.POSTGRESQL else outcome.changed == 0
    assert set(keeper.archive().rows()) == gone
