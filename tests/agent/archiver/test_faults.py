"""What goes wrong at the source, at the store and between them: named, survived, and never a silent hole."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from databosun.api.archive import PositionLine
from databosun.domain.wal import first_history, parse_lsn
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.slots import slot_name
from databosun.storage.reasons import StorageReason
from support.agekeys import AgeKey
from support.agentrun import CLUSTER, NAMESPACE
from support.archiving import Pod, Writer, base_of, current_lsn, recover, system_identifier, write_log
from support.faultproxy import Act, Fault, fault_proxy
from support.pgserver import Server, hand_over
from support.seaweed import Seaweed
from support.tcpproxy import TcpProxy, tcp_proxy
from support.waiting import eventually

pytestmark = pytest.mark.servers
Servers = Callable[..., Server]
Pods = Callable[..., Pod]
SMALL = {"min_wal_size": "'2MB'", "max_wal_size": "'4MB'", "wal_keep_size": "0"}


def make_table(server: Server) -> None:
    server.sql("CREATE TABLE t (i int PRIMARY KEY, v text)")


def says(pod: Pod, what: str, condition: Callable[[PositionLine], bool], seconds: float = 90) -> PositionLine:
    """The first position line of which something is true."""

    def found() -> bool:
        assert pod.running(), pod.log_file.read_text()[-3000:]
        line = pod.latest()
        return line is not None and condition(line)

    eventually(f"{what}; {pod.latest()}", found, seconds)
    line = pod.latest()
    assert line is not None
    return line


def troubled(reason: str) -> Callable[[PositionLine], bool]:
    return lambda line: line.trouble is not None and line.trouble.reason == reason


def slots(server: Server) -> list[str]:
    return [row[0] for row in server.sql("SELECT slot_name FROM pg_replication_slots")]


def test_a_store_that_was_away_gets_everything_in_the_end(
    weed: Seaweed, make_server: Servers, pods: Pods, key: AgeKey, workplace: Path
) -> None:
    server = make_server(15)
    system = system_identifier(server)
    make_table(server)
    with fault_proxy(weed.endpoint) as proxy:
        pod = pods(server, key=key, endpoint=proxy.endpoint)
        pod.start()
        pod.wait_until_streaming()
        base_of(server, workplace / "base")
        start = parse_lsn(current_lsn(server))
        fault = proxy.add(Fault(Act.REFUSE))
        with Writer(server) as writer:
            line = says(pod, "it says that the store fails", lambda line: line.trouble is not None)
            assert line.trouble is not None
            assert line.trouble.actor == "World"
            done = len(writer.acknowledged)
            eventually("commits go on meanwhile", lambda: len(writer.acknowledged) >= done + 500)
            fault.times = 0
            pod.wait_for(current_lsn(server))
        pod.wait_for(current_lsn(server))
        assert says(pod, "all is well", lambda line: line.trouble is None).gaps == 0
        server.kill()
        pod.stop()
    assert pod.log(system).coverage(first_history(), start - 1).whole
    pod.fetch_all(system, workplace / "wal")
    copy = recover(server, workplace / "base", workplace / "wal")
    try:
        assert [row[0] for row in copy.sql("SELECT i FROM t ORDER BY i")] == writer.acknowledged
    finally:
        copy.remove()


@contextmanager
def cut_off(server: Server) -> Iterator[TcpProxy]:
    """A proxy in front of a server, in a loop of its own."""
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()
    made: list[TcpProxy] = []

    async def serve() -> None:
        async with tcp_proxy("127.0.0.1", server.port) as proxy:
            made.append(proxy)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def test_a_network_that_falls_silent_is_noticed_and_nothing_is_missing(
    make_server: Servers, pods: Pods, workplace: Path
) -> None:
    server = make_server(18)
    system = system_identifier(server)
    make_table(server)
    with cut_off(server) as proxy:
        pod = pods(server, port=proxy.port)
        pod.start()
        pod.wait_until_streaming()
        start = parse_lsn(current_lsn(server))
        with Writer(server) as writer:
            eventually("commits", lambda: len(writer.acknowledged) > 100)
            proxy.freeze()
            says(pod, "it misses the server", troubled(Reason.CONNECTION_LOST), 150)
            proxy.thaw()
        pod.wait_for(current_lsn(server))
        pod.stop()
    log = pod.log(system)
    assert not log.gaps
    assert log.coverage(first_history(), start - 1).whole


def test_a_lost_slot_is_a_gap_on_record_and_archiving_goes_on(
    make_server: Servers, pods: Pods, key: AgeKey, workplace: Path
) -> None:
    server = make_server(18)
    server.configure(**SMALL, max_slot_wal_keep_size="'2MB'")
    server.reload()
    system = system_identifier(server)
    pod = pods(server, key=key)
    pod.start()
    pod.wait_until_streaming()
    make_table(server)
    pod.wait_for(current_lsn(server))
    pod.kill()
    end = pod.log(system).end_of(1)
    assert end is not None
    for _ in range(3):
        write_log(server, 8)
        server.sql("CHECKPOINT")
    pod.start()
    eventually("the gap is said", lambda: bool(pod.gaps()))
    gap = pod.gaps()[0]
    assert parse_lsn(gap.begin) == end.lsn
    assert gap.reason in {Reason.SLOT_LOST, Reason.WAL_REMOVED}
    assert gap.begin_time is not None
    assert gap.begin_time < gap.end_time
    base_of(server, workplace / "base")
    server.sql("INSERT INTO t VALUES (1, 'after')")
    pod.wait_for(current_lsn(server))
    assert says(pod, "the gap counts", lambda line: line.gaps == 1).trouble is None
    pod.stop()
    log = pod.log(system)
    assert log.gaps == (gap,)
    over = log.coverage(first_history(), end.lsn - 1, parse_lsn(gap.end) + 1)
    assert not over.whole
    assert over.reached == end.lsn
    server.kill()
    pod.fetch_all(system, workplace / "wal")
    copy = recover(server, workplace / "base", workplace / "wal")
    try:
        assert copy.sql("SELECT v FROM t") == [("after",)]
    finally:
        copy.remove()


def test_production_comes_first_where_the_store_stays_away(weed: Seaweed, make_server: Servers, pods: Pods) -> None:
    server = make_server(15)
    server.configure(**SMALL)
    server.reload()
    system = system_identifier(server)
    with fault_proxy(weed.endpoint) as proxy:
        pod = pods(server, endpoint=proxy.endpoint, task={"max_retained_bytes": 16 << 20})
        pod.start()
        pod.wait_until_streaming()
        assert slots(server) == [slot_name(CLUSTER, NAMESPACE, system)]
        fault = proxy.add(Fault(Act.REFUSE))
        write_log(server, 40)
        eventually("it lets go of its slot", lambda: not slots(server), 120)
        write_log(server, 8)
        server.sql("CHECKPOINT")
        write_log(server, 8)
        server.sql("CHECKPOINT")
        fault.times = 0
        eventually("the gap is said", lambda: bool(pod.gaps()), 120)
        assert pod.gaps()[0].reason == Reason.RETAINED_TOO_MUCH
        pod.wait_for(current_lsn(server))
        assert slots(server) == [slot_name(CLUSTER, NAMESPACE, system)]
        pod.stop()
    log = pod.log(system)
    assert [gap.reason for gap in log.gaps] == [Reason.RETAINED_TOO_MUCH]
    assert log.coverage(first_history(), parse_lsn(log.gaps[0].end)).whole


def test_no_slot_is_made_where_nothing_bounds_it(make_server: Servers, pods: Pods) -> None:
    server = make_server(15)
    server.configure(max_slot_wal_keep_size="-1")
    server.reload()
    pod = pods(server)
    pod.start()
    line = says(pod, "it says why", troubled(Reason.SLOT_UNBOUNDED))
    assert line.trouble is not None
    assert line.trouble.actor == "User"
    assert "ALTER SYSTEM SET max_slot_wal_keep_size" in line.trouble.message
    assert not slots(server)
    server.configure(max_slot_wal_keep_size="'1GB'")
    server.reload()
    pod.wait_until_streaming()
    assert len(slots(server)) == 1


def test_an_unbounded_slot_may_be_allowed(make_server: Servers, pods: Pods) -> None:
    server = make_server(15)
    server.configure(max_slot_wal_keep_size="-1")
    server.reload()
    pod = pods(server, task={"allow_unbounded_slot": True})
    pod.start()
    pod.wait_until_streaming()


@pytest.mark.parametrize(
    ("breaking", "mending", "reason"),
    [
        ("ALTER ROLE \"backup\" PASSWORD 'other'", None, Reason.WRONG_PASSWORD),
        ('ALTER ROLE "backup" NOREPLICATION', 'ALTER ROLE "backup" REPLICATION', Reason.NO_REPLICATION_PRIVILEGE),
    ],
)
def test_a_fault_at_the_source_is_named_and_mended_without_a_restart(
    breaking: str, mending: str | None, reason: str, make_server: Servers, pods: Pods
) -> None:
    server = make_server(18)
    server.sql(breaking)
    pod = pods(server)
    pod.start()
    line = says(pod, "it says what is wrong", troubled(reason))
    assert line.trouble is not None
    assert line.trouble.actor == "User"
    if mending:
        server.sql(mending)
    else:
        (pod.place.paths.secrets / "database" / "password").write_text("other")
    pod.wait_until_streaming()


def test_a_preflight_finds_what_archiving_needs(make_server: Servers, pods: Pods) -> None:
    server = make_server(18)
    pod = pods(server)

    def found(*, allow: bool = False) -> dict[str, str | None]:
        return {one.reason: one.fix for one in pod.preflight(allow_unbounded=allow) if "Continuous" in one.blocks}

    assert found() == {}
    server.configure(max_slot_wal_keep_size="-1")
    server.reload()
    eventually("the setting counts", lambda: Reason.SLOT_UNBOUNDED in found())
    assert "max_slot_wal_keep_size" in (found()[Reason.SLOT_UNBOUNDED] or "")
    assert found(allow=True) == {}
    server.sql("SELECT pg_create_physical_replication_slot('taken' || i) FROM generate_series(1, 8) AS i")
    assert "max_replication_slots = 12" in (found(allow=True)[Reason.NO_REPLICATION_SLOT] or "")
    server.sql('ALTER ROLE "backup" NOREPLICATION')
    assert found(allow=True)[Reason.NO_REPLICATION_PRIVILEGE] == 'ALTER ROLE "backup" REPLICATION;'


def test_a_missing_line_in_pg_hba_is_named(make_server: Servers, pods: Pods) -> None:
    server = make_server(18)
    server.hba = tuple(line for line in server.hba if not line.startswith("host replication"))
    server.configure()
    server.reload()
    pod = pods(server)
    pod.start()
    line = says(pod, "it says what is wrong", troubled(Reason.NO_PG_HBA_ENTRY))
    assert line.trouble is not None
    assert "host replication backup" in line.trouble.message


def test_a_server_that_was_set_back_contradicts_nothing(make_server: Servers, pods: Pods, key: AgeKey) -> None:
    server = make_server(15)
    make_table(server)
    server.stop()
    before = server.folder / "before"
    shutil.copytree(server.data, before)
    server.start()
    system = system_identifier(server)
    pod = pods(server, key=key)
    pod.start()
    pod.wait_until_streaming()
    with Writer(server) as writer:
        eventually("commits", lambda: len(writer.acknowledged) > 1000)
    pod.wait_for(current_lsn(server))
    pod.stop()
    end = pod.log(system).end_of(1)
    assert end is not None
    keys = {(one.key, one.size) for one in pod.store.list(pod.folder(server).root)}
    server.stop()
    shutil.rmtree(server.data)
    before.rename(server.data)
    hand_over(server.data)
    server.start()
    assert system_identifier(server) == system
    pod.start()
    assert pod.process is not None
    pod.process.wait(timeout=120)
    assert f'"reason":"{Reason.SOURCE_WENT_BACK}"' in pod.own_output()
    while parse_lsn(current_lsn(server)) < end.lsn + (2 << 20):
        write_log(server, 1)
    # Now it is ahead of the store, with other bytes.
    pod.start()
    pod.process.wait(timeout=120)
    assert f'"reason":"{StorageReason.LOG_CONFLICT}"' in pod.own_output()
    assert {(one.key, one.size) for one in pod.store.list(pod.folder(server).root)} >= keys


def test_a_server_whose_store_hangs_can_be_stopped(weed: Seaweed, make_server: Servers, pods: Pods) -> None:
    server = make_server(18)
    make_table(server)
    with fault_proxy(weed.endpoint) as proxy:
        pod = pods(server, endpoint=proxy.endpoint)
        pod.start()
        pod.wait_until_streaming()
        proxy.add(Fault(Act.REFUSE))
        write_log(server, 2)
        server.run("pg_ctl", f"--pgdata={server.data}", "--wait", "--timeout=90", "--mode=fast", "stop")
        assert not (server.data / "postmaster.pid").exists()


def test_a_server_that_is_asked_gently_to_stop_need_not_wait(make_server: Servers, pods: Pods) -> None:
    """SIGTERM, as Kubernetes sends it, is a smart shutdown: it waits for every session to end by itself."""
    server = make_server(18)
    make_table(server)
    pod = pods(server)
    pod.start()
    pod.wait_until_streaming()
    sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'databosun' AND backend_type = 'client backend'"
    eventually("the archiver has a session", lambda: bool(server.sql(sessions)))
    server.run("pg_ctl", f"--pgdata={server.data}", "--wait", "--timeout=25", "--mode=smart", "stop")
    assert not (server.data / "postmaster.pid").exists()
    pod.stop()


def test_the_slot_goes_with_the_policy(make_server: Servers, pods: Pods) -> None:
    server = make_server(14)
    system = system_identifier(server)
    pod = pods(server)
    pod.start()
    pod.wait_until_streaming()
    pod.kill()
    assert len(slots(server)) == 1
    assert pod.drop_slot(system).result.message == f"removed from 127.0.0.1:{server.port}"
    assert not slots(server)
    assert pod.drop_slot(system).result.message == "no host had it"
