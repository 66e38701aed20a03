"""Points in time, from a log that a real archiver shipped into a real S3 server while the database was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.drill import Level, PointKind, RecoveryPoint, RpoSource, Verdict
from databosun.api.result import DrillResult, Outcome
from databosun.domain.wal import format_lsn, parse_lsn
from support.agekeys import make_age_key
from support.agentrun import Workplace, backup_task
from support.archiving import Pod, current_lsn, prepare
from support.bridging import Far, bridged
from support.pgserver import Server, bin_dir, open_folder
from support.recoveryyard import Yard, check, drilled
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
ROWS = 1000


@dataclass
class History:
    """A database's life, and the instants of it."""

    yard: Yard
    pod: Pod
    server: Server
    at: dict[str, datetime] = field(default_factory=dict)
    lsn: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def mark(self, name: str) -> None:
        """Remember now, by the server's clock."""
        self.at[name] = self.server.sql("SELECT clock_timestamp()")[0][0].astimezone(UTC)
        self.lsn[name] = current_lsn(self.server)

    def drill(self, kind: PointKind, *, rows: dict[str, int | None] | None = None, **more: Any) -> DrillResult:
        """Drill to a point; `rows`: what tables hold then (None: the table is not there)."""
        self.runs += 1
        checks = [
            check(table, "Query", query=f"SELECT to_regclass('{table}') IS NULL", value="t")
            if count is None
            else check(table, "Query", query=f"SELECT count(*) || ':' || sum(i) FROM {table}",
                       value=f"{count}:{count * (count - 1) // 2}")
            for table, count in (rows or {}).items()
        ]  # fmt: skip
        checks = [one.model_copy(update={"database": "postgres"}) for one in checks]
        until = RecoveryPoint(kind=kind, **more)
        ran = self.yard.drill("orders-1", run=f"drill-{self.runs}", level=Level.RESTORE, until=until, checks=checks)
        return drilled(ran)


def fill(server: Server, table: str, count: int) -> None:
    """A table of numbers, one commit a row."""
    server.sql(f"CREATE TABLE {table} (i int, v text)")
    with server.connect() as connection:
        for number in range(count):
            connection.execute(f"INSERT INTO {table} VALUES ({number}, repeat(md5('{number}'), 20))".encode())


@pytest.fixture(scope="module", params=[15, 18], ids=lambda major: f"pg{major}")
def life(request: pytest.FixtureRequest, weed: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A table written, dropped by mistake, others after it, a restore point, then silence."""
    folder, place = open_folder("pitr"), tmp_path_factory.mktemp("archiver")
    server = Server(request.param)
    before = pytest.MonkeyPatch()
    before.setenv("DATABOSUN_POSTGRESQL_BIN", str(bin_dir(request.param)))
    pod = None
    try:
        prepare(server, "--wal-segsize=1")
        server.sql('GRANT pg_read_all_data, pg_read_all_settings TO "backup"')
        key = make_age_key(place) if request.param == 18 else None
        pod = Pod(Workplace(place / "pod"), weed, weed.bucket(), ["127.0.0.1"], server.port, key=key)
        secrets = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        yard = Yard(server, folder, key=key, s3=weed.target(pod.bucket), s3_secrets=secrets)
        pod.start()
        pod.wait_until_streaming()
        server.sql("CREATE DATABASE passing")
        yard.back_up(backup_task("orders-1"))
        life = History(yard, pod, server)
        fill(server, "precious", ROWS)
        life.mark("before the drop")
        server.sql("DROP TABLE precious")
        server.sql("DROP DATABASE passing")
        life.mark("after the drop")
        fill(server, "later", ROWS)
        server.sql("CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 20) AS v FROM generate_series(1, 9000) AS i")
        server.sql("SELECT pg_create_restore_point('release')")
        fill(server, "last", 50)
        life.mark("the last commit")
        pod.wait_for(life.lsn["the last commit"])
        _wait_for_silence(life)
        yield life
    finally:
        before.undo()
        if pod:
            pod.kill()
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_silence(life: History) -> None:
    """Until the log says that nothing happened for a while after the last commit."""

    def silent() -> bool:
        line = life.pod.latest()
        wanted = life.at["the last commit"] + timedelta(seconds=4)
        return bool(line and line.recoverable_at and line.recoverable_at > wanted)

    eventually("the archiver says how far an idle database can be recovered", silent, 120)
    life.at["in the silence"] = life.at["the last commit"] + timedelta(seconds=2)


def test_a_time_just_before_a_drop_brings_the_table_back(life: History) -> None:
    found = life.drill(
        PointKind.TIME, time=life.at["before the drop"], rows={"precious": ROWS, "later": None, "last": None}
    )
    assert found.verdict is Verdict.PASSED, found
    assert found.reached
    assert found.rpo is None


def test_the_newest_has_every_commit_and_no_more(life: History) -> None:
    found = life.drill(PointKind.LATEST, rows={"precious": None, "later": ROWS, "last": 50})
    assert found.verdict is Verdict.PASSED, found
    assert found.reached
    assert found.reached.lsn
    assert parse_lsn(found.reached.lsn) >= parse_lsn(life.lsn["the last commit"])
    assert found.rpo
    assert found.rpo.source is RpoSource.POSITION
    assert not found.rpo.exact
    assert found.rpo.newest > life.at["in the silence"]


def test_a_position(life: History) -> None:
    found = life.drill(PointKind.LSN, lsn=life.lsn["after the drop"], rows={"precious": None, "later": None})
    assert found.verdict is Verdict.PASSED, found


def test_a_restore_point(life: History) -> None:
    found = life.drill(PointKind.RESTORE_POINT, name="release", rows={"later": ROWS, "last": None})
    assert found.verdict is Verdict.PASSED, found


def test_as_soon_as_it_is_consistent(life: History) -> None:
    found = life.drill(PointKind.IMMEDIATE, rows={"later": None, "last": None})
    assert found.verdict is Verdict.PASSED, found


def test_a_time_after_the_last_commit_of_an_idle_database(life: History) -> None:
    found = life.drill(PointKind.TIME, time=life.at["in the silence"], rows={"later": ROWS, "last": 50})
    assert found.verdict is Verdict.PASSED, found


def test_a_time_that_the_log_does_not_reach_is_refused_with_the_nearest(life: History) -> None:
    found = life.drill(PointKind.TIME, time=datetime.now(UTC) + timedelta(hours=1))
    assert (found.verdict, found.reason) == (Verdict.REFUSED, "PointNotCovered"), found
    assert "newest recoverable instant" in found.message


def test_a_time_before_the_backup_is_refused(life: History) -> None:
    found = life.drill(PointKind.TIME, time=life.at["before the drop"] - timedelta(days=1))
    assert (found.verdict, found.reason) == (Verdict.REFUSED, "PointNotCovered"), found
    assert "older backup" in found.message


def test_a_position_beyond_the_log_is_refused(life: History) -> None:
    beyond = format_lsn(parse_lsn(life.lsn["the last commit"]) + (1 << 30))
    found = life.drill(PointKind.LSN, lsn=beyond)
    assert (found.verdict, found.reason) == (Verdict.REFUSED, "PointNotCovered"), found


def test_a_restore_point_that_is_not_there(life: History) -> None:
    found = life.drill(PointKind.RESTORE_POINT, name="nobody made it")
    assert (found.verdict, found.reason) == (Verdict.FAILED, "PointNotReached"), found


def test_a_segment_missing_in_the_middle_is_a_gap_and_no_green_restore(life: History) -> None:
    """A plain recovery would end at the hole and come up without the tables behind it."""
    key = _segment_after(life, "after the drop")
    weed, bucket = life.pod.weed, life.pod.bucket
    kept = weed.client.get_object(Bucket=bucket, Key=key)
    body, metadata = kept["Body"].read(), kept["Metadata"]
    weed.client.delete_object(Bucket=bucket, Key=key)
    try:
        found = life.drill(PointKind.LATEST)
        assert (found.verdict, found.reason) == (Verdict.FAILED, "LogGap"), found
        assert key.rpartition("/")[2].partition(".")[0] in found.message
        before = life.drill(PointKind.TIME, time=life.at["before the drop"], rows={"precious": ROWS})
        assert before.verdict is Verdict.PASSED, before
    finally:
        weed.client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)


def test_a_damaged_segment_is_named(life: History) -> None:
    key = _segment_after(life, "after the drop")
    weed, bucket = life.pod.weed, life.pod.bucket
    kept = weed.client.get_object(Bucket=bucket, Key=key)
    body, metadata = bytearray(kept["Body"].read()), kept["Metadata"]
    body[len(body) // 2] ^= 1
    weed.client.put_object(Bucket=bucket, Key=key, Body=bytes(body), Metadata=metadata)
    try:
        found = life.drill(PointKind.LATEST)
        assert found.verdict is Verdict.FAILED, found
        assert found.reason == "LogCorrupt"
        assert key in found.message
    finally:
        body[len(body) // 2] ^= 1
        weed.client.put_object(Bucket=bucket, Key=key, Body=bytes(body), Metadata=metadata)


def test_a_backup_without_a_log_refuses_a_point_in_time(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    ran = yard.drill("orders-1", until=RecoveryPoint(kind=PointKind.LATEST))
    assert ran.summary.outcome is Outcome.REFUSED
    assert drilled(ran).reason == "LogMissing"


def _segment_after(life: History, name: str) -> str:
    """The key of a full segment a few behind that instant."""
    log = life.pod.log(str(life.server.sql("SELECT system_identifier FROM pg_control_system()")[0][0]))
    number = parse_lsn(life.lsn[name]) // log.segment_bytes + 1
    segment = log.stored(1, number)
    assert segment is not None
    assert segment.full
    assert log.stored(1, number + 1) is not None
    return segment.key


def test_the_table_itself_comes_back_into_the_server_that_lost_it(life: History) -> None:
    # The last one: it writes to the source.
    far = Far(life.yard, life.server, "orders")
    later = far.content("postgres")
    until = RecoveryPoint(kind=PointKind.TIME, time=life.at["before the drop"])
    found = bridged(far.run("orders-1", databases=("postgres",), tables=("public.precious",), until=until))
    assert [(one.table, one.at, one.rows) for one in found.placed] == [("public.precious", "public.precious", ROWS)]
    rows = life.server.sql("SELECT count(*), sum(i), bool_and(v = repeat(md5(i::text), 20)) FROM precious")
    assert rows == [(ROWS, ROWS * (ROWS - 1) // 2, True)]
    content = far.content("postgres")
    del content["public.precious"]
    assert content == later
    assert {"replay", "resume"} <= {one.step for one in found.timeline}
