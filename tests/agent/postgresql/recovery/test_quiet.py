"""A copy of a talkative server starts, is checked, and talks to nobody; and nothing of it stays, however it ends."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from databosun.api.drill import CheckOutcome, Level, Verdict
from databosun.api.result import Outcome
from support.agentrun import backup_task
from support.leftovers import processes_of
from support.pgsample import fill
from support.pgserver import DEBIAN, DEBIAN_MAJOR, Server, bin_dir
from support.recoveryyard import Yard, check, drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers


class Listener:
    """Stands in the place of an outside peer and counts who calls."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.calls = 0
        self._counted = threading.Event()
        self._own = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, caller = self._socket.accept()
            except OSError:
                return
            if caller[1] == self._own:
                self._counted.set()
            else:
                self.calls += 1
            connection.close()

    def total(self) -> int:
        """The calls up to now: whoever called before this test does is counted before it."""
        self._counted.clear()
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            self._own = own.getsockname()[1]
            own.connect(("127.0.0.1", self.port))
            assert self._counted.wait(180)
        return self.calls

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def listeners(count: int) -> Iterator[list[Listener]]:
    """Several of them."""
    made = [Listener() for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def make_talkative(server: Server, publisher: int, foreign: int, primary: int) -> Path:
    """Everything that would have a copy act or call somebody, and settings that it cannot start with."""
    archived = server.folder / "archived"
    server.sql(f"CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={publisher} dbname=x' PUBLICATION p "
               "WITH (connect = false, enabled = false, slot_name = 's')", "shop")  # fmt: skip
    server.sql("ALTER SUBSCRIPTION s ENABLE", "shop")
    server.sql("CREATE FOREIGN DATA WRAPPER remote", "shop")
    server.sql(f"CREATE SERVER f FOREIGN DATA WRAPPER remote OPTIONS (host '127.0.0.1', port '{foreign}')", "shop")
    server.sql("CREATE USER MAPPING FOR public SERVER f", "shop")
    server.sql("CREATE FOREIGN TABLE elsewhere (i int) SERVER f", "shop")
    server.sql("CREATE TABLE fired (at timestamptz)", "shop")
    server.sql("CREATE FUNCTION fire() RETURNS event_trigger LANGUAGE plpgsql AS "
               "'BEGIN RAISE EXCEPTION ''an event trigger has fired''; END'", "shop")  # fmt: skip
    server.sql("CREATE EVENT TRIGGER fires ON ddl_command_start EXECUTE FUNCTION fire()", "shop")
    server.sql(
        "ALTER ROLE postgres SET local_preload_libraries = 'no_such_plugin'; "
        "ALTER ROLE postgres SET session_preload_libraries = 'no_such_library'"
    )
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write(
            "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'shop'\nssl = on\n"
            "ssl_cert_file = '/nowhere/server.crt'\nssl_key_file = '/nowhere/server.key'\n"
            f"primary_conninfo = 'host=127.0.0.1 port={primary}'\narchive_mode = on\n"
            f"archive_command = 'touch {archived}'\nsynchronous_standby_names = '*'\nhuge_pages = on\n"
            "listen_addresses = '*'\nlogging_collector = on\n"
        )
    return archived


def test_a_copy_of_a_talkative_server_starts_and_calls_nobody(
    yard_of: Callable[..., Yard], own_server: Callable[..., Server]
) -> None:
    server = own_server(18)
    fill(server)
    with listeners(3) as outside:
        archived = make_talkative(server, *(one.port for one in outside))
        eventually("the subscription's worker has called", lambda: outside[0].calls > 0)
        yard = yard_of(server)
        yard.back_up(backup_task("orders-1"))
        server.stop("immediate")
        before = [one.total() for one in outside]
        found = drilled(yard.drill("orders-1"))
        assert found.verdict is Verdict.PASSED, found
        assert [one.total() for one in outside] == before
        assert not archived.exists()


def add_jobs(server: Server, peer: int) -> None:
    """Jobs of the real pg_cron: one that calls a peer whenever the scheduler starts, and one for every minute."""
    server.configure(shared_preload_libraries="pg_cron", **{"cron.database_name": "shop"})
    server.configure(**{"cron.use_background_workers": "on"})
    server.stop()
    server.start()
    server.sql("CREATE EXTENSION pg_cron; CREATE EXTENSION dblink; CREATE TABLE minutes (at timestamptz)", "shop")
    call = f"SELECT dblink_connect(''host=127.0.0.1 port={peer} dbname=x'')"
    server.sql(f"SELECT cron.schedule('call', '@reboot', '{call}')", "shop")
    server.sql("SELECT cron.schedule('minutes', '* * * * *', 'INSERT INTO minutes SELECT now()')", "shop")


SCHEDULERS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_cron%'"


def test_the_jobs_of_a_talkative_server_do_not_run_in_a_copy(
    yard_of: Callable[..., Yard], own_server: Callable[..., Server]
) -> None:
    """Whether the copy's image has the extension or not. What the source does at its start shows what it would do."""
    server = own_server(DEBIAN_MAJOR, programs=DEBIAN)
    fill(server)
    with listeners(4) as outside:
        add_jobs(server, outside[3].port)
        server.stop()
        assert outside[3].calls == 0
        server.start()
        eventually("the job has called", lambda: outside[3].calls > 0)
        ended = (
            "SELECT count(*) FROM cron.job_run_details JOIN cron.job USING (jobid)"
            " WHERE status = 'failed' AND jobname = 'call'"  # the other may have been at work when the server stopped
        )
        eventually("the call has ended", lambda: server.sql(ended, "shop") == [(1,)])
        assert server.sql(SCHEDULERS) == [(1,)]
        archived = make_talkative(server, *(one.port for one in outside[:3]))
        eventually("the subscription's worker has called", lambda: outside[0].calls > 0)
        yard = yard_of(server)
        yard.back_up(backup_task("orders-1"))
        server.stop("immediate")
        before = [one.total() for one in outside]
        checks = [
            check("jobs", "Query", database="shop", query="SELECT count(*) FROM cron.job WHERE active", value="2"),
            check("calls", "Query", database="shop", query=ended, value="1"),
            check("schedulers", "Query", database="shop", query=SCHEDULERS, value="0"),
        ]
        found = drilled(yard.drill("orders-1", checks=checks))
        assert found.verdict is Verdict.PASSED, found
        pod = yard.pod()
        pod.bin = bin_dir(DEBIAN_MAJOR)
        without = drilled(yard.drill("orders-1", pod=pod, run="drill-2", checks=checks))
        assert (without.verdict, without.reason) == (Verdict.PARTIAL, "ExtensionMissing"), without
        assert "pg_cron" in without.message
        for one in (found, without):
            assert {each.name for each in one.checks if each.outcome is CheckOutcome.PASSED} >= {
                "jobs",
                "calls",
                "schedulers",
            }
        assert [one.total() for one in outside] == before
        assert not archived.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
@pytest.mark.parametrize("moment", ['"phase":"restore"', '"phase":"verify"', '"name":"rows"', '"phase":"evidence"'])
def test_nothing_is_left_running(yard_of: Callable[..., Yard], how: signal.Signals, moment: str) -> None:
    """Also where the agent itself could end nothing any more; and the next drill of that name starts anew."""
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    before = yard.objects()
    pod = yard.pod()
    process = pod.start(yard.drill_task("orders-1"), halt=moment)
    assert process.stdout
    assert any(moment in line for line in process.stdout)
    process.send_signal(how)
    process.stdout.read()
    process.wait(timeout=180)
    eventually("every process of the drill is gone", lambda: not processes_of(pod.folder))
    assert yard.objects() == before
    again = yard.drill("orders-1")
    assert again.summary.outcome is Outcome.SUCCEEDED
    assert drilled(again).verdict is Verdict.PASSED


def test_a_drill_is_not_done_twice(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    pod = yard.pod()
    first = yard.drill("orders-1", pod=pod, level=Level.RESTORE)
    second = yard.drill("orders-1", pod=pod, level=Level.RESTORE)
    assert second.summary.reason == "AlreadyDone"
    assert drilled(second) == drilled(first)


def test_the_control_notices_damage(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    before = yard.objects()
    found = drilled(yard.drill("orders-1", level=Level.RESTORE, negative_control=True))
    assert found.verdict is Verdict.PASSED, found
    assert found.checks[-1].name == "negative-control"
    assert "ArtefactCorrupt" in str(found.checks[-1].observed)
    assert yard.objects() == before
