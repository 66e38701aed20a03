"""How fast the whole agent is: database to bucket, beside bare pipelines to the same bucket, paired, in one run.

    BENCH_SCALE=100 BENCH_ROUNDS=5 pytest -s -m bench tests/bench/bench_agent.py

The agent runs in this process, so its start (about a second of imports) is not in the figures.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.postgresql import ENGINE
from databosun.storage.s3 import S3ObjectStore
from support.agekeys import make_age_key
from support.agentrun import NAMESPACE, UID, Workplace, backup_task
from support.fakeengine import MEBIBYTE, FakeEngine, stream_of
from support.faraway import far_away
from support.paired import table, take_turns
from support.pgbenchdata import fill_for_bench
from support.pgserver import PASSWORD, Server, bin_dir
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed, seaweed

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
SCALE = int(os.environ.get("BENCH_SCALE", "100"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))
FAR_MILLISECONDS = int(os.environ.get("BENCH_FAR_MILLISECONDS", "30"))
FAR_MEGABYTES = int(os.environ.get("BENCH_FAR_MEGABYTES", "50"))
FAR_BYTES = int(os.environ.get("BENCH_FAR_MIB", "384")) * MEBIBYTE
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}", "PGPASSWORD": PASSWORD}


@dataclass
class Bench:
    """A bucket, and agents that write to it."""

    weed: Seaweed
    bucket: str
    folder: Path

    def __post_init__(self) -> None:
        self.numbers = itertools.count()

    def agent(self, name: str, *, endpoint: str | None = None, **storage: Any) -> Workplace:
        """A pod of its own."""
        place = Workplace(self.folder / name, s3=self.weed.target(self.bucket, endpoint=endpoint))
        place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        place.storage |= storage
        return place

    def back_up(self, place: Workplace, engine: Any, database: DatabaseTarget | None = None) -> int:
        """One backup; returns the bytes stored."""
        more: dict[str, Any] = {"database": database} if database else {}
        deadline = datetime.now(UTC) + timedelta(hours=1)
        task = backup_task(f"bench-{next(self.numbers)}")
        ran = place.run(task, engine=cast("FakeEngine", engine), deadline=deadline, **more)
        assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
        assert ran.result.backup
        self.forget()
        return ran.result.backup.stored_bytes

    def pipe(self, command: str, *, endpoint: str | None = None, connections: int = 6) -> int:
        """A command's output to the bucket; returns the bytes stored."""
        where = f"{endpoint or self.weed.endpoint} {self.bucket} bare {connections}"
        script = f"set -euo pipefail; {command} | {sys.executable} -m support.s3upload {where}"
        subprocess.run(["bash", "-c", script], env=ENV, check=True)
        size = self.weed.client.head_object(Bucket=self.bucket, Key="bare")["ContentLength"]
        self.forget()
        return size

    def forget(self) -> None:
        """Empty the bucket but for the owner marker, so that the disk does not fill."""
        store: S3ObjectStore = self.weed.store(self.bucket)
        store.delete([key for key in self.weed.keys(self.bucket) if not key.endswith("databosun.json")])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A running store."""
    with seaweed(tmp_path_factory.mktemp("weed")) as weed:
        yield Bench(weed, weed.bucket(), tmp_path_factory.mktemp("pods"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A filled server."""
    os.environ["DATABOSUN_POSTGRESQL_BIN"] = str(bin_dir(MAJOR))
    made = Server(MAJOR, settings={"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"})
    made.init()
    made.configure()
    made.start()
    fill_for_bench(made, SCALE)
    yield made
    made.remove()


def report(title: str, text: str) -> None:
    """Show a table."""
    print(f"\n### {title} ({ROUNDS} rounds)\n\n{text}\n")


def test_physical_full_to_a_bucket(bench: Bench, server: Server, tmp_path: Path) -> None:
    database = DatabaseTarget(
        namespace=NAMESPACE,
        name="orders",
        uid=UID,
        engine=EngineName.POSTGRESQL,
        hosts=["127.0.0.1"],
        port=server.port,
        tls=TLSMode.DISABLE,
    )
    login = {"database": {"username": "backup", "password": PASSWORD}}
    plain, secret = bench.agent("plain"), bench.agent("age", age_recipients=[make_age_key(tmp_path).recipient])
    for place in (plain, secret):
        place.secrets |= login
    connection = f"host=127.0.0.1 port={server.port} user=backup sslmode=disable"
    base = f'{server.bin}/pg_basebackup -d "{connection}" -c fast -Ft'
    bare = "pg_basebackup -D - | zstd -1 -T2 | upload"
    contenders: dict[str, Callable[[], int]] = {
        bare: lambda: bench.pipe(f"{base} -X fetch -D - | zstd -q -1 -T2"),
        "agent": lambda: bench.back_up(plain, ENGINE, database),
        "agent, encrypted": lambda: bench.back_up(secret, ENGINE, database),
    }
    found = take_turns(contenders, rounds=ROUNDS)
    report(f"Physical full to a bucket, PostgreSQL {MAJOR}, pgbench scale {SCALE}", table(found, bare))


def test_a_store_far_away(bench: Bench, tmp_path: Path) -> None:
    """30 ms before each answer and so many bytes a second on each connection: what several parts at once are worth."""
    with far_away(bench.weed.endpoint, milliseconds=FAR_MILLISECONDS, megabytes=FAR_MEGABYTES) as endpoint:
        data = tmp_path / "data"
        with data.open("wb") as file:
            for piece in stream_of("far", FAR_BYTES):
                file.write(piece)
        place = bench.agent("far", endpoint=endpoint)
        contenders: dict[str, Callable[[], int]] = {
            "one connection": lambda: bench.pipe(f"cat {data}", endpoint=endpoint, connections=1),
            "agent": lambda: bench.back_up(place, FakeEngine(artefacts={"base.tar": FAR_BYTES})),
        }
        title = f"A store far away: {FAR_MILLISECONDS} ms, {FAR_MEGABYTES} MB/s a connection"
        report(title, table(take_turns(contenders, rounds=ROUNDS), "one connection"))
