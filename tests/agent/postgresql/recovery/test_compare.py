"""A comparison names lost tables and counts rows that differ, on real servers, and writes to neither side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from databosun.api.comparison import Comparison, TableDifference, TableState
from databosun.api.restoretasks import Compare, InquireTask
from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.postgresql.comparetables import bucket_query, list_shapes
from databosun.engines.postgresql.connect import prepare_session
from support.agekeys import make_age_key
from support.agentrun import NAMESPACE, UID, Ran, backup_task
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, Server
from support.recoveryyard import Yard

pytestmark = pytest.mark.servers

WHOLE = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(1, 2000) AS i;
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."Od'd ""table" (id int PRIMARY KEY, "a ""b" text);
INSERT INTO "Odd schema"."Od'd ""table" VALUES (1, 'x');
CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, body bytea) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO events SELECT i, '2026-01-15'::timestamptz + i * interval '1 hour', '\\x00'
FROM generate_series(1, 500) AS i;
CREATE UNLOGGED TABLE session (id int);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE empty (id int);
"""

HARM = """
ALTER TABLE events DETACH PARTITION events_1;
DROP TABLE "Odd schema"."Od'd ""table";
DELETE FROM customers WHERE id <= 10;
UPDATE customers SET name = name || '!' WHERE id BETWEEN 11 AND 13;
INSERT INTO customers (id, name) SELECT i, 'new' FROM generate_series(900001, 900002) AS i;
CREATE TABLE made_since (id int);
INSERT INTO made_since VALUES (1), (2), (3);
INSERT INTO empty VALUES (1), (1), (2);
ALTER TABLE events_1 ADD COLUMN since text;
"""


@pytest.fixture
def lossy(yard_of: Callable[..., Yard]) -> Iterator[Callable[..., Yard]]:
    """A yard whose server has a database `loss` that may be harmed: others use the server, too."""
    made: list[Yard] = []

    def make(major: int, **more: Any) -> Yard:
        yard = yard_of(major, **more)
        yard.server.sql("DROP DATABASE IF EXISTS loss WITH (FORCE)")
        yard.server.sql("CREATE DATABASE loss")
        yard.server.sql(WHOLE, "loss")
        made.append(yard)
        return yard

    yield make
    for yard in made:
        yard.server.sql("DROP DATABASE IF EXISTS loss WITH (FORCE)")


def ask(yard: Yard, *, role: str = BACKUP_ROLE, pod: Any = None, **more: Any) -> Ran:
    """An inquiry, by a pod that may read the store and log in to the server."""
    database = DatabaseTarget(
        namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.POSTGRESQL, hosts=["127.0.0.1"],
        port=yard.server.port, tls=TLSMode.DISABLE,
    )  # fmt: skip
    made = pod or yard.pod()
    made.secrets["database"] = {"username": role, "password": PASSWORD}
    task = InquireTask(compare=Compare(backup=yard.refs["orders-1"], **more))
    ran: Ran = made.run(task, database=database)
    return ran


def compared(ran: Ran) -> Comparison:
    assert ran.result.comparison is not None, ran.output[-6000:]
    return ran.result.comparison


def by_name(found: Comparison) -> dict[str, TableDifference]:
    return {one.table.removeprefix("loss."): one for one in found.tables}


def written(server: Server) -> list[Any]:
    """What the server counts of writes, and of temporary files, in the database that is looked at."""
    server.sql("SELECT pg_stat_clear_snapshot()")
    return server.sql(
        "SELECT tup_inserted, tup_updated, tup_deleted, temp_files FROM pg_stat_database WHERE datname = 'loss'"
    )


@pytest.mark.parametrize(("major", "method"), [(15, Method.PHYSICAL), (18, Method.PHYSICAL), (18, Method.LOGICAL)])
def test_what_was_lost_is_named_and_counted(
    lossy: Callable[..., Yard], workplace: Path, major: int, method: Method
) -> None:
    yard = lossy(major, key=make_age_key(workplace))
    yard.back_up(backup_task("orders-1", method=method))
    rows = dict(yard.server.sql("SELECT 'customers', count(*) FROM customers", "loss"))
    yard.server.sql(HARM, "loss")
    objects, before = yard.objects(), written(yard.server)
    found = compared(ask(yard, database="loss"))
    tables = by_name(found)
    lost = tables['"Odd schema"."Od\'d ""table"']
    assert lost.state is TableState.LOST
    assert lost.copy_rows
    customers = tables["public.customers"]
    assert customers.state is TableState.DIFFERS
    assert (customers.lost, customers.added, customers.changed) == (10, 2, 3)
    assert (customers.copy_rows, customers.live_rows) == (rows["customers"], rows["customers"] - 8)
    since = tables["public.made_since"]
    assert (since.state, since.live_rows) == (TableState.NEW, 3)
    keyless = tables["public.empty"]
    assert (keyless.state, keyless.lost, keyless.added, keyless.changed) == (TableState.DIFFERS, 0, 3, None)
    widened = tables["public.events_1"]
    assert widened.state is TableState.DIFFERS
    assert "columns new: since" in (widened.message or "")
    assert (widened.lost, widened.added) in ((0, 0), (None, None))
    assert tables["public.events_2"].state is TableState.SAME
    assert tables["public.nothing"].state is TableState.SAME
    if method is Method.PHYSICAL:
        assert tables["public.session"].state is TableState.NOT_COMPARED
    assert found.tables[0].state is TableState.LOST
    assert found.counts["Lost"] == 1
    assert found.backup == "orders-1"
    assert found.copy_at is not None
    assert yard.objects() == objects
    assert written(yard.server) == before


def test_nothing_differs_where_nothing_happened(lossy: Callable[..., Yard]) -> None:
    yard = lossy(18)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    found = compared(ask(yard))
    assert found.counts["Same"] > 10
    assert set(found.counts) == {"Same", "NotCompared"}
    assert {one.message for one in found.tables if one.state is TableState.NOT_COMPARED} == {
        "it is unlogged: a physical backup does not hold its rows"
    }


def test_a_dropped_database_is_lost_with_all_its_tables(lossy: Callable[..., Yard]) -> None:
    yard = lossy(18)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    yard.server.sql("DROP DATABASE loss WITH (FORCE)")
    found = compared(ask(yard, database="loss"))
    assert {one.state for one in found.tables} == {TableState.LOST}
    assert by_name(found)["public.customers"].copy_rows == 2000


def test_a_table_that_is_locked_is_left_out_and_said(lossy: Callable[..., Yard]) -> None:
    yard = lossy(18)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    with yard.server.connect("loss") as holder, holder.transaction():
        holder.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        found = compared(ask(yard, database="loss", tables=["public.customers", "public.empty"]))
    tables = by_name(found)
    assert tables["public.customers"].state is TableState.NOT_COMPARED
    assert "longer than it may" in (tables["public.customers"].message or "")
    assert tables["public.empty"].state is TableState.SAME


def test_a_role_that_may_not_read_is_told_what_to_grant(lossy: Callable[..., Yard]) -> None:
    yard = lossy(18)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    found = compared(ask(yard, role="limited", database="loss", tables=["public.customers"]))
    (one,) = found.tables
    assert one.state is TableState.NOT_COMPARED
    assert "GRANT pg_read_all_data" in (one.message or "")


@pytest.mark.parametrize(
    ("scope", "reason"),
    [({"database": "nowhere"}, "NoSuchDatabase"), ({"database": "loss", "tables": ["public.nowhere"]}, "NoSuchTable")],
)
def test_what_neither_side_has_is_an_error(lossy: Callable[..., Yard], scope: Any, reason: str) -> None:
    yard = lossy(18)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    ran = ask(yard, **scope)
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert ran.result.reason == reason


def test_md5_is_the_same_across_major_versions(lossy: Callable[..., Yard]) -> None:
    found = []
    for major in (15, 18):
        server = lossy(major).server
        server.sql(
            "CREATE TABLE across AS SELECT i AS id, i::text AS name, i * 1.5 AS f, now() - now() AS d, "
            "decode(md5(i::text), 'hex') AS b FROM generate_series(1, 500) AS i",
            "loss",
        )
        with server.connect("loss") as connection:
            prepare_session(connection)
            (shape,) = [one for one in list_shapes(connection) if one.name == "across"]
            rows = connection.execute(bucket_query(shape, shape.columns, (), 16, portable=True)).fetchall()
            found.append(sorted((int(str(a)), int(str(b)), int(str(c))) for a, b, c in rows))
    assert found[0] == found[1]
    assert len(found[0]) == 16
