"""Points behind a promotion: recovery follows the branch that is asked for, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from databosun.api.drill import Level, PointKind, RecoveryPoint, Verdict
from support.agentrun import Workplace, backup_task
from support.archiving import Pod, current_lsn, prepare
from support.pgserver import Server, bin_dir, hand_over, open_folder
from support.recoveryyard import Yard, check, drilled
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def promoted(weed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A backup on timeline 1, rows before and after a promotion, all archived."""
    monkeypatch.setenv("DATABOSUN_POSTGRESQL_BIN", str(bin_dir(18)))
    folder = open_folder("timelines")
    server = Server(18)
    pod = Pod(Workplace(tmp_path / "pod"), weed, weed.bucket(), ["127.0.0.1"], server.port)
    try:
        prepare(server, "--wal-segsize=1")
        server.sql('GRANT pg_read_all_data, pg_read_all_settings TO "backup"')
        secrets = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        yard = Yard(server, folder, s3=weed.target(pod.bucket), s3_secrets=secrets)
        pod.start()
        pod.wait_until_streaming()
        yard.back_up(backup_task("orders-1"))
        server.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS i")
        pod.wait_for(current_lsn(server))
        _promote(server)
        server.sql("INSERT INTO t SELECT generate_series(101, 150)")
        lsn = current_lsn(server)
        eventually("the new timeline is archived", lambda: _archived(pod, lsn), 180)
        yield yard
    finally:
        pod.kill()
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _promote(server: Server) -> None:
    """The same server on a timeline of its own, as after a failover."""
    server.stop()
    (server.data / "recovery.signal").touch()
    server.configure(restore_command="'false'")
    hand_over(server.data)
    server.start()
    eventually("it is promoted", lambda: server.sql("SELECT pg_is_in_recovery()") == [(False,)])


def _archived(pod: Pod, lsn: str) -> bool:
    line = pod.latest()
    return bool(line and line.timeline == 2 and line.lsn and _number(line.lsn) >= _number(lsn))


def _number(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def test_the_newest_lies_behind_the_promotion_and_an_old_branch_is_still_there(promoted: Yard) -> None:
    def drill(run: str, rows: int, timeline: int | None) -> None:
        sees = check("rows", "Query", query="SELECT count(*) FROM t", value=str(rows), database="postgres")
        until = RecoveryPoint(kind=PointKind.LATEST)
        found = drilled(
            promoted.drill("orders-1", run=run, level=Level.RESTORE, until=until, timeline=timeline, checks=[sees])
        )
        assert found.verdict is Verdict.PASSED, found
        assert found.reached
        assert found.reached.timeline == (timeline or 2)

    drill("newest", 150, None)
    drill("old-branch", 100, 1)
