"""An archiver at work for minutes: killed at random moments, and with its store away. Every commit comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.domain.wal import first_history, parse_lsn
from support.archiving import Pod, Writer, base_of, current_lsn, recover, system_identifier
from support.faultproxy import Act, Fault, fault_proxy
from support.length import Length
from support.pgserver import Server
from support.seaweed import Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.soak
Pods = Callable[..., Pod]
WIDTH = 1000
# Of one life; the longest is several times the time that an archiver needs to be streaming.
SHORTEST, LONGEST = 0.2, 8.0


def comes_back(server: Server, pod: Pod, system: str, start: int, workplace: Path, acknowledged: list[int]) -> None:
    """The source is gone; what was acknowledged is recovered from the base backup and the bucket, without a hole."""
    log = pod.log(system)
    assert not log.gaps
    assert log.coverage(first_history(), start - 1).whole
    pod.fetch_all(system, workplace / "wal")
    copy = recover(server, workplace / "base", workplace / "wal")
    try:
        assert [row[0] for row in copy.sql("SELECT i FROM t ORDER BY i")] == acknowledged
    finally:
        copy.remove()


def test_an_archiver_killed_at_random_moments_loses_no_commit(
    server: Server, pods: Pods, workplace: Path, length: Length, say: Callable[..., None]
) -> None:
    system, pod, chance = system_identifier(server), pods(server, task={"max_lag_seconds": 0.5}), random.Random(1)
    pod.start()
    pod.wait_until_streaming()
    base_of(server, workplace / "base")
    start, kills, end = parse_lsn(current_lsn(server)), 0, time.monotonic() + 60 * length.minutes
    with Writer(server, width=WIDTH) as writer:
        while time.monotonic() < end:
            time.sleep(chance.uniform(SHORTEST, LONGEST))
            pod.kill()
            kills += 1
            pod.start()
    pod.wait_for(current_lsn(server), 300)
    server.kill()
    pod.stop()
    comes_back(server, pod, system, start, workplace, writer.acknowledged)
    say(minutes=length.minutes, kills=kills, commits=len(writer.acknowledged), lost=0)


def test_a_store_that_is_away_costs_no_commit(
    weed: Seaweed, server: Server, pods: Pods, workplace: Path, length: Length, say: Callable[..., None]
) -> None:
    system = system_identifier(server)
    with fault_proxy(weed.endpoint) as proxy:
        pod = pods(server, endpoint=proxy.endpoint)
        pod.start()
        pod.wait_until_streaming()
        base_of(server, workplace / "base")
        start = parse_lsn(current_lsn(server))
        with Writer(server, width=WIDTH) as writer:
            eventually("it writes", lambda: len(writer.acknowledged) > 100)
            away = proxy.add(Fault(Act.REFUSE))
            time.sleep(60 * length.minutes)
            away.times, back = 0, time.monotonic()
            behind = len(writer.acknowledged)
        pod.wait_for(current_lsn(server), 600)
        caught_up = time.monotonic() - back
        peak = pod.peak_mib()
        server.kill()
        pod.stop()
    comes_back(server, pod, system, start, workplace, writer.acknowledged)
    assert peak <= 150
    say(minutes=length.minutes, commits_while_away=behind, seconds_to_catch_up=round(caught_up, 1), peak_mib=peak)
