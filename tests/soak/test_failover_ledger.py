"""Clients of a failover test that write for thirty minutes by the clock, at the rate that a test has by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.bench_failover import BAR_MIB, RATE, TABLE, THIRTY_MINUTES, ledger_of
from databosun.engines.redis.failover.probe import GRANTS
from support.redisserver import Server

pytestmark = pytest.mark.soak

LONGEST_SECONDS = 45 * 60


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(grants=GRANTS.format(table=TABLE))
    yield made
    made.remove()


def test_thirty_minutes_by_the_clock_fit_into_little_memory(server: Server) -> None:
    said = ledger_of(server, RATE, LONGEST_SECONDS)
    print(f"\n{said['writes']} writes in {said['seconds']:.0f} s: {said['mib']} MiB at most, {said['base']} before")
    assert said["writes"] >= THIRTY_MINUTES
    assert said["seconds"] >= 29 * 60
    assert said["mib"] <= BAR_MIB
