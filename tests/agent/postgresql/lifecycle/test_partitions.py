"""Whole partitions go by their real bounds and by their rows, never by their names."""

from __future__ import annotations

import threading

import psycopg
import pytest

from databosun.api.lifecycle import ActionType, HoldOrder
from databosun.api.lifecycleresult import RuleState
from support.lifecycling import DAY, Keeper, rule
from support.waiting import eventually

pytestmark = pytest.mark.servers
ACTIONS = (ActionType.DROP_PARTITION, ActionType.DETACH_PARTITION)

# The first partition is wide, and named as if it were of long ago: what pg_partman makes of a table that had rows.
EVENTS = """
CREATE TABLE events (id bigint, at timestamptz NOT NULL, kind text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_p2019_01 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2025-09-01');
CREATE TABLE events_p2025_09 PARTITION OF events FOR VALUES FROM ('2025-09-01') TO ('2025-10-01');
CREATE TABLE events_p2025_10 PARTITION OF events FOR VALUES FROM ('2025-10-01') TO ('2025-11-01');
CREATE TABLE events_p2025_11 PARTITION OF events FOR VALUES FROM ('2025-11-01') TO ('2026-01-01');
CREATE TABLE events_p2020_01 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
INSERT INTO events SELECT i, timestamptz '2026-02-28 00:00Z' - (i % 300) * interval '1 day', 'k' || i % 5
FROM generate_series(1, 3000) AS i;
"""


@pytest.fixture
def parts(any_keeper: Keeper) -> Keeper:
    """A partitioned table; its partitions belong to the login, which drops them."""
    any_keeper.sql(EVENTS + "GRANT ALL ON SCHEMA public TO keeper; ALTER TABLE events OWNER TO keeper")
    for name in names(any_keeper):
        any_keeper.sql(f"ALTER TABLE {name} OWNER TO keeper")
    return any_keeper


def names(keeper: Keeper) -> list[str]:
    """The partitions that are attached."""
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1"
    return [str(row[0]) for row in keeper.sql(query)]


def events(action: ActionType, days: int = 120, **more: object) -> object:
    """Events older than so many days: 120 reach back to the first of November."""
    values = {"table": "public.events", "column": "at", "older_than_seconds": days * DAY, "where": None, **more}
    return rule("events", action=action, **values)


@pytest.mark.parametrize("action", ACTIONS)
def test_partitions_go_whose_bounds_and_rows_are_all_old(parts: Keeper, action: ActionType) -> None:
    rows = parts.sql("SELECT count(*) FROM events WHERE at < '2025-11-01'")[0][0]
    done = parts.carry_out(events(action))["events"]
    assert done.failure is None
    assert done.partitions == ["public.events_p2019_01", "public.events_p2025_09", "public.events_p2025_10"]
    assert names(parts) == ["events_p2020_01", "events_p2025_11"]
    assert (done.state, done.remaining, done.deleted) == (RuleState.COMPLETED, 0, rows)
    apart = parts.sql("SELECT count(*) FROM pg_class WHERE relname IN ('events_p2019_01', 'events_p2025_09')")
    assert apart == [(0 if action is ActionType.DROP_PARTITION else 2,)]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_wide_first_partition_with_rows_in_the_window_stays(keeper: Keeper, action: ActionType) -> None:
    keeper.sql(
        "CREATE TABLE events (id bigint, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        "CREATE TABLE events_p2019_01 PARTITION OF events FOR VALUES FROM ('2019-01-01') TO ('2026-02-01');"
        "INSERT INTO events SELECT i, timestamptz '2026-01-31 00:00Z' - i * interval '1 day' "
        "FROM generate_series(1, 900) AS i;"
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO keeper"
    )
    seen = keeper.look(events(action)).facts[0]
    assert seen.partitions[0].young > 0
    done = keeper.carry_out(events(action))["events"]
    assert (done.partitions, done.deleted) == ([], 0)
    assert keeper.sql("SELECT count(*) FROM events") == [(900,)]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_partition_with_a_row_under_hold_stays(parts: Keeper, action: ActionType) -> None:
    (held,) = parts.sql("SELECT max(id) FROM events_p2025_09")[0]
    hold = HoldOrder(name="case", where=f"id = {held}", reason="court")
    done = parts.carry_out(events(action), holds=[hold])["events"]
    assert done.partitions == ["public.events_p2019_01", "public.events_p2025_10"]
    assert "events_p2025_09" in names(parts)


def test_a_partition_whose_rows_do_not_all_match_stays(parts: Keeper) -> None:
    parts.sql("UPDATE events SET kind = 'keep' WHERE id = (SELECT max(id) FROM events_p2025_10)")
    done = parts.carry_out(events(ActionType.DROP_PARTITION, where="kind <> 'keep'"))["events"]
    assert "public.events_p2025_10" not in done.partitions
    assert len(done.partitions) == 2


def test_a_row_that_comes_while_the_plan_is_carried_out_saves_its_partition(keeper: Keeper) -> None:
    keeper.sql(EVENTS)
    for name in ("events", *names(keeper)):
        keeper.sql(f"ALTER TABLE {name} OWNER TO keeper")
    held = HoldOrder(name="case", where="kind = 'held'", reason="court")
    writer = keeper.server.connect("shop")
    writer.autocommit = False
    # Written before the plan is made, and seen only after its lock was waited for.
    writer.execute("INSERT INTO events VALUES (90000, '2025-09-15', 'held')")
    done: list[object] = []
    thread = threading.Thread(
        target=lambda: done.append(keeper.carry_out(events(ActionType.DROP_PARTITION), holds=[held])["events"])
    )
    thread.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
    eventually("the agent waits for the writer", lambda: keeper.sql(waiting) != [(0,)])
    writer.commit()
    writer.close()
    thread.join()
    assert "events_p2025_09" in names(keeper)
    assert keeper.sql("SELECT count(*) FROM events WHERE id = 90000") == [(1,)]
    assert done[0].partitions == ["public.events_p2019_01", "public.events_p2025_10"]  # type: ignore[attr-defined]


def test_a_detach_that_was_cut_off_is_finished(keeper: Keeper) -> None:
    keeper.sql(EVENTS)
    for name in ("events", *names(keeper)):
        keeper.sql(f"ALTER TABLE {name} OWNER TO keeper")
    with keeper.server.connect("shop") as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events")
        with keeper.server.connect("shop") as cut:
            cut.execute("SET lock_timeout = '300ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                cut.execute("ALTER TABLE events DETACH PARTITION events_p2019_01 CONCURRENTLY")
        reader.execute("ROLLBACK")
    assert keeper.sql("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(1,)]
    done = keeper.carry_out(events(ActionType.DETACH_PARTITION))["events"]
    assert done.failure is None
    assert "public.events_p2019_01" in done.partitions
    assert keeper.sql("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(0,)]


def test_rules_on_rows_reach_every_partition_and_no_row_beside(parts: Keeper) -> None:
    doomed = {int(row[0]) for row in parts.sql("SELECT id FROM events WHERE at < '2025-11-01' AND kind = 'k1'")}
    before = {int(row[0]) for row in parts.sql("SELECT id FROM events")}
    done = parts.carry_out(events(ActionType.ARCHIVE, where="kind = 'k1'"))["events"]
    assert (done.state, done.deleted) == (RuleState.COMPLETED, len(doomed))
    assert before - {int(row[0]) for row in parts.sql("SELECT id FROM events")} == doomed
    assert set(parts.archive().rows()) == doomed
