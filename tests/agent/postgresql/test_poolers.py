"""A Database whose connection leads to a PgBouncer: told so, and the application's sessions stay as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.postgresql.conftest import plan_of, target_of
from databosun.api.lifecycle import LifecycleOrder, LimitsOrder, RuleOrder
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.comparing import CompareScope
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.postgresql import ENGINE
from databosun.engines.postgresql.archivesource import look_at_source
from databosun.engines.postgresql.bridge.server import Server as BridgeServer
from databosun.engines.postgresql.compare import compare_with_copy
from databosun.engines.postgresql.connect import Endpoint, Session, choose_primary, connect
from databosun.engines.postgresql.exporting import EXPORTING
from databosun.engines.postgresql.lifecycle.session import LIFECYCLE
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.postgresql.server import gather_server
from support.foldersink import FolderSink
from support.pgbouncer import HOST, PgBouncer
from support.pgserver import PASSWORD, Server

pytestmark = pytest.mark.servers

SHARED = "shared"
MODES = ("transaction", "session", "statement")
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name <> 'transaction_read_only' ORDER BY name"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(16)
    try:
        made.init()
        made.configure()
        made.start()
        quoted = PASSWORD.replace("'", "''")
        made.sql(f"CREATE ROLE {SHARED} SUPERUSER LOGIN PASSWORD '{quoted}'; CREATE TABLE orders (i int)")
        yield made
    finally:
        made.remove()


@pytest.fixture(params=MODES)
def bouncer(request: pytest.FixtureRequest, server: Server) -> Iterator[PgBouncer]:
    made = PgBouncer(SHARED, PASSWORD, mode=request.param, size=1)
    try:
        made.start(HOST, server.port)
        yield made
    finally:
        made.remove()


def application(port: int, dbname: str = "postgres", **said: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host=HOST, port=port, user=SHARED, password=PASSWORD, dbname=dbname, autocommit=True, **said)  # type: ignore[call-overload]


def seen(connection: psycopg.Connection[Any]) -> tuple[int, dict[str, str]]:
    """Whose session at the server it is, and how it is set."""
    settings = dict(connection.execute(SETTINGS).fetchall())
    ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return pid, settings


def through(server: Server, bouncer: PgBouncer) -> Target:
    found = target_of(server, user=SHARED, hosts=(HOST,), database="postgres")
    return Target(found.database.model_copy(update={"port": bouncer.port}), found.credentials)


def scope() -> LifecycleScope:
    rule = RuleOrder(
        name="old",
        action="Delete",
        table="public.orders",
        where="i < 0",
        limits=LimitsOrder(max_rows_per_run=1, max_percent=1),
    )
    order = LifecycleOrder(database_uid="u", storage="s", rules=[rule])
    return LifecycleScope(order, datetime.now(UTC), 1000, 10.0)


def opened(open_: Callable[..., Any], target: Target) -> None:
    with open_(target, scope()):
        pass


def backed_up(target: Target, folder: Path, method: Method) -> None:
    ENGINE.backup(target, plan_of(folder / "scratch", method), FolderSink(folder / method.value))


def endpoint(target: Target) -> Endpoint:
    return Endpoint(HOST, target.database.port, HOST)


WAYS: dict[str, Callable[[Target, Path], object]] = {
    "preflight": lambda target, _: ENGINE.probe(target, [Method.AUTO], incremental=False),
    "facts": lambda target, _: gather_server(Session(target, endpoint(target))),
    "login": lambda target, _: connect(target, endpoint(target), "postgres"),
    "dump": lambda target, folder: backed_up(target, folder, Method.LOGICAL),
    "copy": lambda target, folder: backed_up(target, folder, Method.PHYSICAL),
    "hook": lambda target, _: ENGINE.run_hook(target, Hook(name="h", sql="SELECT 1")),
    "lifecycle": lambda target, _: opened(LIFECYCLE.open, target),
    "export": lambda target, _: opened(EXPORTING.open, target),
    "comparison": lambda target, _: compare_with_copy(
        target, RunningCopy.__new__(RunningCopy), CompareScope(None, (), 10.0), lambda: None
    ),
    "restore": lambda target, _: BridgeServer(target).facts,
    "archiver": lambda target, _: look_at_source(Session(target, choose_primary(target))),
}


def test_nothing_is_set_in_a_session_that_the_application_gets_next(
    server: Server, bouncer: PgBouncer, workplace: Path
) -> None:
    """Its pool has one session at the server, so whatever was set in it would be the application's."""
    target = through(server, bouncer)
    with application(bouncer.port, application_name="orders", client_encoding="LATIN1") as connection:
        before = seen(connection)
    for number, (name, way) in enumerate(WAYS.items()):
        with pytest.raises(UserFault) as caught:
            way(target, workplace)
        assert caught.value.reason == "Pooler", name
        assert (
            f"point spec.connection at PostgreSQL itself, which is {HOST}:{server.port} to it" in caught.value.message
        )
        with application(bouncer.port, application_name="orders", client_encoding="LATIN1") as connection:
            assert seen(connection) == before, name
            connection.execute(b"INSERT INTO orders VALUES (%d)" % number)


def test_what_we_say_of_ourselves_at_login_is_not_said_of_the_next(server: Server, bouncer: PgBouncer) -> None:
    """Where the session at the server was made for us, and the application says nothing of itself."""
    target = through(server, bouncer)
    with pytest.raises(UserFault, match="is a connection pooler"):
        connect(target, endpoint(target), "template1")
    with application(server.port, "template1") as connection:
        _, direct = seen(connection)
    with application(bouncer.port, "template1") as connection:
        assert seen(connection)[1] == direct


def test_a_server_behind_no_pooler_is_let_in(server: Server) -> None:
    assert gather_server(Session(target_of(server, user=SHARED), Endpoint(HOST, server.port, HOST))).major == 16
