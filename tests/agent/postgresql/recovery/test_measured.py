"""What a drill reports it took and lost is what a stopwatch and the database itself say."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from databosun.api.drill import Level, PointKind, RecoveryPoint, Verdict
from databosun.api.result import DrillResult
from support.agentrun import Workplace, backup_task
from support.archiving import Pod, current_lsn, prepare
from support.pgserver import Server, bin_dir, open_folder
from support.recoveryyard import Yard, check, drilled
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
LIMIT = 0.05
WRITES_EVERY = 0.1


@pytest.fixture
def large(yard_of: Callable[..., Yard], own_server: Callable[..., Server]) -> Yard:
    """A backup that takes seconds to restore, so that five per cent of it can be told apart."""
    server = own_server(18)
    server.sql("CREATE ROLE backup LOGIN REPLICATION PASSWORD 'it''s: a \\ secret'")
    server.sql('GRANT pg_read_all_data, pg_read_all_settings TO "backup"')
    server.sql("CREATE DATABASE shop")
    rows = "SELECT i, md5(i::text) || md5((-i)::text) AS v FROM generate_series(1, 4000000) AS i"
    server.sql(f"CREATE TABLE t AS {rows}", "shop")
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1"))
    return yard


def test_the_time_to_restore_is_that_of_a_stopwatch(large: Yard) -> None:
    """From the order, over the agent's own start, until the copy has answered and is on disk: when it said so, for who
    reads that may come to it later."""
    pod = large.pod()
    rows = check("rows", "RowCount", table="t", min=4000000, database="shop")
    task = large.drill_task("orders-1", level=Level.RESTORE, checks=[rows])
    ordered = datetime.now(UTC)
    ran = pod.run(task.model_copy(update={"ordered_at": ordered}))
    found = drilled(ran)
    assert found.verdict is Verdict.PASSED, found
    assert found.rto
    ready = next(line["ts"] for line in ran.lines if line.get("phase") == "verify")
    stopped = (datetime.fromisoformat(ready) - ordered).total_seconds()
    assert abs(found.rto.seconds - stopped) <= LIMIT * stopped, (found.rto, stopped)
    parts = found.rto.queue + found.rto.fetch + found.rto.restore + found.rto.replay + found.rto.start + found.rto.sync
    assert abs(parts - found.rto.seconds) <= LIMIT * stopped
    assert found.ordered_at == ordered


class Writer:
    """Commits the server's time every tenth of a second. `acknowledged`: each, and when that was known here."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = threading.Event()
        self.acknowledged: list[tuple[datetime, datetime]] = []
        self._thread = threading.Thread(target=self._write, daemon=True)
        server.sql("CREATE TABLE beats (at timestamptz)")
        self._thread.start()

    def _write(self) -> None:
        with self._server.connect() as connection:
            while not self._end.wait(WRITES_EVERY):
                try:
                    row = connection.execute("INSERT INTO beats VALUES (clock_timestamp()) RETURNING at").fetchone()
                except psycopg.Error:
                    return
                assert row
                self.acknowledged.append((row[0].astimezone(UTC), datetime.now(UTC)))

    def stop(self) -> None:
        """Write no more."""
        self._end.set()
        self._thread.join(timeout=300)


@pytest.fixture
def shipped(weed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Yard, Pod, Writer]]:
    """A database that is written every tenth of a second while its log is shipped."""
    monkeypatch.setenv("DATABOSUN_POSTGRESQL_BIN", str(bin_dir(18)))
    folder, server = open_folder("measured"), Server(18)
    pod = Pod(Workplace(tmp_path / "pod"), weed, weed.bucket(), ["127.0.0.1"], server.port)
    writer = None
    try:
        prepare(server, "--wal-segsize=1")
        server.sql('GRANT pg_read_all_data, pg_read_all_settings TO "backup"')
        secrets = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        yard = Yard(server, folder, s3=weed.target(pod.bucket), s3_secrets=secrets)
        pod.start()
        pod.wait_until_streaming()
        yard.back_up(backup_task("orders-1"))
        writer = Writer(server)
        pod.wait_for(current_lsn(server))
        yield yard, pod, writer
    finally:
        if writer:
            writer.stop()
        pod.kill()
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _drill(yard: Yard, run: str, writer: Writer) -> tuple[DrillResult, datetime]:
    """A drill to the newest instant, and the newest row in the copy. What it says of that instant is so: what was
    acknowledged by then is in the copy, and nothing in the copy is younger."""
    newest = check("newest", "Freshness", query="SELECT max(at) FROM beats", max_age_seconds=86400, database="postgres")
    until = RecoveryPoint(kind=PointKind.LATEST)
    begun = datetime.now(UTC)
    found = drilled(yard.drill("orders-1", run=run, level=Level.RESTORE, until=until, checks=[newest]))
    ended = datetime.now(UTC)
    assert found.verdict is Verdict.PASSED, found
    observed = next(one.observed for one in found.checks if one.name == "newest")
    assert observed is not None
    seen = datetime.fromisoformat(observed)
    assert found.rpo
    assert seen <= found.rpo.newest
    assert not [at for at, known in writer.acknowledged if seen < at and known <= found.rpo.newest], (found.rpo, seen)
    assert begun <= found.rpo.newest + timedelta(seconds=found.rpo.seconds) <= ended
    return found, seen


def test_the_span_of_lost_writes_is_that_of_the_database(shipped: tuple[Yard, Pod, Writer]) -> None:
    """While it is written, and once it is lost with all that was not shipped."""
    yard, pod, writer = shipped
    _drill(yard, "living", writer)

    eventually("it has written", lambda: bool(writer.acknowledged))
    shipped, _ = writer.acknowledged[-1]
    pod.wait_for(current_lsn(yard.server))
    yard.server.kill()
    writer.stop()
    pod.kill()
    _, seen = _drill(yard, "lost", writer)
    known = [at for at, _ in writer.acknowledged]
    assert shipped <= seen
    assert seen in known or seen > known[-1], "one may have been committed that nobody was told of"
