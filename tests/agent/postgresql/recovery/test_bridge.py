"""Restores into running servers: all of what was asked for is in place in the end, or the target is as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from databosun.api.drill import Level
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import Method
from support.agentrun import backup_task
from support.bridging import ID, Far, bridged
from support.pgsample import ODD_DATABASE, contents, fill
from support.pgserver import PASSWORD, Server
from support.recoveryyard import Yard, check

pytestmark = pytest.mark.servers
# A table with all that ties tables together.
TIED = """
CREATE TABLE sales (id serial PRIMARY KEY, customer bigint, note text DEFAULT 'none' NOT NULL,
    CONSTRAINT sales_customer_fkey FOREIGN KEY (customer) REFERENCES customers, CHECK (id > 0));
CREATE INDEX sales_note ON sales (note) WHERE note <> 'none';
CREATE STATISTICS sales_pairs ON customer, note FROM sales;
ALTER TABLE sales ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON sales FOR SELECT TO app USING (customer = 1);
ALTER ROLE backup BYPASSRLS;
GRANT SELECT, INSERT ON sales TO app;
COMMENT ON TABLE sales IS 'what was sold';
CREATE TRIGGER touched BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO sales (customer) SELECT 1 + i % 100 FROM generate_series(1, 1000) AS i;
CREATE VIEW spent AS SELECT customer, count(*) FROM sales GROUP BY customer;
"""


class Knocking:
    """Connects to a database again and again and asks something, as applications do."""

    def __init__(self, server: Server, dbname: str) -> None:
        self.served = 0
        self._server, self._dbname = server, dbname
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> Knocking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with self._server.connect(self._dbname) as connection:
                    for _ in range(50):
                        connection.execute("SELECT count(*), pg_sleep(0.01) FROM customers")
                        self.served += 1
            except psycopg.Error:
                continue


def definition(server: Server, table: str) -> list[tuple[Any, ...]]:
    """Columns, constraints, indexes, triggers, policies, statistics, grants, comment and owner of a table."""
    return server.sql(
        f"""
        SELECT 'column', attname, format_type(atttypid, atttypmod) || attnotnull::text
            || coalesce(pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = '{table}'::regclass AND attnum > 0
        UNION ALL SELECT 'constraint', conname, replace(pg_get_constraintdef(oid), ' NOT VALID', '')
            FROM pg_constraint WHERE conrelid = '{table}'::regclass
        UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE tablename = '{table}'
        UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger
            WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal
        UNION ALL SELECT 'policy', policyname, coalesce(qual, '') || roles::text FROM pg_policies
            WHERE tablename = '{table}'
        UNION ALL SELECT 'statistics', stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
            WHERE stxrelid = '{table}'::regclass
        UNION ALL SELECT 'table', relacl::text || relrowsecurity::text || pg_get_userbyid(relowner),
            obj_description(oid, 'pg_class') FROM pg_class WHERE oid = '{table}'::regclass
        ORDER BY 1, 2
        """,
        "shop",
    )


@pytest.fixture
def fresh() -> Iterator[Callable[[int], Server]]:
    """An empty server of a major version."""
    made: list[Server] = []

    def make(major: int) -> Server:
        server = Server(major)
        made.append(server)
        server.init()
        server.configure()
        server.start()
        return server

    yield make
    for server in made:
        server.remove()


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize(("major", "to"), [(15, 15), (15, 18), (18, 18)])
def test_a_whole_server_comes_back_in_another_one(
    yard_of: Callable[..., Yard], fresh: Callable[[int], Server], major: int, to: int, method: Method
) -> None:
    yard = yard_of(major)
    expected = contents(yard.server)
    yard.back_up(backup_task("orders-1", method=method))
    far = Far(yard, fresh(to))
    found = bridged(far.run("orders-1", level=Level.DEEP))
    assert far.names() == {"postgres", "shop", ODD_DATABASE}
    assert contents(far.server) == expected
    assert {one.database: one.at for one in found.placed} == {"shop": "shop", ODD_DATABASE: ODD_DATABASE}
    roles = {str(row[0]) for row in far.server.sql("SELECT rolname FROM pg_roles")}
    assert {"app", "limited", "backup"} <= roles
    assert far.server.sql("SELECT has_table_privilege('app', 'customers', 'SELECT')", "shop") == [(True,)]
    assert [row for row in far.server.sql("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles") if row[0]] == []


# --- one database in place


@pytest.fixture
def own(own_server: Callable[..., Server], yard_of: Callable[..., Yard]) -> Callable[[int], Far]:
    """A filled server that a test may change, with a backup of it, restored into itself."""

    def make(major: int, method: Method = Method.PHYSICAL) -> Far:
        server = own_server(major)
        fill(server)
        server.sql("COMMENT ON DATABASE shop IS 'all that is sold'; ALTER DATABASE shop SET work_mem = '8MB'")
        yard = yard_of(server)
        yard.back_up(backup_task("orders-1", method=method))
        return Far(yard, server, "orders")

    return make


@pytest.mark.parametrize("major", [15, 18])
def test_one_database_in_place_under_load(own: Callable[[int], Far], major: int) -> None:
    far = own(major)
    expected = far.content("shop")
    far.server.sql("DELETE FROM customers; DROP VIEW rich; CREATE TABLE since (i int)", "shop")
    changed = far.content("shop")
    other = far.content(ODD_DATABASE)
    with Knocking(far.server, "shop") as knocking:
        found = bridged(far.run("orders-1", databases=("shop",), replace=True, level=Level.DEEP))
    assert knocking.served > 0
    assert far.content("shop") == expected
    assert far.content(f"shop_before_{ID}") == changed
    assert far.content(ODD_DATABASE) == other
    assert far.names() == {"postgres", "shop", ODD_DATABASE, f"shop_before_{ID}"}
    assert [(one.at, one.before) for one in found.placed] == [("shop", f"shop_before_{ID}")]
    assert any(f"DROP DATABASE shop_before_{ID};" in step.replace('"', "") for step in found.hand_over)
    assert far.server.sql("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shop'") == [
        ("all that is sold",)
    ]
    assert far.server.sql("SHOW work_mem", "shop") == [("8MB",)]
    record = json.loads(next(far.yard.place.paths.volume.rglob("restores/restore-1/result.json")).read_bytes())
    steps = [one["step"] for one in record["result"]["timeline"]]
    assert [step for step in ("assess", "select", "restore", "replay", "verify", "resume") if step not in steps] == []
    assert all(one["began"] <= one["ended"] for one in record["result"]["timeline"])


def test_a_whole_server_in_its_own_place(own_server: Callable[..., Server], yard_of: Callable[..., Yard]) -> None:
    server = own_server(18)
    fill(server)
    server.sql("CREATE TABLE jobs AS SELECT 1 AS i")  # in database postgres, where everybody stands
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1"))
    far = Far(yard, server, "orders")
    expected = {name: far.content(name) for name in far.names()}
    server.sql("DROP TABLE jobs")
    server.sql("DELETE FROM customers", "shop")
    with server.connect("postgres") as standing:
        standing.execute("SELECT 1")
        bridged(far.run("orders-1", replace=True))
    before = {name for name in far.names() if name.endswith(f"_before_{ID}")}
    assert {name: far.content(name) for name in far.names() - before} == expected
    assert len(before) == 3
    assert far.server.sql("SELECT count(*) FROM customers", f"shop_before_{ID}") == [(0,)]


def test_prepared_transactions_are_named_before_anything_is_fetched(
    own_server: Callable[..., Server], yard_of: Callable[..., Yard]
) -> None:
    server = own_server(18, max_prepared_transactions="5")
    fill(server)
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1"))
    far = Far(yard, server, "orders")
    server.sql("BEGIN; CREATE TABLE half (i int); PREPARE TRANSACTION 'two phases'", "shop")
    ran = far.run("orders-1", databases=("shop",), replace=True)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "PreparedTransactions")
    assert "two phases" in ran.summary.message
    server.sql("ROLLBACK PREPARED 'two phases'", "shop")


def test_done_twice_is_done_once(own: Callable[[int], Far]) -> None:
    far = own(18)
    first = bridged(far.run("orders-1", databases=("shop",), replace=True))
    far.server.sql("CREATE TABLE since (i int)", "shop")
    before = far.state()
    again = far.run("orders-1", databases=("shop",), replace=True)
    assert again.summary.reason == "AlreadyDone"
    assert bridged(again).record_sha256 == first.record_sha256
    assert far.state() == before


# --- what is refused, with nothing touched


@pytest.mark.parametrize(
    ("wanted", "reason", "said"),
    [
        ({"databases": ("shop",)}, "TargetNotEmpty", "overwrite: Replace"),
        ({}, "TargetNotEmpty", "overwrite: Replace"),
        ({"databases": ("nothing",), "replace": True}, "NoSuchDatabase", "nothing"),
        ({"databases": ("shop",), "tables": ("public.nowhere",)}, "NoSuchTable", "public.nowhere"),
        ({"databases": ("shop",), "tables": ("public.customers",), "replace": True}, "TableInUse", "view rich"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_touched(
    own: Callable[[int], Far], wanted: dict[str, Any], reason: str, said: str
) -> None:
    far = own(18)
    before = far.state()
    ran = far.run("orders-1", **wanted)
    assert (ran.summary.outcome is not Outcome.SUCCEEDED, ran.summary.reason) == (True, reason), ran.output[-3000:]
    assert said in ran.summary.message
    assert far.state() == before


def test_an_older_server_is_refused_before_anything_is_fetched(
    yard_of: Callable[..., Yard], fresh: Callable[[int], Server]
) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    far = Far(yard, fresh(15))
    before = far.state()
    ran = far.run("orders-1")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "TargetOlder")
    assert far.state() == before


def test_a_role_that_may_not_is_told_what_to_grant(own: Callable[[int], Far]) -> None:
    far = own(18)
    quoted = PASSWORD.replace("'", "''")
    far.server.sql(f"CREATE ROLE weak LOGIN PASSWORD '{quoted}'; GRANT postgres TO weak")
    ran = far.run("orders-1", pod=far.pod("weak"), databases=("shop",), replace=True)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "PermissionDenied")
    assert "ALTER ROLE" in ran.summary.message
    assert "CREATEDB" in ran.summary.message


def test_a_role_that_is_no_superuser_restores_what_it_may_own(
    yard_of: Callable[..., Yard], own_server: Callable[..., Server], fresh: Callable[[int], Server]
) -> None:
    source = own_server(18)
    source.sql("CREATE ROLE app LOGIN; CREATE ROLE backup LOGIN REPLICATION")
    source.sql("CREATE DATABASE shop OWNER app")
    quoted = PASSWORD.replace("'", "''")
    source.sql(f"ALTER ROLE backup PASSWORD '{quoted}'; GRANT pg_read_all_data, pg_read_all_settings TO backup")
    source.sql("SET ROLE app; CREATE TABLE t AS SELECT i FROM generate_series(1, 100) AS i", "shop")
    yard = yard_of(source)
    yard.back_up(backup_task("orders-1"))
    far = Far(yard, fresh(18))
    far.server.sql(f"CREATE ROLE modest LOGIN CREATEDB CREATEROLE PASSWORD '{quoted}'; GRANT postgres TO modest")
    found = bridged(far.run("orders-1", pod=far.pod("modest"), databases=("shop",)))
    assert far.content("shop")["public.t"][0] == 100
    assert far.server.sql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'") == [("app",)]
    assert any("set one for app" in note for note in found.notes)


def test_a_check_that_fails_leaves_the_target_as_it_was(own: Callable[[int], Far]) -> None:
    far = own(18)
    before = far.state()
    wrong = check("many", "Query", query="SELECT count(*) FROM customers", value="1", database="shop")
    ran = far.run("orders-1", databases=("shop",), replace=True, checks=[wrong])
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "CheckFailed")
    assert "the target is as it was" in ran.summary.message
    assert far.state() == before


def test_what_the_target_does_not_take_is_not_tried_again(own: Callable[[int], Far]) -> None:
    far = own(18)
    table = '"Odd schema"."Od\'d ""table"'
    far.server.sql(f"DROP TABLE {table}; DROP TYPE mood", "shop")
    before = far.state()
    ran = far.run("orders-1", databases=("shop",), tables=(table,))
    assert (ran.summary.reason, ran.summary.retryable) == ("TargetRefuses", False), ran.output[-3000:]
    assert "mood" in ran.summary.message
    assert "the target is as it was" in ran.summary.message
    assert far.state() == before


# --- staged first


def test_what_is_staged_waits_and_is_promoted(own: Callable[[int], Far]) -> None:
    far = own(18)
    expected = far.content("shop")
    far.server.sql("DELETE FROM customers", "shop")
    changed = far.content("shop")
    ran = far.run("orders-1", databases=("shop",), replace=True, stage_first=True)
    assert bridged(ran).staged
    assert ran.summary.reason == "Staged"
    assert far.content("shop") == changed
    assert far.content(f"shop_restore_{ID}") == expected
    again = far.run("orders-1", databases=("shop",), replace=True, stage_first=True)
    assert bridged(again).staged
    found = bridged(far.run("orders-1", databases=("shop",), replace=True, stage_first=True, mode="Promote"))
    assert not found.staged
    assert far.content("shop") == expected
    assert far.content(f"shop_before_{ID}") == changed


def test_what_nobody_consents_to_is_removed(own: Callable[[int], Far]) -> None:
    far = own(18)
    before = far.state()
    bridged(far.run("orders-1", databases=("shop",), replace=True, stage_first=True))
    assert far.state() != before
    ran = far.run("orders-1", databases=("shop",), replace=True, stage_first=True, mode="Discard")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "NotPromoted")
    assert far.state() == before


# --- tables


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize("major", [15, 18])
def test_a_table_that_was_dropped_comes_back_row_for_row(
    own_server: Callable[..., Server], yard_of: Callable[..., Yard], major: int, method: Method
) -> None:
    server = own_server(major)
    fill(server)
    server.sql(TIED, "shop")
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1", method=method))
    far = Far(yard, server, "orders")
    expected, shape = far.content("shop"), definition(server, "sales")
    server.sql("DROP TABLE sales CASCADE; DELETE FROM customers WHERE id = 7", "shop")
    found = bridged(far.run("orders-1", databases=("shop",), tables=("public.sales", "events")))
    content = far.content("shop")
    assert content["public.sales"] == expected["public.sales"]
    assert definition(server, "sales") == shape
    assert {one.table: one.at for one in found.placed} == {
        "public.sales": "public.sales",
        "public.events": f"public_restore_{ID}.events",
    }
    assert content[f"public_restore_{ID}.events_1"] == expected["public.events_1"]
    assert content["public.events_1"] == expected["public.events_1"]
    assert any("sales_customer_fkey" in note and "NOT VALID" in note for note in found.notes), found.notes
    assert any("view spent" in note for note in found.notes), found.notes
    assert server.sql("INSERT INTO sales (customer) VALUES (8) RETURNING id", "shop") == [(1001,)]


def test_tables_that_are_there_are_swapped_in_one_go(
    own_server: Callable[..., Server], yard_of: Callable[..., Yard]
) -> None:
    server = own_server(18)
    fill(server)
    server.sql('CREATE TABLE "Odd schema"."T.1" (id serial PRIMARY KEY, v text UNIQUE)', "shop")
    server.sql('INSERT INTO "Odd schema"."T.1" (v) SELECT md5(i::text) FROM generate_series(1, 500) AS i', "shop")
    server.sql('CREATE STATISTICS "Odd schema".pairs ON id, v FROM "Odd schema"."T.1"', "shop")
    server.sql("CREATE TABLE child AS SELECT i FROM generate_series(1, 9) AS i", "shop")
    server.sql('ALTER TABLE child ADD FOREIGN KEY (i) REFERENCES "Odd schema"."T.1" ON DELETE CASCADE', "shop")
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1"))
    far = Far(yard, server, "orders")
    expected = far.content("shop")
    server.sql('DELETE FROM "Odd schema"."T.1" WHERE id > 3; TRUNCATE events', "shop")
    found = bridged(
        far.run("orders-1", databases=("shop",), tables=('"Odd schema"."T.1"', "events", "child"), replace=True)
    )
    content = far.content("shop")
    assert content['"Odd schema"."T.1"'] == expected['"Odd schema"."T.1"']
    assert content["public.events_1"] == expected["public.events_1"]
    assert content[f'"Odd schema_before_{ID}"."T.1"'][0] == 3
    assert content[f"public_before_{ID}.events_1"][0] == 0
    assert content["public.child"] == expected["public.child"]
    assert server.sql(
        "SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'child'::regclass", "shop"
    ) == [('"Odd schema"."T.1"',)]
    assert {one.before for one in found.placed} == {
        f'"Odd schema_before_{ID}"."T.1"',
        f"public_before_{ID}.events",
        f"public_before_{ID}.child",
    }
    assert not [row for row in server.sql("SELECT nspname FROM pg_namespace", "shop") if f"_restore_{ID}" in row[0]]


def test_a_partition_that_was_dropped_comes_back_by_itself(own: Callable[[int], Far]) -> None:
    far = own(18)
    expected = far.content("shop")["public.events_2"]
    far.server.sql("DROP TABLE events_2", "shop")
    found = bridged(far.run("orders-1", databases=("shop",), tables=("public.events_2",)))
    assert far.content("shop")["public.events_2"] == expected
    (note,) = [note for note in found.notes if "ATTACH PARTITION" in note]
    statement = note.partition("to join them: ")[2]
    far.server.sql(statement, "shop")
    assert far.server.sql("SELECT count(*) FROM events", "shop") == [(1000,)]
