"""Rules on rows: what goes, what stays, what is archived, on every supported major."""

from __future__ import annotations

import hashlib
import json
import math

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from support.agentrun import Ran
from support.lifecycling import DAY, NOW, Keeper, load_back, result_of, rule

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
