"""The Lease on a real API server: a holder that is killed, cut off, or whose clock jumps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from databosun.kube.client import KubeClient
from databosun.kube.lease import KubeLease
from databosun.kube.transport import Transport, load_configuration
from databosun.runtime.clock import Clock, SystemClock
from databosun.runtime.leader import Leader, LeaseLost
from support import contender
from support.cluster import Cluster
from support.contender import QUICK
from support.steppedclock import Sleepers
from support.tcpproxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.api

LIMIT = 60.0
STEP = timedelta(seconds=QUICK.renew_every)
ROOT = Path(__file__).resolve().parents[2]


def lease(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The Lease's spec, as kubectl sees it."""
    text = cluster.kubectl("--namespace", namespace, "get", "lease", "tests", "--output=json").stdout
    spec: dict[str, Any] = json.loads(text)["spec"]
    return spec


class Process:
    """A contender in a process of its own."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._arguments = (str(cluster.kubeconfig), namespace, name)
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT / 'tests'}"}
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "support.contender", *self._arguments, stdout=asyncio.subprocess.PIPE, env=environment
        )

    async def says(self, word: str) -> None:
        """Wait until it says this and nothing else before."""
        assert self._child is not None
        assert self._child.stdout is not None
        line = await asyncio.wait_for(self._child.stdout.readline(), LIMIT)
        assert line.decode().strip() == word

    async def end(self, signum: signal.Signals) -> None:
        """Send a signal, wait for the end."""
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signum)
        await asyncio.wait_for(self._child.wait(), LIMIT)


@pytest.fixture
async def pair(cluster: Cluster, namespace: str) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes; the first leads, the second waits."""
    first, second = Process(cluster, namespace, "first"), Process(cluster, namespace, "second")
    await first.start()
    await first.says("leading")
    await second.start()
    yield first, second
    for one in (first, second):
        await one.end(signal.SIGKILL)


async def test_a_killed_holder_is_followed_once_its_lease_has_run_out(
    pair: tuple[Process, Process], cluster: Cluster, namespace: str
) -> None:
    first, second = pair
    await asyncio.to_thread(_until_renewed, cluster, namespace)
    await first.end(signal.SIGKILL)
    left = await asyncio.to_thread(lease, cluster, namespace)
    assert left["holderIdentity"].startswith("first_")
    await second.says("leading")
    spec = await asyncio.to_thread(lease, cluster, namespace)
    # By what the two wrote: how long this test took to kill and to hear of it is another matter.
    renewed, acquired = (datetime.fromisoformat(one) for one in (left["renewTime"], spec["acquireTime"]))
    assert acquired - renewed > timedelta(seconds=QUICK.duration)
    assert spec["holderIdentity"].startswith("second_")
    assert spec["leaseTransitions"] == 1


async def test_a_holder_that_ends_cleanly_is_followed_at_once(
    pair: tuple[Process, Process], cluster: Cluster, namespace: str
) -> None:
    first, second = pair
    await first.end(signal.SIGTERM)
    spec = await asyncio.to_thread(lease, cluster, namespace)
    assert not spec.get("holderIdentity", "").startswith("first_")
    await second.says("leading")
    spec = await asyncio.to_thread(lease, cluster, namespace)
    assert spec["holderIdentity"].startswith("second_")
    assert spec["leaseDurationSeconds"] == QUICK.duration


def _until_renewed(cluster: Cluster, namespace: str) -> None:
    """Return once the holder has renewed: what is killed then was alive."""
    begin = lease(cluster, namespace)["renewTime"]
    limit = time.monotonic() + LIMIT
    while lease(cluster, namespace)["renewTime"] == begin:
        assert time.monotonic() < limit


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[TcpProxy]:
    """The way of one contender to the API server."""
    server = urlsplit(load_configuration(str(cluster.kubeconfig)).host)
    async with tcp_proxy(str(server.hostname), int(server.port or 443)) as one:
        yield one


@pytest.fixture
def through_proxy(cluster: Cluster, proxy: TcpProxy, tmp_path: Path) -> str:
    """A kubeconfig that leads through the proxy."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for entry in config["clusters"]:
        host = urlsplit(entry["cluster"]["server"]).hostname
        entry["cluster"] |= {"server": f"https://127.0.0.1:{proxy.port}", "tls-server-name": host}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def test_a_holder_that_is_cut_off_stops_before_the_next_one_starts(
    cluster: Cluster, namespace: str, proxy: TcpProxy, through_proxy: str
) -> None:
    clock = Sleepers()
    # So patient that its renewal hangs as long as the test wants, and does not fail.
    first, first_client = contender.leader(through_proxy, namespace, "first", clock, patience=LIMIT)
    second, second_client = contender.leader(str(cluster.kubeconfig), namespace, "second", clock, patience=LIMIT)
    waiting: asyncio.Future[None] | None = None
    try:
        await asyncio.wait_for(first.acquire(), LIMIT)
        holding = asyncio.ensure_future(first.hold())
        waiting = asyncio.ensure_future(second.acquire())
        await asyncio.wait_for(clock.asleep(2), LIMIT)
        first.assert_fresh()
        assert proxy.connections > 0
        proxy.freeze()
        while not holding.done():
            clock.advance(STEP)
            await asyncio.wait_for(clock.asleep(1), LIMIT)
            assert not waiting.done(), "the second began while the first still acted"
        with pytest.raises(LeaseLost):
            holding.result()
        assert not first.leading
        while not waiting.done():
            clock.advance(STEP)
            await asyncio.wait_for(_either(waiting, clock.asleep(1)), LIMIT)
        waiting.result()
        second.assert_fresh()
        proxy.thaw()
        await first.release()
        spec = await asyncio.to_thread(lease, cluster, namespace)
        assert spec["holderIdentity"] == second.identity
    finally:
        if waiting is not None:
            waiting.cancel()
        first_client.close()
        second_client.close()


async def _either(done: asyncio.Future[None], waits: Coroutine[Any, Any, None]) -> None:
    """Return once one of the two is over."""
    other = asyncio.ensure_future(waits)
    await asyncio.wait({done, other}, return_when=asyncio.FIRST_COMPLETED)
    other.cancel()


class Jumping:
    """A machine whose wall clock is set while it runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.off = timedelta(0)
        self.monotonic, self.sleep, self.wait = clock.monotonic, clock.sleep, clock.wait

    def now(self) -> datetime:
        """The instant, as it has it."""
        return self._clock.now() + self.off


@pytest.mark.parametrize("jump", [timedelta(days=-30), timedelta(days=30)])
async def test_a_jump_of_the_holders_clock_changes_no_leader(cluster: Cluster, namespace: str, jump: timedelta) -> None:
    shared = Sleepers()
    clock = Jumping(shared)
    first, client = contender.leader(str(cluster.kubeconfig), namespace, "first", clock, patience=LIMIT)
    second, second_client = contender.leader(str(cluster.kubeconfig), namespace, "second", shared, patience=LIMIT)
    port = KubeLease(client, namespace, "tests")
    try:
        await first.acquire()
        holding, waiting = asyncio.ensure_future(first.hold()), asyncio.ensure_future(second.acquire())
        await asyncio.wait_for(shared.asleep(2), LIMIT)
        clock.off = jump
        # Long enough for the second to have taken over, did it believe that the first is gone.
        for _ in range(int(QUICK.duration * 1.5 / QUICK.renew_every)):
            shared.advance(STEP)
            await asyncio.wait_for(shared.asleep(2), LIMIT)
            assert not holding.done()
            assert not waiting.done()
        after = await port.read()
        assert after is not None
        assert after.renewed is not None
        assert abs(after.renewed - clock.now()) < timedelta(minutes=1)
        first.assert_fresh()
        holding.cancel()
        waiting.cancel()
        await first.release()
    finally:
        client.close()
        second_client.close()


async def test_a_lease_on_the_full_second_is_accepted(cluster: Cluster, namespace: str) -> None:
    """The official client's own models write such a time without its digits, which the API server refuses."""

    class OnTheSecond(SystemClock):
        def now(self) -> datetime:
            return super().now().replace(microsecond=0)

    client = KubeClient(Transport(load_configuration(str(cluster.kubeconfig))))
    try:
        one = Leader(KubeLease(client, namespace, "tests"), "first", OnTheSecond())
        await asyncio.wait_for(one.acquire(), LIMIT)
        await one.release()
    finally:
        client.close()
    spec = await asyncio.to_thread(lease, cluster, namespace)
    assert spec.get("holderIdentity", "") == ""
    assert spec["renewTime"].endswith(".000000Z")
