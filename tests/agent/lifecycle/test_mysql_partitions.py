"""Whole partitions of MariaDB and MySQL go by their real bounds and by their rows, never by their names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pymysql
import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.mysql.lifecycle import partitions
from databosun.engines.mysql.lifecycle.partitions import MySQLPartitions
from support.mysqllifecycling import MariaKeeper
from support.rulekeeping import DATABASE, DAY, result_of, rule

pytestmark = pytest.mark.servers
ACTIONS = (ActionType.DROP_PARTITION, ActionType.DETACH_PARTITION)
BOUNDS = {"p2019_01": "2025-09-01", "p2025_09": "2025-10-01", "p2025_10": "2025-11-01", "p2025_11": "2026-01-01"}
# How people partition by time. The first partition is wide, and named as if it were of long ago.
FORMS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "columns": ("DATETIME", "RANGE COLUMNS (at)", lambda day: f"('{day}')"),
    "to_days": ("DATETIME", "RANGE (TO_DAYS(at))", lambda day: f"(TO_DAYS('{day}'))"),
    "to_seconds": ("DATETIME(3)", "RANGE (TO_SECONDS(at))", lambda day: f"(TO_SECONDS('{day}'))"),
    "unix": ("TIMESTAMP", "RANGE (UNIX_TIMESTAMP(at))", lambda day: f"(UNIX_TIMESTAMP('{day} 00:00:00'))"),
}
GONE = ["p2019_01", "p2025_09", "p2025_10"]
GRANTED = "GRANT LOCK TABLES, CREATE, ALTER, INSERT, DROP ON shop.* TO keeper@'%'"


def make(
    keeper: MariaKeeper, form: str = "columns", last: str = "PARTITION p2020_01 VALUES LESS THAN (MAXVALUE)"
) -> None:
    """Events of 300 days, and the rights to take partitions of theirs."""
    kind, by, end = FORMS[form]
    parts = [f"PARTITION {name} VALUES LESS THAN {end(day)}" for name, day in BOUNDS.items()]
    last = last if by.startswith("RANGE COLUMNS") else last.replace("(MAXVALUE)", "MAXVALUE")
    keeper.sql(
        f"CREATE TABLE events (id BIGINT, at {kind} NOT NULL DEFAULT '2026-01-01 00:00:00', kind VARCHAR(9),"
        f" PRIMARY KEY (id, at)) PARTITION BY {by} ({', '.join([*parts, last])})"
    )
    keeper.sql(
        "INSERT INTO events SELECT seq, TIMESTAMP '2026-02-28 00:00:00' - INTERVAL (seq % 300) DAY,"
        f" CONCAT('k', seq % 5) FROM {keeper.numbers(3000)}"
    )
    keeper.sql(GRANTED)


def names(keeper: MariaKeeper, table: str = "events") -> list[str]:
    """The partitions that are there."""
    query = (
        "SELECT PARTITION_NAME FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL"
        f" AND TABLE_SCHEMA = '{DATABASE}' AND TABLE_NAME = '{table}' ORDER BY 1"
    )
    return [str(row[0]) for row in keeper.sql(query)]


def tables(keeper: MariaKeeper) -> list[str]:
    """Those that were put aside."""
    found = keeper.sql(f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{DATABASE}' ORDER BY 1")
    return [str(row[0]) for row in found if str(row[0]).startswith("events_")]


def events(action: ActionType, days: int = 120, **more: Any) -> RuleOrder:
    """Events older than so many days: 120 reach back to the first of November."""
    values = {"table": "events", "column": "at", "older_than_seconds": days * DAY, "where": None, **more}
    return rule("events", action=action, **values)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("action", ACTIONS)
def test_partitions_go_whose_bounds_and_rows_are_all_old(either: MariaKeeper, action: ActionType, form: str) -> None:
    make(either, form)
    rows = either.sql("SELECT COUNT(*) FROM events WHERE at < '2025-11-01'")[0][0]
    kept = either.sql("SELECT id, at, kind FROM events WHERE at < '2025-10-01' AND at >= '2025-09-01' ORDER BY id")
    seen = either.look(events(action)).facts[0]
    assert seen.counts.eligible == rows
    done = either.carry_out(events(action))["events"]
    assert done.failure is None
    assert done.partitions == GONE
    assert names(either) == ["p2020_01", "p2025_11"]
    assert (done.state, done.remaining, done.deleted) == (RuleState.COMPLETED, 0, rows)
    assert either.sql("SELECT COUNT(*) FROM events") == [(3000 - rows,)]
    if action is ActionType.DROP_PARTITION:
        assert tables(either) == []
    else:
        assert tables(either) == [f"events_{name}" for name in GONE]
        assert either.sql("SELECT id, at, kind FROM events_p2025_09 ORDER BY id") == kept
        assert names(either, "events_p2025_09") == []


@pytest.mark.parametrize(
    ("change", "where", "holds", "stays"),
    [
        ("UPDATE events SET kind = 'held' WHERE at = '2025-09-15'", None, "kind = 'held'", "p2025_09"),
        ("UPDATE events SET kind = 'keep' WHERE at = '2025-10-15'", "kind <> 'keep'", None, "p2025_10"),
        ("UPDATE events SET kind = NULL WHERE at = '2025-10-15'", "kind <> 'keep'", None, "p2025_10"),
    ],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_partition_with_a_row_that_must_stay_stays(
    either: MariaKeeper, action: ActionType, change: str, where: str | None, holds: str | None, stays: str
) -> None:
    make(either)
    either.sql(change)
    held = [HoldOrder(name="case", where=holds, reason="court")] if holds else []
    done = either.carry_out(events(action, where=where), holds=held)["events"]
    assert done.failure is None
    assert done.partitions == [name for name in GONE if name != stays]
    assert stays in names(either)


def by_years(keeper: MariaKeeper, *years: int, by: str = "YEAR(at)") -> None:
    """Events of the first of July of four years, in partitions that end with these years, and one for what is later."""
    ends = [(year, year + 1 if by.startswith("YEAR") else f"TO_DAYS('{year + 1}-01-01')") for year in years]
    parts = [f"PARTITION p{year} VALUES LESS THAN ({end})" for year, end in ends]
    keeper.sql(
        f"CREATE TABLE events (id BIGINT, at DATETIME) PARTITION BY RANGE ({by}) ({', '.join(parts)},"
        " PARTITION later VALUES LESS THAN MAXVALUE)"
    )
    keeper.sql(
        "INSERT INTO events VALUES (1, '2021-07-01'), (2, '2022-07-01'), (3, '2023-12-31 23:59:59'), (4, '2024-07-01')"
    )
    keeper.sql(GRANTED)


@pytest.mark.parametrize("action", ACTIONS)
def test_partitions_by_years_go_once_their_whole_year_is_old(either: MariaKeeper, action: ActionType) -> None:
    """The first holds all that is before its end; NOW is the first of March of 2026."""
    by_years(either, 2022, 2023, 2024)
    bounds = {one.name: one.upper and one.upper.isoformat() for one in either.look(events(action)).facts[0].partitions}
    ends = {f"p{year}": f"{year + 1}-01-01T00:00:00+00:00" for year in (2022, 2023, 2024)}
    assert bounds == {**ends, "later": None}
    done = either.carry_out(events(action, days=700))["events"]  # since the end of March of 2024
    assert (done.failure, done.partitions, done.deleted) == (None, ["p2022", "p2023"], 3)
    assert names(either) == ["later", "p2024"]
    assert either.sql("SELECT id FROM events ORDER BY 1") == [(4,)]
    apart = [] if action is ActionType.DROP_PARTITION else ["events_p2022", "events_p2023"]
    assert tables(either) == apart


@pytest.mark.parametrize("by", ["YEAR(at)", "TO_DAYS(at)"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_wide_first_partition_stays_while_it_reaches_to_what_is_young(
    either: MariaKeeper, action: ActionType, by: str
) -> None:
    """Though all rows in it are old, and whatever has no age lies in it."""
    by_years(either, 2026, by=by)
    done = either.carry_out(events(action))["events"]
    assert (done.failure, done.partitions, names(either)) == (None, [], ["later", "p2026"])
    either.sql("DROP TABLE events")
    by_years(either, 2024, by=by)
    either.sql("INSERT INTO events VALUES (5, NULL)")  # the server puts it into the first
    done = either.carry_out(events(action))["events"]
    assert (done.failure, done.partitions, names(either)) == (None, [], ["later", "p2024"])
    either.sql("DELETE FROM events WHERE at IS NULL")
    done = either.carry_out(events(action))["events"]
    assert (done.failure, done.partitions, done.deleted) == (None, ["p2024"], 4)
    assert either.sql("SELECT COUNT(*) FROM events") == [(0,)]


@pytest.mark.parametrize("action", ACTIONS)
def test_partitions_without_an_end_and_those_with_a_row_of_no_age_stay(either: MariaKeeper, action: ActionType) -> None:
    either.sql(
        "CREATE TABLE events (id BIGINT, at DATETIME, kind VARCHAR(9)) PARTITION BY RANGE COLUMNS (at)"
        " (PARTITION p2019_01 VALUES LESS THAN ('2019-02-01'), PARTITION p2020_01 VALUES LESS THAN (MAXVALUE))"
    )
    # Nothing of the one is young, and of no age is what lies in the other.
    either.sql("INSERT INTO events VALUES (1, '2020-01-01', 'x'), (2, '2019-01-01', 'x'), (3, NULL, 'x')")
    either.sql(GRANTED)
    seen = either.look(events(action)).facts[0].partitions
    assert [(one.name, one.rows, one.young) for one in seen] == [("p2019_01", 2, 1), ("p2020_01", 1, 0)]
    done = either.carry_out(events(action))["events"]
    assert (done.failure, done.partitions, names(either)) == (None, [], ["p2019_01", "p2020_01"])


def test_the_last_partition_is_not_taken_and_named(either: MariaKeeper) -> None:
    make(either)
    either.sql("ALTER TABLE events DROP PARTITION p2025_09, p2025_10, p2025_11, p2020_01")
    done = either.carry_out(events(ActionType.DROP_PARTITION))["events"]
    assert done.failure is not None
    assert "p2019_01 is the last partition of shop.events" in done.failure.message
    assert names(either) == ["p2019_01"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("more", [{"where": None}, {"where": "kind LIKE 'k%'"}])
def test_a_row_that_comes_between_the_look_and_the_lock_saves_its_partition(
    either: MariaKeeper, monkeypatch: pytest.MonkeyPatch, action: ActionType, more: dict[str, Any]
) -> None:
    make(either)
    hold = HoldOrder(name="case", where="kind = 'held'", reason="court")
    locked, times = MySQLPartitions._locked, list[str]()

    def late(self: MySQLPartitions, partition: str, *names: str) -> Any:
        times.append(partition)
        if partition == "p2025_09":
            either.sql("INSERT INTO events VALUES (90000, '2025-09-15', 'held')")
        return locked(self, partition, *names)

    monkeypatch.setattr(MySQLPartitions, "_locked", late)
    done = either.carry_out(events(action, **more), holds=[hold])["events"]
    assert times == GONE
    assert done.partitions == ["p2019_01", "p2025_10"]
    assert either.sql("SELECT COUNT(*) FROM events WHERE id = 90000") == [(1,)]
    assert "events_p2025_09" not in tables(either)


def test_nobody_writes_from_the_last_look_to_the_drop(either: MariaKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    make(either)
    look, refused = partitions.look_at, list[int]()
    either.sql("SET GLOBAL lock_wait_timeout = 1")

    def looked(connection: Any, step: Any, condition: Any, partition: Any) -> Any:
        fact = look(connection, step, condition, partition)
        if locked_now(either):
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
                either.sql("INSERT INTO events VALUES (90000, '2025-09-15', 'late')")
            refused.append(1)
        return fact

    monkeypatch.setattr(partitions, "look_at", looked)
    monkeypatch.setattr(MySQLPartitions, "_locked", noting(MySQLPartitions._locked))
    try:
        done = either.carry_out(events(ActionType.DROP_PARTITION))["events"]
    finally:
        either.sql("SET GLOBAL lock_wait_timeout = 86400")
    assert (done.failure, done.partitions, len(refused)) == (None, GONE, 3)


LOCKED: list[str] = []


def locked_now(_: MariaKeeper) -> bool:
    """Whether the agent holds its lock."""
    return bool(LOCKED)


def noting(locked: Any) -> Any:
    """Notes while the lock is held."""
    from contextlib import contextmanager

    @contextmanager
    def noted(self: MySQLPartitions, partition: str, *names: str) -> Any:
        with locked(self, partition, *names):
            LOCKED.append(partition)
            try:
                yield
            finally:
                LOCKED.clear()

    return noted


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("PARTITION BY HASH (id) PARTITIONS 2", "partitioned by Hash of"),
        ("PARTITION BY LIST (id) (PARTITION p VALUES IN (1, 2))", "partitioned by List of"),
        ("PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (1))", "partitioned by Range of"),
        ("PARTITION BY RANGE (MONTH(at)) (PARTITION p VALUES LESS THAN (5))", "partitioned by Range of month"),
        ("PARTITION BY RANGE COLUMNS (at, id) (PARTITION p VALUES LESS THAN ('2020-01-01', 5))", "`at`,`id`"),
        ("PARTITION BY RANGE COLUMNS (other) (PARTITION p VALUES LESS THAN ('2020-01-01'))", "by Range of other"),
        ("PARTITION BY RANGE (YEAR(at)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2"
         " (PARTITION p VALUES LESS THAN (2020))", "and these by Hash"),
        ("", "partitioned not at all"),
    ],
)  # fmt: skip
def test_tables_that_are_partitioned_otherwise_are_refused(either: MariaKeeper, table: str, said: str) -> None:
    either.sql(
        "CREATE TABLE events (id BIGINT, at DATETIME NOT NULL, other DATETIME NOT NULL, PRIMARY KEY (id, at, other))"
        f" {table}"
    )
    either.sql(GRANTED)
    done = either.carry_out(events(ActionType.DROP_PARTITION))["events"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "NotPartitioned")
    assert done.failure is not None
    assert said in done.failure.message


def test_what_keeps_history_keeps_its_partitions(maria: MariaKeeper) -> None:
    maria.sql(
        "CREATE TABLE events (id BIGINT, at DATETIME NOT NULL, PRIMARY KEY (id, at)) WITH SYSTEM VERSIONING"
        " PARTITION BY SYSTEM_TIME (PARTITION p HISTORY, PARTITION n CURRENT)"
    )
    maria.sql(GRANTED)
    done = maria.carry_out(events(ActionType.DROP_PARTITION))["events"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "NotATable")


def test_a_condition_that_asks_other_tables_is_refused(either: MariaKeeper) -> None:
    make(either)
    asked = events(ActionType.DROP_PARTITION, where="id IN (SELECT id FROM orders)")
    done = either.carry_out(asked)["events"]
    assert done.failure is not None
    assert "expected conditions, of rule and holds, that are of the row alone" in done.failure.message
    assert len(names(either)) == 5


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (ActionType.DROP_PARTITION, ["LOCK TABLES ON `shop`.*", "ALTER, DROP ON `shop`.`events`"]),
        (ActionType.DETACH_PARTITION, ["LOCK TABLES, CREATE, INSERT, ALTER, DROP ON `shop`.*"]),
    ],
)
def test_rights_that_are_missing_are_named_with_what_grants_them(
    either: MariaKeeper, action: ActionType, said: list[str]
) -> None:
    make(either)
    either.sql("REVOKE LOCK TABLES, CREATE, ALTER, INSERT, DROP ON shop.* FROM keeper@'%'")
    seen = either.look(events(action)).facts[0].grants
    for one in said:
        assert any(one in command for command in seen), seen
    for command in seen:
        either.sql(command.rstrip(";"))
    assert either.carry_out(events(action))["events"].partitions == GONE


def test_a_detach_that_was_cut_off_loses_nothing_and_goes_on(
    either: MariaKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(either)
    rows = either.sql("SELECT COUNT(*) FROM events PARTITION (p2019_01)")[0][0]
    run, cut = MySQLPartitions._run, list[str]()

    def once(self: MySQLPartitions, statement: str) -> None:
        for begin in ("ALTER TABLE `shop`.`events` EXCHANGE", "ALTER TABLE `shop`.`events` DROP"):
            if statement.startswith(begin) and begin not in cut:
                cut.append(begin)
                with suppress(pymysql.MySQLError):
                    self._connected().close()
                raise RuleFault("ConnectionLost", "gone", Trouble.LOST)
        run(self, statement)

    monkeypatch.setattr(MySQLPartitions, "_run", once)
    ran = either.enforce(events(ActionType.DETACH_PARTITION))
    done = result_of(ran).outcomes[0]
    assert len(cut) == 2
    assert (done.failure, done.state, done.partitions) == (None, RuleState.COMPLETED, GONE)
    assert tables(either) == [f"events_{name}" for name in GONE]
    assert either.sql("SELECT COUNT(*) FROM events_p2019_01") == [(rows,)]


def test_a_table_of_that_name_is_left_alone(either: MariaKeeper) -> None:
    make(either)
    either.sql("CREATE TABLE events_p2019_01 (id INT)")
    done = either.carry_out(events(ActionType.DETACH_PARTITION))["events"]
    assert done.failure is not None
    assert "shop.events_p2019_01 is there already" in done.failure.message
    assert either.sql("SELECT COUNT(*) FROM events_p2019_01") == [(0,)]
    assert len(names(either)) == 5
