"""How true the downtime of a failover test is, and what its ledger costs the agent.

    BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_failover.py

Outages are made and timed by this file: a server that takes no writes, one whose packets are refused, and one whose
packets vanish (iptables, so as root). Clients and ledger are the agent's own, at the rate that a test has by default.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from databosun.agent.failovers.clients import PATIENCE_SECONDS, Crowd, Way
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.ledgerjudge import Span, judge
from databosun.engines.base import Credentials, Target
from databosun.engines.redis.failover.probe import GRANTS, Clients, Keys, Session
from support.redisserver import PASSWORD, USER, Server

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LENGTHS = (0.3, 1.0, 2.5, 6.0)
CLIENTS, RATE = 4, 20.0
BAR_SECONDS = 0.1
BAR_MIB = 100
THIRTY_MINUTES = 30 * 60 * CLIENTS * int(RATE)
TABLE = "databosun_probe"
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}
Outage = Callable[[Server, float], float]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One Redis."""
    made = Server(grants=GRANTS.format(table=TABLE))
    yield made
    made.remove()


def way_to(port: int) -> Way:
    """As the agent's clients go."""
    database = DatabaseTarget(
        namespace="shop", name="cache", uid="0", engine=EngineName.REDIS, hosts=["127.0.0.1"], port=port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip
    clients = Clients(Target(database, Credentials(USER, PASSWORD)), "none")
    keys = Keys(TABLE, "bench", int(time.time()) + 3600)

    def session(number: int) -> Session:
        wire, _ = clients.open(None, PATIENCE_SECONDS)
        return Session(wire, keys, number, "one", PATIENCE_SECONDS)

    return Way("service", session)


def paused(server: Server, seconds: float) -> float:
    """No write is answered."""
    with server.connect() as wire:
        wire.call("CLIENT", "PAUSE", 60_000, "WRITE")
        began = time.monotonic()
        time.sleep(seconds)
        wire.call("CLIENT", "UNPAUSE")
        return time.monotonic() - began


def filtered(*target: str) -> Outage:
    """Its packets come to nothing."""

    def outage(server: Server, seconds: float) -> float:
        rule = ["INPUT", "-i", "lo", "-p", "tcp", "--dport", str(server.port), "-j", *target]
        subprocess.run(["iptables", "-I", *rule], check=True)
        began = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        subprocess.run(["iptables", "-D", *rule], check=True)
        return (ended + time.monotonic()) / 2 - began

    return outage


KINDS = {
    "no write is answered": paused,
    "connections are refused": filtered("REJECT", "--reject-with", "tcp-reset"),
    "packets vanish": filtered("DROP"),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_downtime_that_is_told_against_a_stopwatch(
    server: Server, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = []
    for seconds in LENGTHS * ROUNDS:
        with _writing(server.port) as crowd:
            ordered = time.monotonic()
            truth = KINDS[kind](server, seconds)
            time.sleep(2.0)
        told = judge(crowd.writes, [], Span(ordered, time.monotonic())).downtime
        assert told.resumed
        errors.append(told.seconds - truth)
    with capsys.disabled():
        worst = max(errors, key=abs)
        print(f"\n{kind}: told minus true, ms: median {statistics.median(errors) * 1000:.0f}, worst {worst * 1000:.0f}")
    # Where packets vanish, a client finds out after its patience, as TCP finds out by sending them again.
    most = PATIENCE_SECONDS if kind == "packets vanish" else BAR_SECONDS
    assert all(-BAR_SECONDS <= one <= most for one in errors), errors


def test_thirty_minutes_of_writes_fit_into_little_memory(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """As many writes as in thirty minutes, as fast as they go: what they cost is counted in writes."""
    said = ledger_of(server, rate=100000.0, seconds=1200)
    with capsys.disabled():
        print(f"\n{said['writes']} writes in {said['seconds']:.0f} s: {said['mib']} MiB at most, {said['base']} before")
    assert said["writes"] >= THIRTY_MINUTES
    assert said["mib"] <= BAR_MIB


def ledger_of(server: Server, rate: float, seconds: float) -> dict[str, float]:
    """A process that writes at that rate as often as a test of thirty minutes does, and judges it; what it tells."""
    argv = [sys.executable, "-c", _LEDGER, str(server.port), str(rate)]
    done = subprocess.run(argv, env=ENV, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, float] = json.loads(done.stdout)
    return said


_LEDGER = f"""
import json, re, sys, time
from pathlib import Path
import zstandard
from bench.bench_failover import way_to
from databosun.agent.failovers.clients import Crowd
from databosun.domain.ledger import Bits, ReadBack
from databosun.domain.ledgerjudge import Span, judge
from databosun.domain.ledgerlines import ledger_lines

def mib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

base, began, way = mib(), time.monotonic(), way_to(int(sys.argv[1]))
with Crowd() as crowd:
    crowd.add_writers(way, {CLIENTS})
    crowd.add_reader(way)
    crowd.start(float(sys.argv[2]))
    while sum(len(one) for one in crowd.writes.clients.values()) < {THIRTY_MINUTES}:
        crowd.check()
        time.sleep(0.1)
backs = [ReadBack(time.monotonic(), {{name: Bits.of(b"\\xff" * (len(one) // 8 + 1)) for name, one in
         crowd.writes.clients.items()}}) for _ in range(2)]
judged = judge(crowd.writes, backs, Span(began, time.monotonic()))
packer = zstandard.ZstdCompressor(level=3).compressobj()
data = b"".join([*(packer.compress(line.encode()) for line in ledger_lines(crowd.writes, backs, [])), packer.flush()])
print(json.dumps({{"writes": judged.acknowledged, "seconds": time.monotonic() - began, "mib": mib(), "base": base}}))
"""


@contextmanager
def _writing(port: int) -> Iterator[Crowd]:
    """Clients as a test has them, a second before and until the end."""
    with Crowd() as crowd:
        crowd.add_writers(way_to(port), CLIENTS)
        crowd.start(RATE)
        time.sleep(1.0)
        yield crowd
