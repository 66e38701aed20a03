"""How far an archiver is behind a server at full speed, and what it costs: lag, CPU for each 10 MB/s of log, memory.

    BENCH_SECONDS=60 BENCH_LAG=2 BENCH_CLIENTS=4 pytest -s -m bench tests/bench/bench_archiver.py

The lag of a position is the time from its being written to the server's seeing it flushed by the archiver, which is
said only once the store has it; both are read from the server, ten times a second.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.archiving import Pod, prepare
from support.pgserver import SUPERUSER, Server, identity
from support.seaweed import Seaweed, seaweed

pytestmark = pytest.mark.bench
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
LAG = float(os.environ.get("BENCH_LAG", "2"))
CLIENTS = os.environ.get("BENCH_CLIENTS", "4")
RATE = os.environ.get("BENCH_RATE", "")
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))
SCALE = os.environ.get("BENCH_SCALE", "20")
SEGMENT = os.environ.get("BENCH_SEGMENT", "16")
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A store of its own."""
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with data to change."""
    made = Server(MAJOR, settings={"shared_buffers": "'256MB'", "max_wal_size": "'2GB'"})
    prepare(made, f"--wal-segsize={SEGMENT}")
    made.run("pgbench", "--initialize", "--quiet", f"--scale={SCALE}", "postgres", timeout=600)
    made.sql("CHECKPOINT")
    yield made
    made.remove()


@dataclass
class Track:
    """What the server says, ten times a second."""

    server: Server
    written: list[tuple[float, int]] = field(default_factory=list)
    stored: list[tuple[float, int]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `done`."""
        query = (
            "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn, (SELECT flush_lsn - '0/0'::pg_lsn "
            "FROM pg_stat_replication WHERE application_name = 'databosun')"
        )
        with self.server.connect() as connection:
            while not self.done.wait(0.1):
                now = time.monotonic()
                row = connection.execute(query.encode()).fetchone()
                assert row is not None
                self.written.append((now, int(row[0])))
                self.stored.append((time.monotonic(), int(row[1] or 0)))

    def lags(self) -> list[float]:
        """Seconds for each position that was seen."""
        found = []
        at = 0
        for when, lsn in self.written:
            while at < len(self.stored) and (self.stored[at][1] < lsn or self.stored[at][0] < when):
                at += 1
            if at == len(self.stored):
                break
            found.append(self.stored[at][0] - when)
        return found


def cpu_seconds(pid: int) -> float:
    """Of a process and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(one) for one in fields[11:15]) / TICKS


def memory(pid: int, name: str) -> int:
    """A figure of /proc/<pid>/status in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


@pytest.mark.parametrize("encrypted", [True, False], ids=["age", "plain"])
def test_lag_and_cost_at_full_speed(server: Server, weed: Seaweed, tmp_path: Path, encrypted: bool) -> None:
    """Figures for `docs/benchmarks.md`."""
    key = make_age_key(tmp_path) if encrypted else None
    pod = Pod(
        Workplace(tmp_path / "pod"), weed, weed.bucket(), ["127.0.0.1"], server.port, key, task={"max_lag_seconds": LAG}
    )
    pod.start()
    try:
        pod.wait_until_streaming()
        assert pod.process is not None
        pid = pod.process.pid
        track = Track(server)
        thread = threading.Thread(target=track.run)
        idle = memory(pid, "VmRSS")
        before, began = cpu_seconds(pid), time.monotonic()
        thread.start()
        load(server)
        took, spent = time.monotonic() - began, cpu_seconds(pid) - before
        time.sleep(LAG * 3)  # the last positions become stored, too
        track.done.set()
        thread.join()
        report(track, took, spent, idle, memory(pid, "VmHWM"), pod, encrypted=encrypted)
    finally:
        pod.kill()


def load(server: Server) -> None:
    """pgbench for that long."""
    argv = [str(server.bin / "pgbench"), f"--client={CLIENTS}", "--jobs=2", f"--time={SECONDS:.0f}", "--no-vacuum"]
    argv += [f"--rate={RATE}"] if RATE else []
    env = {"PATH": os.defpath, "PGHOST": str(server.folder), "PGPORT": str(server.port), "PGUSER": SUPERUSER}
    subprocess.run([*argv, "postgres"], env=env, check=True, capture_output=True, cwd=server.folder, **identity())


def report(track: Track, took: float, spent: float, idle: int, peak: int, pod: Pod, *, encrypted: bool) -> None:
    """Print a table."""
    lags = sorted(track.lags())
    written = track.written[-1][1] - track.written[0][1]
    rate = written / took / 1e6
    line = pod.latest()
    stored = line.stored_bytes if line else 0
    print(f"\n{'age' if encrypted else 'plain'}, maxLag {LAG:g} s, segments of {SEGMENT} MiB, {CLIENTS} clients")
    print(f"log written       {written / 1e6:8.1f} MB in {took:.0f} s, {rate:.1f} MB/s; stored {stored / 1e6:.1f} MB")
    print(
        f"lag               p50 {statistics.median(lags):.2f} s, p99 {lags[int(len(lags) * 0.99)]:.2f} s, "
        f"max {lags[-1]:.2f} s of {len(lags)} positions"
    )
    print(
        f"CPU               {spent / took * 100:.1f} % of a core, {spent / took / rate * 1000:.1f} % for each 10 MB/s"
    )
    print(f"memory            {idle / 1024:.0f} MiB before, {peak / 1024:.0f} MiB at most")
