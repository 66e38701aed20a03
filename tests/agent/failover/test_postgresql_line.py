"""What a client of PostgreSQL is told when its server refuses, ends or is gone, and what that means for a write."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.ledger import Fate
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import ProbeError
from databosun.engines.postgresql.connect import Endpoint
from databosun.engines.postgresql.failover.line import Line
from support.pgserver import PASSWORD, SUPERUSER, Server

pytestmark = pytest.mark.servers

LONG = 30.0
MOMENT = 0.5
WRITE = "INSERT INTO t VALUES ($1, $2)"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(16)
    try:
        made.init()
        made.configure()
        made.start()
        made.sql(
            f"ALTER ROLE {SUPERUSER} PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'; CREATE TABLE t (a int, b int)"
        )
        yield made
    finally:
        made.remove()


def line(server: Server, host: str = "127.0.0.1") -> Line:
    described = DatabaseTarget(
        namespace="n", name="n", uid="u", engine=EngineName.POSTGRESQL, hosts=[host], port=server.port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip
    return Line.open(
        Target(described, Credentials(SUPERUSER, PASSWORD)), Endpoint(host, server.port, host), "postgres", LONG
    )


def told(do: Callable[[], object]) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        do()
    return caught.value


def backend(one: Line) -> int:
    return int(one.ask("SELECT pg_backend_pid()")[0][0] or 0)


def test_what_the_server_refuses_is_not_done_and_the_session_goes_on(server: Server) -> None:
    session = line(server)
    refused = told(lambda: session.ask("INSERT INTO missing VALUES ($1, $2)", (1, 2)))
    assert (refused.kind, refused.fate, refused.broken) == ("42P01", Fate.FAILED, False)
    session.ask(WRITE, (1, 2))
    assert session.ask("SELECT b FROM t WHERE a = $1", (1,)) == [("2",)]
    session.close()


def test_a_server_that_takes_no_writes_is_left(server: Server) -> None:
    session = line(server)
    session.ask("SET default_transaction_read_only = on")
    refused = told(lambda: session.ask(WRITE, (1, 2)))
    assert (refused.kind, refused.fate, refused.broken) == ("25006", Fate.FAILED, True)
    session.close()


def test_a_server_that_stops_says_so_and_nobody_knows_of_the_write(server: Server) -> None:
    session = line(server)
    server.sql(f"SELECT pg_terminate_backend({backend(session)}, 60000)")
    ended = told(lambda: session.ask(WRITE, (1, 2)))
    assert (ended.kind, ended.fate, ended.broken) == ("57P01", Fate.UNKNOWN, True)
    session.close()


def test_a_server_that_does_not_answer_is_not_waited_for(server: Server) -> None:
    session = line(server)
    pid = backend(session)
    session._seconds = MOMENT
    os.kill(pid, signal.SIGSTOP)
    goes_on = threading.Timer(LONG, os.kill, [pid, signal.SIGCONT])  # then it answers, and nobody was told
    goes_on.start()
    try:
        silent = told(lambda: session.ask(WRITE, (1, 2)))
    finally:
        goes_on.cancel()
        os.kill(pid, signal.SIGCONT)
    assert (silent.kind, silent.fate, silent.broken) == ("Timeout", Fate.UNKNOWN, True)
    session.close()


def test_who_is_not_let_in_has_done_nothing(server: Server) -> None:
    gone = told(lambda: line(server, "127.0.0.9"))
    assert (gone.kind, gone.fate, gone.broken) == ("ConnectionRefused", Fate.FAILED, True)


def test_a_server_that_is_killed_says_nothing_any_more(server: Server) -> None:
    session = line(server)
    server.kill()
    lost = told(lambda: session.ask(WRITE, (1, 2)))
    assert (lost.kind, lost.fate, lost.broken) == ("ConnectionLost", Fate.UNKNOWN, True)
    session.close()  # the last test: nobody starts it again
