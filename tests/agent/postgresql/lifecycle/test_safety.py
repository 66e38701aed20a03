"""What must not go: rows that changed since they were archived, children and triggers that nobody listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from databosun.agent.lifecycle import work
from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.agent.upload import VolumeUpload
from databosun.api.lifecycle import ActionType, ForeignKeys, HoldOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.domain.errors import WorldFault
from support.lifecycling import Keeper, result_of, rule

pytestmark = pytest.mark.servers
ELIGIBLE = "created_at < timestamptz '2025-12-01 12:00Z' AND status = 'closed'"
ARCHIVE = rule(action=ActionType.ARCHIVE)

Between = Callable[[Callable[[int], None]], None]


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


def test_a_row_that_changes_between_archive_and_delete_stays_and_is_archived_again(
    keeper: Keeper, between: Between
) -> None:
    doomed = {int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {ELIGIBLE}")}
    changed = set(sorted(doomed)[:20])
    seen: list[set[int]] = []

    def change(time: int) -> None:
        if time == 1:
            keeper.sql(f"UPDATE orders SET customer = -1 WHERE id = ANY ('{{{','.join(map(str, changed))}}}')")
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


def test_a_row_that_is_no_longer_eligible_stays(keeper: Keeper, between: Between) -> None:
    doomed = [int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {ELIGIBLE} ORDER BY id")]
    reopened, moved = doomed[3], doomed[5]
    before = keeper.ids()
    change = (
        f"UPDATE orders SET status = 'open' WHERE id = {reopened}; UPDATE orders SET id = 999999 WHERE id = {moved}"
    )
    between(lambda _: keeper.sql(change) and None)
    done = keeper.carry_out(ARCHIVE)["old-orders"]
    assert reopened in keeper.ids()
    assert done.state is RuleState.COMPLETED
    rows = keeper.archive().rows()
    # The row that got another key is archived under that key too, before it goes.
    assert set(rows) | keeper.ids() == before | {999999}
    assert reopened not in rows


def test_a_change_that_only_an_exact_look_sees_is_seen(keeper: Keeper, between: Between) -> None:
    (first,) = keeper.sql(f"SELECT min(id) FROM orders WHERE {ELIGIBLE}")[0]
    keeper.sql(f"UPDATE orders SET amount = 1.0, weight = 0 WHERE id = {first}")
    same = f"UPDATE orders SET amount = 1.00, weight = '-0' WHERE id = {first}"
    between(lambda time: time == 1 and keeper.sql(same) and None)
    assert keeper.carry_out(ARCHIVE)["old-orders"].changed == 1


def test_children_with_on_delete_cascade_are_refused_unless_listed(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);"
        "CREATE TABLE notes (id int PRIMARY KEY, item_id int REFERENCES items ON DELETE CASCADE);"
        "INSERT INTO items SELECT i, i FROM generate_series(1, 3000) AS i;"
        "INSERT INTO notes SELECT i, i FROM generate_series(1, 1000) AS i"
    )
    before = keeper.ids()
    done = keeper.carry_out(rule(), rule("all", cascades=["items"]))
    for one in done.values():
        assert (one.state, one.failure.reason if one.failure else None) == (RuleState.REFUSED, "CascadeNotAllowed")
    assert keeper.ids() == before
    listed = rule(cascades=["items", "notes"])
    seen = keeper.look(listed).facts[0].counts
    done = keeper.carry_out(listed)
    outcome = done["old-orders"]
    assert outcome.deleted == len(before - keeper.ids()) == seen.eligible
    assert outcome.children == seen.children
    assert outcome.children["public.items"] == outcome.deleted
    assert keeper.sql("SELECT count(*) FROM items")[0][0] == 3000 - outcome.deleted


def test_an_archive_takes_no_row_whose_children_would_go_unarchived(keeper: Keeper, between: Between) -> None:
    keeper.sql(
        "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);"
        "CREATE INDEX ON items (order_id); INSERT INTO items SELECT i, i FROM generate_series(1, 1500) AS i"
    )
    (late,) = keeper.sql(f"SELECT max(id) FROM orders WHERE {ELIGIBLE}")[0]
    between(lambda time: time == 1 and keeper.sql(f"INSERT INTO items VALUES (9000, {late})") and None)
    before = keeper.ids()
    done = keeper.carry_out(rule(action=ActionType.ARCHIVE, cascades=["items"]))["old-orders"]
    assert done.state is RuleState.COMPLETED
    gone = before - keeper.ids()
    assert gone
    assert min(gone) > 1500
    assert late not in gone
    assert keeper.sql("SELECT count(*) FROM items") == [(1501,)]


def test_children_that_keep_their_parents_go_first_where_that_is_asked(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders);"
        "CREATE TABLE notes (id int PRIMARY KEY, item_id int REFERENCES items);"
        "INSERT INTO items SELECT i, i FROM generate_series(1, 3000) AS i;"
        "INSERT INTO notes SELECT i, i FROM generate_series(1, 3000) AS i"
    )
    asked = rule(cascades=["items", "notes"])
    refused = keeper.carry_out(asked)["old-orders"]
    assert refused.failure is not None
    assert refused.failure.reason == "ForeignKeyRefuses"
    done = keeper.carry_out(asked.model_copy(update={"foreign_keys": ForeignKeys.CHILDREN_FIRST}))["old-orders"]
    assert done.failure is None
    assert (done.state, done.children) == (
        RuleState.COMPLETED,
        {"public.items": done.deleted, "public.notes": done.deleted},
    )
    orphans = keeper.sql("SELECT count(*) FROM items WHERE order_id NOT IN (SELECT id FROM orders)")
    assert orphans == [(0,)]


def test_a_hold_on_children_holds_their_parents(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);"
        "INSERT INTO items SELECT i, i FROM generate_series(1, 3000) AS i"
    )
    hold = HoldOrder(name="case", table="public.items", where="id = 2", reason="court")
    done = keeper.carry_out(rule(cascades=["items"]), holds=[hold])["old-orders"]
    assert done.failure is not None
    assert done.failure.reason == "BlockedByHold"
    assert keeper.sql("SELECT count(*) FROM items") == [(3000,)]


@pytest.mark.parametrize("action", [ActionType.ARCHIVE, ActionType.DELETE])
def test_a_table_that_changes_in_the_middle_of_a_run_stops_the_rule(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, action: ActionType
) -> None:
    write = Ledger.write

    def written(self: Ledger, rule: str, event: Event, keys: Any = (), **more: Any) -> int:
        number = write(self, rule, event, keys, **more)
        if event in (Event.ARCHIVED, Event.DONE):
            keeper.sql("CREATE TABLE IF NOT EXISTS items (order_id bigint REFERENCES orders ON DELETE CASCADE)")
        return number

    approved, before = keeper.look(rule(action=action)).plan_hash, keeper.ids()
    monkeypatch.setattr(Ledger, "write", written)
    monkeypatch.setattr(work, "CHUNK_ROWS", 100)
    ran = keeper.enforce(rule(action=action), approved=approved)
    outcome = result_of(ran).outcomes[0]
    assert outcome.failure is not None
    assert (outcome.failure.reason, ran.summary.retryable) == ("PlanChanged", False)
    assert len(before) - len(keeper.ids()) == (0 if action is ActionType.ARCHIVE else 100)


def test_triggers_at_delete_are_refused_unless_listed(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE log (id bigint);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "'BEGIN INSERT INTO public.log VALUES (OLD.id); RETURN OLD; END';"
        "CREATE TRIGGER noting AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();"
        "CREATE TRIGGER unrelated AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()"
    )
    refused = keeper.carry_out(rule())["old-orders"]
    assert refused.failure is not None
    assert refused.failure.reason == "TriggerNotAllowed"
    assert "noting" in refused.failure.message
    assert keeper.sql("SELECT count(*) FROM log") == [(0,)]
    done = keeper.carry_out(rule(triggers=["noting"]))["old-orders"]
    assert keeper.sql("SELECT count(*) FROM log") == [(done.deleted,)]


def test_rewrite_rules_count_as_triggers(keeper: Keeper) -> None:
    keeper.sql("CREATE RULE keepall AS ON DELETE TO orders DO INSTEAD NOTHING")
    refused = keeper.carry_out(rule())["old-orders"]
    assert refused.failure is not None
    assert "keepall" in refused.failure.message


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("status = 'closed') OR (true", "syntax error"),
        ("status = 'closed' UNION SELECT 1", "syntax error"),
        ("status = 'closed'; DELETE FROM orders", "cannot insert multiple commands|syntax error"),
        ("nosuchcolumn = 1", "nosuchcolumn"),
        ("random() < 0.5", "random"),
        ("status", "boolean"),
        ("status = 'closed' /* and more", "comment"),
    ],
)
def test_a_condition_that_is_no_single_one_touches_nothing(keeper: Keeper, where: str, words: str) -> None:
    before = keeper.ids()
    facts = keeper.look(rule(where=where)).facts[0]
    assert facts.fault is not None
    assert any(word in facts.fault for word in words.split("|")), facts.fault
    refused = keeper.carry_out(rule(where=where))["old-orders"]
    assert refused.state is RuleState.REFUSED
    assert keeper.ids() == before


def test_a_rule_that_fails_does_not_stop_the_others(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''never''; END';"
        "CREATE TABLE other (LIKE orders INCLUDING ALL); INSERT INTO other (id, created_at, status) "
        "SELECT id, created_at, status FROM orders;"
        "CREATE TRIGGER denying BEFORE DELETE ON other FOR EACH ROW EXECUTE FUNCTION deny()"
    )
    ran = keeper.enforce(
        rule("a-denied", table="public.other", triggers=["denying"]),
        rule("b-missing", table="public.nowhere"),
        rule("c-good"),
    )
    done = {one.name: one for one in result_of(ran).outcomes}
    assert (ran.summary.outcome, ran.summary.reason, ran.summary.retryable) == (Outcome.FAILED, "RulesFailed", False)
    assert done["a-denied"].failure is not None
    assert (done["a-denied"].failure.sqlstate, done["a-denied"].failure.retryable) == ("P0001", False)
    assert "deny()" in done["a-denied"].failure.message
    assert done["b-missing"].state is RuleState.REFUSED
    assert (done["c-good"].state, done["c-good"].remaining) == (RuleState.COMPLETED, 0)
    assert keeper.sql("SELECT count(*) FROM other") == [(3000,)]


def test_an_archive_that_the_store_does_not_take_leads_to_no_delete(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
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


def test_an_attempt_that_was_thought_dead_cannot_go_on_beside_the_next(keeper: Keeper, between: Between) -> None:
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
    assert gone <= {row for _, text in store.parts() for row in _ids(text)}


def _ids(text: bytes) -> set[int]:
    return {json.loads(line)["id"] for line in text.splitlines()}
