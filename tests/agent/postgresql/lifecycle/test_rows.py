"""Rules on rows: what goes, what stays, what is archived, on every supported major."""

from __future__ import annotations

import hashlib
import json
import math

import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, LifecycleMode, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.engines.lifecycle import hash_key
from support.agentrun import Ran
from support.lifecycling import DAY, HASH_KEY, NOW, Keeper, load_back, result_of, rule

pytestmark = pytest.mark.servers
ELIGIBLE = "created_at < timestamptz '2025-12-01 12:00Z' AND status = 'closed'"
ARCHIVE = {"action": ActionType.ARCHIVE}


def eligible(keeper: Keeper) -> set[int]:
    """By a query of the test's own."""
    return {int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {ELIGIBLE}")}


def test_a_dry_run_counts_what_an_enforced_one_deletes_and_changes_nothing(any_keeper: Keeper) -> None:
    before, doomed = any_keeper.ids(), eligible(any_keeper)
    seen = any_keeper.look(rule())
    counts = seen.facts[0].counts
    assert seen.outcomes == []
    assert (counts.rows, counts.eligible, any_keeper.ids()) == (len(before), len(doomed), before)
    assert counts.oldest is not None
    assert counts.newest is not None
    assert counts.oldest < counts.newest < NOW
    done = any_keeper.carry_out(rule())["old-orders"]
    assert (done.state, done.deleted, done.remaining) == (RuleState.COMPLETED, len(doomed), 0)
    assert any_keeper.ids() == before - doomed


def test_an_archive_holds_every_row_that_went_to_the_last_bit(any_keeper: Keeper) -> None:
    before, doomed = any_keeper.ids(), eligible(any_keeper)
    any_keeper.sql(f"CREATE TABLE known AS SELECT * FROM orders WHERE {ELIGIBLE}")
    done = any_keeper.carry_out(rule(**ARCHIVE))["old-orders"]
    assert (done.state, done.archived, done.deleted, done.changed) == (
        RuleState.COMPLETED,
        len(doomed),
        len(doomed),
        0,
    )
    archive = any_keeper.archive()
    rows = archive.rows()
    assert set(rows) == doomed
    assert any_keeper.ids() == before - doomed
    row = next(row for row in rows.values() if row["id"] % 11 == 0)
    assert row["weight"] == "NaN"
    assert row["blob"] == "\\x" + hashlib.md5(str(row["id"]).encode()).hexdigest()  # noqa: S324 - what the server filled in
    assert row["doc"] == {"a": row["id"], "b": "x\ny"}
    any_keeper.sql("CREATE TABLE again (LIKE orders INCLUDING ALL)")
    load_back(any_keeper.server, archive, "again")
    differ = any_keeper.sql(
        "SELECT count(*) FROM (SELECT k::text FROM known k EXCEPT SELECT a::text FROM again a) AS d"
    )
    assert differ == [(0,)]
    assert any_keeper.sql("SELECT count(*) FROM again") == [(len(doomed),)]


def test_what_lies_in_the_store_is_encrypted_and_names_nothing_of_a_row(keeper: Keeper) -> None:
    keeper.sql("UPDATE orders SET status = 'closed', doc = '{\"who\": \"mustermann@example.org\"}'")
    ran = keeper.enforce(rule(**ARCHIVE))
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert "mustermann" not in ran.output
    stored = b"".join(path.read_bytes() for path in keeper.place.paths.volume.rglob("*") if path.is_file())
    assert b"mustermann" not in stored
    assert b"mustermann" in b"".join(text for _, text in keeper.archive().parts())


def test_the_table_that_archived_rows_fit_into_lies_beside_them(keeper: Keeper) -> None:
    keeper.carry_out(rule(**ARCHIVE))
    (path,) = keeper.place.paths.volume.rglob("table.sql")
    keeper.server.sql("CREATE DATABASE other")
    try:
        keeper.server.sql(path.read_text(), "other")
        columns = keeper.server.sql(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'", "other"
        )
        assert len(columns) == 8  # all but the computed one
    finally:
        keeper.server.sql("DROP DATABASE other")


def test_rows_under_a_hold_survive_every_action(keeper: Keeper) -> None:
    keeper.sql("ALTER TABLE orders ADD COLUMN masked_at timestamptz, ADD COLUMN deleted_at timestamptz")
    keeper.sql("UPDATE orders SET deleted_at = created_at")
    held = {int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {ELIGIBLE} AND customer IN (7, 8)")}
    assert held
    holds = [
        HoldOrder(name="case-1", where="customer = 7 -- the Smith case", reason="court"),
        HoldOrder(name="case-2", where="customer = 8", reason="court", table="public.orders"),
        HoldOrder(name="over", where="customer = 9", reason="court", until=NOW),
    ]
    mask = rule(
        action=ActionType.ANONYMIZE,
        masks=[MaskOrder(column="customer", method=MaskMethod.NULL)],
        mark_column="masked_at",
        limits={"max_rows_per_run": 100},
    )
    assert keeper.carry_out(mask, holds=holds)["old-orders"].anonymized == 100
    untouched = keeper.sql("SELECT count(*) FROM orders WHERE customer IN (7, 8) AND masked_at IS NULL")
    for one in (
        rule(**ARCHIVE, limits={"max_rows_per_run": 200}),
        rule(action=ActionType.PURGE, column="deleted_at", limits={"max_rows_per_run": 200}),
        rule(),
    ):
        keeper.carry_out(one, holds=holds)
        assert held <= keeper.ids()
    assert eligible(keeper) == held
    assert keeper.sql("SELECT count(*) FROM orders WHERE customer IN (7, 8) AND masked_at IS NULL") <= untouched


def test_an_expired_hold_holds_nothing_and_a_whole_one_refuses_the_rule(keeper: Keeper) -> None:
    whole = HoldOrder(name="all", reason="court")
    done = keeper.carry_out(rule(), holds=[whole])["old-orders"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "BlockedByHold")
    over = HoldOrder(name="all", reason="court", until=NOW)
    assert keeper.carry_out(rule(), holds=[over])["old-orders"].state is RuleState.COMPLETED


def test_soft_deleted_rows_go_after_their_grace(keeper: Keeper) -> None:
    keeper.sql("ALTER TABLE orders ADD COLUMN deleted_at timestamptz")
    keeper.sql(
        "UPDATE orders SET deleted_at = timestamptz '2026-03-01 12:00Z' - (id % 60) * interval '1 day' WHERE id % 2 = 0"
    )
    doomed = {int(one[0]) for one in keeper.sql("SELECT id FROM orders WHERE id % 2 = 0 AND id % 60 > 30")}
    purge = rule(action=ActionType.PURGE, column="deleted_at", older_than_seconds=30 * DAY, where=None)
    before = keeper.ids()
    keeper.carry_out(purge)
    assert before - keeper.ids() == doomed


def test_the_newest_rows_and_the_statutory_floor_stand(keeper: Keeper) -> None:
    keep = rule(where=None, older_than_seconds=DAY, limits={"keep_newest": 2000})
    seen = keeper.look(keep).facts[0].counts
    done = keeper.carry_out(keep)["old-orders"]
    assert done.deleted == seen.eligible
    left = keeper.sql("SELECT count(*) FROM orders")[0][0]
    assert 2000 <= left < 2000 + 15  # rows of one instant stay together
    floor = rule(where=None, older_than_seconds=DAY, limits={"min_retention_seconds": 100 * DAY})
    keeper.carry_out(floor)
    oldest = keeper.sql("SELECT max(timestamptz '2026-03-01 12:00Z' - created_at) > interval '99 days' FROM orders")
    assert oldest == [(True,)]


def test_a_rule_stops_at_its_limit_and_goes_on_in_the_next_run(keeper: Keeper) -> None:
    doomed = len(eligible(keeper))
    first = keeper.carry_out(rule(**ARCHIVE, limits={"max_rows_per_run": 300}))["old-orders"]
    assert (first.state, first.deleted, first.remaining) == (RuleState.LIMITED, 300, doomed - 300)
    second = keeper.carry_out(rule())["old-orders"]
    assert (second.state, second.deleted) == (RuleState.COMPLETED, doomed - 300)


def test_a_rule_that_would_take_too_large_a_part_does_nothing(keeper: Keeper) -> None:
    before = keeper.ids()
    done = keeper.carry_out(rule(limits={"max_percent": 10}))["old-orders"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "PlanGrew")
    assert keeper.ids() == before


def test_rows_of_no_age_stay(keeper: Keeper) -> None:
    keeper.sql("UPDATE orders SET created_at = NULL WHERE id <= 100")
    keeper.carry_out(rule(where=None))
    assert set(range(1, 101)) <= keeper.ids()


def test_the_audit_lists_keyed_hashes_of_the_keys_that_went_as_one_chain(keeper: Keeper) -> None:
    doomed = eligible(keeper)
    ran = keeper.enforce(rule())
    done = result_of(ran)
    archive = keeper.archive()
    links = archive.links()
    digests = [
        hashlib.sha256(archive.store.get(f"{archive.root}/audit/{one['number']:06d}.json", limit=1 << 20)).hexdigest()
        for one in links
    ]
    assert [one["previous"] for one in links] == [None, *digests[:-1]]
    assert done.audit_sha256 == digests[-1]
    listed: set[str] = set()
    for one in links:
        if "keys" in one:
            packed = archive.store.get(f"{archive.root}/audit/{one['number']:06d}.keys.zst", limit=1 << 24)
            assert hashlib.sha256(packed).hexdigest() == one["keys"]["sha256"]
            listed |= set(archive.unpack(packed).decode().split())
    assert listed == {hash_key(HASH_KEY.encode(), [str(one)]) for one in doomed}


def test_a_run_that_was_done_is_not_done_again(keeper: Keeper) -> None:
    ran = keeper.enforce(rule())
    first = result_of(ran)
    before = keeper.ids()
    keeper.sql("INSERT INTO orders SELECT 100000 + i, '2020-01-01', 'closed' FROM generate_series(1, 5) AS i")
    again = keeper.enforce(rule(), approved=first.plan_hash, attempt=2)
    assert again.result.reason == "AlreadyDone"
    assert result_of(again).outcomes == first.outcomes
    assert keeper.ids() - before == {100000 + one for one in range(1, 6)}


def test_a_changed_plan_is_not_carried_out(keeper: Keeper) -> None:
    before, approved = keeper.ids(), keeper.look(rule()).plan_hash
    for change in (
        "ALTER TABLE orders ADD COLUMN note text",
        "CREATE TABLE items (order_id bigint REFERENCES orders ON DELETE CASCADE)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';"
        "CREATE TRIGGER t BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ):
        keeper.sql(change)
        ran: Ran = keeper.enforce(rule(), approved=approved)
        assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "PlanChanged")
        now = result_of(ran).plan_hash
        assert now != approved
        approved = now
    assert keeper.ids() == before
    other = keeper.enforce(rule(older_than_seconds=DAY), approved=approved)
    assert other.summary.reason == "PlanChanged"
    assert keeper.ids() == before


def test_counts_may_move_under_one_approval(keeper: Keeper) -> None:
    approved = keeper.look(rule()).plan_hash
    keeper.sql("INSERT INTO orders SELECT 100000 + i, '2020-01-01', 'closed' FROM generate_series(1, 500) AS i")
    ran = keeper.enforce(rule(), approved=approved)
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert not eligible(keeper)


def test_keys_of_several_columns_and_odd_names_are_walked_whole(keeper: Keeper) -> None:
    keeper.sql(
        'CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."Ta""ble" ("a%b" text, day date, "Kind" varchar(9), n numeric, '
        'PRIMARY KEY ("a%b", "Kind", day));'
        'INSERT INTO "Odd"."Ta""ble" SELECT chr(65 + i % 26) || \'{"\' || i % 7 || E\'\\\\%\', '
        "date '2025-01-01' + i / 4, "
        "'k' || i % 9, i FROM generate_series(1, 1200) AS i;"
        'GRANT USAGE ON SCHEMA "Odd" TO keeper; GRANT SELECT, UPDATE, DELETE ON "Odd"."Ta""ble" TO keeper'
    )
    odd = rule(
        table='Odd.Ta"ble',
        action=ActionType.ARCHIVE,
        column="day",
        where='"a%b" LIKE \'%"%\' AND n % 2 = 0',
        limits={"max_rows_per_run": 10_000_000},
    )
    done = keeper.carry_out(odd, batch={"rows": 7, "target_milliseconds": 1, "pause_milliseconds": 0})["old-orders"]
    assert done.failure is None
    assert (done.state, done.remaining) == (RuleState.COMPLETED, 0)
    left = keeper.sql('SELECT count(*) FROM "Odd"."Ta""ble"')[0][0]
    archived = [json.loads(line) for _, text in keeper.archive().parts() for line in text.splitlines()]
    assert len(archived) == done.deleted == 1200 - left
    assert not math.isclose(done.deleted, 0)
    assert len({(one["a%b"], one["Kind"], one["day"]) for one in archived}) == len(archived)


def test_a_dry_run_leaves_no_trace_in_the_store(keeper: Keeper) -> None:
    before = sorted(keeper.place.paths.volume.rglob("*"))
    keeper.look(rule(**ARCHIVE), mode=LifecycleMode.DRY_RUN)
    assert sorted(keeper.place.paths.volume.rglob("*")) == before
