"""What is MariaDB's and MySQL's own: conditions that would do more than ask, tables that rules cannot take rows from,
grants without which something would stay hidden, and what changes in the midst of a run."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pymysql
import pytest

from databosun.api.lifecycle import ActionType, ForeignKeys, HoldOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.domain.errors import UserFault
from databosun.domain.lifecycleview import plan_status
from databosun.engines.mysql.lifecycle import statements
from databosun.engines.mysql.lifecycle.rows import MySQLRows
from databosun.engines.mysql.lifecycle.words import read_condition
from support.mysqllifecycling import MariaKeeper, after_steps
from support.rulekeeping import result_of, rule
from support.waiting import eventually

pytestmark = pytest.mark.servers
SMALL = {"rows": 50, "target_milliseconds": 1000, "pause_milliseconds": 0}
NOTING = "CREATE TRIGGER noting AFTER DELETE ON orders FOR EACH ROW INSERT INTO log VALUES (OLD.id)"
CLOSED = "CREATE FUNCTION closed_one(v TEXT) RETURNS BOOLEAN DETERMINISTIC RETURN v = 'closed'"
ALL = "GRANT SELECT, SHOW VIEW, EXECUTE ON *.* TO keeper@'%'"


def refused(keeper: MariaKeeper, asked: RuleOrder, **more: Any) -> tuple[str, str]:
    """Reason and message of a rule that touches nothing."""
    before = keeper.ids()
    done = keeper.carry_out(asked, **more)["old-orders"]
    assert (done.state, keeper.ids()) == (RuleState.REFUSED, before)
    assert done.failure is not None
    return done.failure.reason, done.failure.message


def test_an_agent_that_hangs_in_a_step_holds_its_locks_no_longer_than_it_may(
    either: MariaKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand, hung = MySQLRows._demand_same, list[int]()
    monkeypatch.setattr(statements, "IDLE_SECONDS", 1)

    def hang(rows: MySQLRows) -> None:
        if not hung:
            hung.append(gone := min(set(before) - set(uncommitted(either))))
            with either.writing() as write:
                eventually("an application gets the row", lambda: waited(write, gone), 60)
        demand(rows)

    def waited(write: Callable[[int, int], bool], order: int) -> bool:
        with suppress(pymysql.err.OperationalError):  # it is locked still
            return write(order, 7)
        return False

    before = either.ids()
    either.sql("SET GLOBAL innodb_lock_wait_timeout = 1")
    monkeypatch.setattr(MySQLRows, "_demand_same", hang)
    try:
        done = either.carry_out(rule(), batch=SMALL)["old-orders"]
    finally:
        either.sql("SET GLOBAL innodb_lock_wait_timeout = 50")
    assert len(hung) == 1
    assert done.state is RuleState.COMPLETED, done
    assert hung[0] not in either.ids()


def uncommitted(keeper: MariaKeeper) -> list[int]:
    """What is there for one who sees what was not committed."""
    found = keeper.sql("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; SELECT id FROM orders")
    return [int(row[0]) for row in found]


@pytest.mark.parametrize("place", ["rule", "hold"])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("status = 'closed') OR (true", "closes a bracket"),
        ("true; DELETE FROM orders", "a semicolon"),
        ("true /*!, SLEEP(9) */", "a comment"),
        ("(@seen := id) > 3", "a variable"),
        ("SLEEP(9) = 0", "calls sleep"),
        ("`GET_LOCK` ('x', 9)", "calls get_lock"),
        ("RAND() < 0.5", "calls rand"),
        ("BENCHMARK(1000000000, MD5(1))", "calls benchmark"),
        ("LAST_INSERT_ID(id) > 0", "calls last_insert_id"),
        ("LOAD_FILE('/etc/passwd') IS NULL", "calls load_file"),
        ("any_plugin(id)", "calls any_plugin"),
        ("status = 'closed' UNION SELECT 1", "syntax"),
        ("status = 'closed' LIMIT 1", "syntax"),
        ("id, 1", "syntax"),
        ("nosuchcolumn = 1", "nosuchcolumn"),
        ("status = 0", "put texts in quotes"),
        ("", "is empty"),
    ],
)
def test_a_condition_that_would_do_more_than_ask_touches_nothing(
    maria: MariaKeeper, where: str, words: str, place: str
) -> None:
    holds = [HoldOrder(name="case", table="orders", where=where, reason="court")] if place == "hold" else []
    asked = rule(where=where) if place == "rule" else rule()
    fault = maria.look(asked, holds=holds).facts[0].fault
    assert fault is not None
    assert words in fault
    assert refused(maria, asked, holds=holds)[0] == "RuleNotReadable"


def test_what_passes_for_one_expression_is_one_to_the_server(either: MariaKeeper) -> None:
    """Whatever is put together: where the server takes it, it takes it as one value, and goes on behind it."""
    chance = random.Random(4)
    pieces = [*"'\"`\\(),;#\n\0 1+-@?$", "--", "-- ", "--\u00a0", "/*", "*/", "/*!", "/*M!", "/*+"]
    pieces += ["'a'", "''", '"b"', "@x", ":=", "0x1", "1e", "1e1", "\u00a0", "_utf8mb4", "\\'", "N'c'"]
    pieces += ["OR", "UNION SELECT 1", "FROM", "LIMIT 1", "SLEEP", "INTO @x", "SELECT 2", "FOR UPDATE"]
    passed = taken = 0
    connection = either.server.connect("shop")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
            for _ in range(20_000):
                text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 7)))
                with suppress(UserFault):
                    read_condition(text)
                    passed += 1
                    with suppress(pymysql.MySQLError):
                        cursor.execute(f"SELECT (\n{text}\n), 4711")
                        taken += 1
                        (row,) = cursor.fetchall()
                        assert row[1:] == (4711,), text
    finally:
        connection.close()
    assert passed > taken > 100


@pytest.mark.parametrize(
    ("made", "where", "words"),
    [
        ("CREATE FUNCTION dice(n BIGINT) RETURNS INT RETURN 1", "shop.dice(id) = 1", "is not declared DETERMINISTIC"),
        (
            "CREATE FUNCTION dice(n BIGINT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA RETURN 1",
            "`dice` (id) = 1",
            "or modifies data",
        ),
        # What it says of itself is not true: the transaction of a look cannot write.
        (
            "CREATE FUNCTION dice(n BIGINT) RETURNS INT DETERMINISTIC BEGIN DELETE FROM orders WHERE id = n;"
            " RETURN 1; END",
            "dice(id) = 1",
            "READ ONLY",
        ),
    ],
)
def test_a_function_that_may_do_more_than_answer_is_not_called(
    either: MariaKeeper, made: str, where: str, words: str
) -> None:
    either.server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    either.run_whole(made)
    either.sql(ALL)
    fault = either.look(rule(where=where)).facts[0].fault
    assert fault is not None
    assert words in fault
    assert refused(either, rule(where=where))[0] == "RuleNotReadable"


def test_what_the_server_says_of_a_row_is_not_repeated(either: MariaKeeper) -> None:
    either.run_whole(
        "CREATE TRIGGER denying BEFORE DELETE ON orders FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT ="
        " 'mustermann is not to go'"
    )
    either.sql(ALL)
    ran = either.enforce(rule(triggers=["denying"]))
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.sqlstate, failure.retryable) == ("45000", False)
    assert "of a trigger or a function" in failure.message
    assert "mustermann" not in ran.output + result_of(ran).model_dump_json()


def test_triggers_at_delete_are_refused_unless_listed(either: MariaKeeper) -> None:
    either.sql(f"CREATE TABLE log (id BIGINT); {NOTING}")
    either.sql("CREATE TRIGGER unrelated AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES (1)")
    either.sql(ALL)
    reason, message = refused(either, rule())
    assert reason == "TriggerNotAllowed"
    assert "noting" in message
    done = either.carry_out(rule(triggers=["noting"]))["old-orders"]
    assert done.failure is None
    assert either.sql("SELECT COUNT(*) FROM log") == [(done.deleted,)]


@pytest.mark.parametrize(
    ("made", "asked", "reason", "words"),
    [
        (
            "CREATE TABLE t (id INT PRIMARY KEY, created_at DATETIME) ENGINE = MyISAM",
            {},
            "NotATable",
            "table of MyISAM",
        ),
        ("CREATE TABLE t (id INT, created_at DATETIME)", {}, "NoPrimaryKey", "no primary key"),
        ("CREATE TABLE t (id INT UNIQUE, created_at DATETIME)", {}, "NoPrimaryKey", "no primary key"),
        ("CREATE TABLE t (id DOUBLE PRIMARY KEY, created_at DATETIME)", {}, "NoPrimaryKey", "no primary key"),
        ("CREATE VIEW t AS SELECT id, created_at FROM orders", {}, "NotATable", "is a View"),
        ("CREATE TABLE t (id INT PRIMARY KEY, created_at TIME)", {}, "NoAge", "is of type time"),
        (
            "CREATE TABLE t (id INT PRIMARY KEY, created_at DATETIME, up INT, FOREIGN KEY (up) REFERENCES t (id)"
            " ON DELETE CASCADE)",
            {},
            "ForeignKeyCycle",
            "referred to, in the end, by rows of the same table",
        ),
    ],
)
def test_a_table_that_rows_cannot_be_taken_from_is_refused_by_name(
    either: MariaKeeper, made: str, asked: dict[str, Any], reason: str, words: str
) -> None:
    either.sql(made)
    found, message = refused(either, rule(table="shop.t", where=None, **asked))
    assert found == reason
    assert words in message


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE t (a VARBINARY(8), b ENUM('y', 'x'), c DATETIME(6), d DECIMAL(20, 2), e VARCHAR(9) CHARACTER SET"
        " latin1, created_at DATETIME, n INT, PRIMARY KEY (a, b, c, d, e))",
        "CREATE TABLE t (a VARBINARY(8) NOT NULL, b ENUM('y', 'x') NOT NULL, c DATETIME(6) NOT NULL, d DECIMAL(20, 2)"
        " NOT NULL, e VARCHAR(9) CHARACTER SET latin1 NOT NULL, created_at DATE, n INT, UNIQUE (e, d, c, b, a), KEY"
        " (created_at))",
        "CREATE TABLE t (a VARBINARY(8), b ENUM('y', 'x'), c DATETIME(6), d DECIMAL(20, 2), e VARCHAR(9) CHARACTER SET"
        " latin1, created_at DATETIME NOT NULL, n INT, PRIMARY KEY (e, created_at, d, b, c, a)) PARTITION BY HASH"
        " (YEAR(created_at)) PARTITIONS 3",
    ],
    ids=["primary", "unique", "partitioned"],
)
def test_keys_of_several_columns_and_odd_types_are_walked_whole(either: MariaKeeper, made: str) -> None:
    either.sql(made)
    either.sql(
        "INSERT INTO t SELECT UNHEX(RPAD(HEX(seq % 7), 4, '5C')), 1 + seq % 2, TIMESTAMP '2024-01-01 00:00:00.000001' +"
        " INTERVAL seq SECOND, seq / 100, CONCAT('ä''%s', seq % 5), DATE '2025-01-01' + INTERVAL (seq % 100) DAY, seq"
        f" FROM {either.numbers(1200)}"
    )
    odd = rule(table="t", action=ActionType.ARCHIVE, where="n % 2 = 0 AND e LIKE '%\\'%'")
    done = either.carry_out(odd, batch={"rows": 70, "target_milliseconds": 1, "pause_milliseconds": 0})["old-orders"]
    assert (done.failure, done.state, done.remaining) == (None, RuleState.COMPLETED, 0)
    assert done.deleted == 600
    assert either.sql("SELECT COUNT(*), SUM(n % 2) FROM t") == [(600, 600)]


def test_what_is_archived_is_loaded_back_to_the_last_bit(either: MariaKeeper) -> None:
    either.sql("CREATE TABLE known AS SELECT * FROM orders; ALTER TABLE known ADD PRIMARY KEY (id)")
    done = either.carry_out(rule(action=ActionType.ARCHIVE))["old-orders"]
    (definition,) = either.place.paths.volume.rglob("table.sql")
    rows = either.archive().rows()
    assert len(rows) == done.deleted > 0
    row = next(row for row in rows.values() if row["id"] % 2 == 0)
    assert row["weight"] == row["id"] / 3
    assert row["said"] == f"ä'\\\n\t{row['id']}"
    assert (row["bits"], row["kind"], row["closed"], len(row["blob"])) == (row["id"] % 512, "b", 1, 34)
    either.server.sql("DROP DATABASE IF EXISTS again; CREATE DATABASE again".replace("; ", ";\n"))
    either.run_whole(definition.read_text().rstrip().rstrip(";"), "again")
    for _, text in either.archive().parts("sql"):
        either.load(text, "again")
    plain = "id, created_at, status, customer, amount, weight, small * 1e0, HEX(`blob`), doc, bits, kind, said"
    there = either.server.sql(f"SELECT {plain} FROM again.orders ORDER BY id")
    assert there == either.sql(f"SELECT {plain} FROM known WHERE id IN ({','.join(map(str, rows))}) ORDER BY id")


@pytest.mark.parametrize(
    ("taken", "asked", "given"),
    [
        (
            "REVOKE DELETE ON shop.* FROM keeper@'%'",
            {},
            "GRANT DELETE ON `shop`.`orders` TO 'keeper'@'%';",
        ),
        ("REVOKE PROCESS ON *.* FROM keeper@'%'", {}, "GRANT PROCESS ON *.* TO 'keeper'@'%';"),
        ("REVOKE TRIGGER ON shop.* FROM keeper@'%'", {}, "GRANT TRIGGER ON `shop`.`orders` TO 'keeper'@'%';"),
        (
            "CREATE DATABASE IF NOT EXISTS kids; CREATE TABLE kids.items (id INT PRIMARY KEY, order_id BIGINT, FOREIGN"
            " KEY (order_id) REFERENCES shop.orders (id))",
            {"cascades": ["kids.items"], "foreign_keys": ForeignKeys.CHILDREN_FIRST},
            "GRANT SELECT, TRIGGER, DELETE ON `kids`.`items` TO 'keeper'@'%';",
        ),
        (
            f"CREATE TABLE log (id BIGINT); {NOTING}",
            {"triggers": ["noting"]},
            "GRANT SELECT, SHOW VIEW ON *.* TO 'keeper'@'%';",
        ),
    ],
    ids=["delete", "foreign keys", "triggers", "a child elsewhere", "what a trigger calls"],
)
def test_what_the_login_may_not_do_or_see_is_refused_with_the_grant(
    either: MariaKeeper, taken: str, asked: dict[str, Any], given: str
) -> None:
    either.server.sql("DROP DATABASE IF EXISTS kids")
    either.sql(taken)
    try:
        (refusal, *_) = plan_status(either.look(rule(**asked)), "r").rules[0].refusals
        wanted = "PermissionDenied: rule old-orders: the login lacks what Delete needs; run "
        assert refusal == wanted + given
        assert refused(either, rule(**asked))[0] == "PermissionDenied"
        either.sql(given.rstrip(";"))
        assert either.look(rule(**asked)).facts[0].grants == []
        assert plan_status(either.look(rule(**asked)), "r").rules[0].refusals == []
    finally:
        either.server.sql("DROP DATABASE IF EXISTS kids")


@pytest.mark.parametrize(
    ("made", "where", "change", "said"),
    [
        (
            [CLOSED],
            "shop.closed_one(status)",
            ["DROP FUNCTION closed_one", CLOSED.replace("v = 'closed'", "TRUE OR v = ''")],
            "function shop.closed_one has another definition",
        ),
        (
            [CLOSED, "CREATE VIEW gone AS SELECT id FROM orders WHERE closed_one(status)"],
            "id IN (SELECT g.id FROM gone AS g)",
            ["DROP FUNCTION closed_one", CLOSED.replace("v = 'closed'", "TRUE OR v = ''")],
            "function shop.closed_one has another definition",
        ),
        (
            ["CREATE VIEW gone AS SELECT id FROM orders WHERE status = 'closed'"],
            "id IN (SELECT id FROM shop.gone)",
            ["CREATE OR REPLACE VIEW gone AS SELECT id FROM orders"],
            "view shop.gone has another definition",
        ),
        (
            ["CREATE FUNCTION trim (v TEXT) RETURNS TEXT DETERMINISTIC RETURN v"],
            "trim (status) = 'closed'",
            ["DROP FUNCTION shop.trim", "CREATE FUNCTION trim (v TEXT) RETURNS TEXT DETERMINISTIC RETURN 'closed'"],
            "function shop.trim has another definition",
        ),
        (
            ["CREATE TABLE chosen AS SELECT id FROM orders WHERE status = 'closed'"],
            "id IN (SELECT id FROM chosen)",
            ["RENAME TABLE chosen TO aside", "CREATE VIEW chosen AS SELECT id FROM orders"],
            "view shop.chosen is called, which was not before",
        ),
    ],
    ids=["function", "deep", "view", "named as the server's own", "table becomes view"],
)
def test_another_definition_is_another_plan_and_is_refused_by_its_name(
    either: MariaKeeper, made: list[str], where: str, change: list[str], said: str
) -> None:
    either.server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    for one in (*made, ALL):
        either.run_whole(one)
    asked, before = rule(where=where), either.ids()
    seen = either.look(asked)
    assert seen.facts[0].fault is None
    for one in change:
        either.run_whole(one)
    calls = {fact.rule: fact.calls for fact in seen.facts}
    ran = either.enforce(asked, approved=seen.plan_hash, calls=calls)
    assert (ran.result.outcome, ran.result.reason) == ("Refused", "PlanChanged")
    assert said in ran.result.message
    assert either.ids() == before


@pytest.mark.parametrize("what", ["trigger", "function"])
def test_no_step_is_committed_by_another_trigger_or_function(
    either: MariaKeeper, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    either.server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    for one in (CLOSED, ALL, "CREATE TABLE log (id BIGINT)"):
        either.run_whole(one)
    left: list[set[int]] = []
    change = {"trigger": [NOTING], "function": ["DROP FUNCTION closed_one", CLOSED.replace("v = 'closed'", "TRUE")]}

    def changed(count: int) -> None:
        if count == 2:
            for one in change[what]:
                either.run_whole(one)
            left.append(either.ids())

    after_steps(monkeypatch, "take", changed)
    ran = either.enforce(rule(where="closed_one(status)"), batch=SMALL)
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("PlanChanged", False)
    assert [either.ids()] == left
    assert either.sql("SELECT COUNT(*) FROM log") == [(0,)]


def test_what_a_step_uses_is_not_replaced_before_it_ends(either: MariaKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could be put back before the step looks whether it is the same."""
    either.server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    for one in (CLOSED, "CREATE VIEW gone AS SELECT id FROM orders WHERE closed_one(status)", ALL):
        either.run_whole(one)
    said: list[int] = []
    demand = MySQLRows._demand_same

    def replace(self: MySQLRows) -> None:
        if not said:
            other = either.server.connect("shop")
            try:
                with other.cursor() as cursor:
                    cursor.execute("SET SESSION lock_wait_timeout = 1")
                    for change in ("DROP FUNCTION closed_one", "DROP VIEW gone", NOTING):
                        with pytest.raises(pymysql.MySQLError) as caught:
                            cursor.execute(change)
                        said.append(caught.value.args[0])
            finally:
                other.close()
        demand(self)

    either.sql("CREATE TABLE log (id BIGINT)")
    monkeypatch.setattr(MySQLRows, "_demand_same", replace)
    done = either.carry_out(rule(where="id IN (SELECT g.id FROM gone AS g)"))["old-orders"]
    assert (done.failure, done.state) == (None, RuleState.COMPLETED)
    assert said == [1205, 1205, 1205]


def test_days_that_no_calendar_has_are_no_age(either: MariaKeeper) -> None:
    either.sql(
        "SET SESSION sql_mode = ''; CREATE TABLE days (id INT PRIMARY KEY, at DATETIME, on_day DATE); INSERT INTO days"
        " VALUES (1, '0000-00-00', '0000-00-00'), (2, '2020-00-00', '2020-00-00'), (3, NULL, NULL), (4, '2020-05-05',"
        " '2020-05-05'), (5, '2025-12-01 11:59:59', '2025-11-30'), (6, '2025-12-01 12:00:00', '2025-12-01')"
    )
    for column in ("on_day", "at"):
        days = rule(table="days", column=column, where=None, limits={"max_rows_per_run": 1})
        assert either.look(days).facts[0].counts.eligible == 2
    done = either.carry_out(rule(table="days", column="on_day", where=None))["old-orders"]
    assert (done.failure, done.deleted) == (None, 2)
    assert either.sql("SELECT id FROM days ORDER BY id") == [(1,), (2,), (3,), (6,)]


def test_a_row_that_somebody_works_on_is_passed_by_and_kept(either: MariaKeeper) -> None:
    ((first,),) = either.sql("SELECT MIN(id) FROM orders WHERE created_at < '2025-12-01 12:00' AND status = 'closed'")
    busy = either.server.connect("shop")
    try:
        busy.begin()
        with busy.cursor() as cursor:
            cursor.execute(f"SELECT id FROM orders WHERE id = {first} FOR UPDATE")
        ran = result_of(either.enforce(rule()))
        assert (ran.outcomes[0].state, ran.outcomes[0].remaining) == (RuleState.LIMITED, 1)
        assert either.ids() & {first}
    finally:
        busy.close()
    assert "1 rows were locked or changed by others" in ran.notes[0]
