"""The archiver against real servers and a real S3 server: what was committed is in the bucket, without a hole."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databosun.api.result import Outcome
from support.agekeys import AgeKey, make_age_key
from support.agentrun import Workplace
from support.archiving import Pod, base_of, current_lsn, prepare, recover, system_identifier
from support.pgserver import Server, open_folder
from support.seaweed import Seaweed

pytestmark = pytest.mark.servers
COMMITS = 300


@pytest.fixture
def key(tmp_path: Path) -> AgeKey:
    return make_age_key(tmp_path)


@pytest.fixture
def pods(weed: Seaweed, tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    """Pods for servers; ended with the test."""
    made: list[Pod] = []
    numbers = itertools.count()

    def make(server: Server, **more: object) -> Pod:
        place = Workplace(tmp_path / f"pod{next(numbers)}")
        pod = Pod(place, weed, weed.bucket(), ["127.0.0.1"], server.port, **more)  # type: ignore[arg-type]
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.kill()


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(major: int, *initdb: str, **settings: str) -> Server:
        server = Server(major, settings=settings)
        made.append(server)
        prepare(server, *(initdb or ("--wal-segsize=1",)))
        return server

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def workplace() -> Iterator[Path]:
    folder = open_folder("archive")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def commit(server: Server, first: int, count: int) -> None:
    with server.connect() as connection:
        for number in range(first, first + count):
            connection.execute("INSERT INTO t VALUES (%s, repeat(md5(%s::text), 20))", (number, number))


def numbers(server: Server) -> list[int]:
    return [row[0] for row in server.sql("SELECT i FROM t ORDER BY i")]


@pytest.mark.parametrize("major", [14, 15, 18])
def test_every_acknowledged_commit_is_in_the_bucket_after_the_source_was_killed(
    major: int, make_server: Callable[..., Server], pods: Callable[..., Pod], key: AgeKey, workplace: Path
) -> None:
    server = make_server(major)
    system = system_identifier(server)
    pod = pods(server, key=key)
    pod.start()
    pod.wait_until_streaming()
    base = base_of(server, workplace / "base")
    server.sql("CREATE TABLE t (i int PRIMARY KEY, v text)")
    commit(server, 0, COMMITS)
    pod.wait_for(current_lsn(server))
    server.kill()
    ran = pod.stop()
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.output
    pod.fetch_all(system, workplace / "wal")
    copy = recover(server, base, workplace / "wal")
    try:
        assert numbers(copy) == list(range(COMMITS))
    finally:
        copy.remove()
