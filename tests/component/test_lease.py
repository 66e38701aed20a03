"""The Lease on a real API server: a holder that is killed, cut off, or whose clock jumps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from databosun.kube.client import KubeClient
from databosun.kube.lease import KubeLease
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from databosun.runtime.clock import SystemClock
from databosun.runtime.leader import Leader, LeaseLost
from support import contender
from support.cluster import Cluster
from support.contender import QUICK
from support.tcpproxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.api

LIMIT = 60.0
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

    async def says(self, word: str) -> float:
        """Wait until it says this and nothing else before; give when."""
        assert self._child is not None
        assert self._child.stdout is not None
        line = await asyncio.wait_for(self._child.stdout.readline(), LIMIT)
        assert line.decode().strip() == word
        return time.monotonic()

    async def end(self, signum: signal.Signals) -> float:
        """Send a signal, wait for the end; give when it was sent."""
        assert self._child is not None
        sent = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signum)
        await asyncio.wait_for(self._child.wait(), LIMIT)
        return sent


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
    killed = await first.end(signal.SIGKILL)
    began = await second.says("leading")
    assert began - killed > QUICK.duration - QUICK.renew_every - 1
    spec = await asyncio.to_thread(lease, cluster, namespace)
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
    first, first_client = contender.leader(through_proxy, namespace, "first")
    second, second_client = contender.leader(str(cluster.kubeconfig), namespace, "second")
    waiting: asyncio.Future[None] | None = None
    try:
        await asyncio.wait_for(first.acquire(), LIMIT)
        holding = asyncio.ensure_future(first.hold())
        waiting = asyncio.ensure_future(second.acquire())
        first.assert_fresh()
        assert proxy.connections > 0
        proxy.freeze()
        done, _ = await asyncio.wait({holding, waiting}, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        assert done == {holding}, "the second began while the first still acted"
        with pytest.raises(LeaseLost):
            holding.result()
        assert not first.leading
        await asyncio.wait_for(waiting, LIMIT)
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


class Jumping(SystemClock):
    """A machine whose wall clock is set while it runs."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.off


@pytest.mark.parametrize("jump", [timedelta(days=-30), timedelta(days=30)])
async def test_a_jump_of_the_holders_clock_changes_no_leader(cluster: Cluster, namespace: str, jump: timedelta) -> None:
    clock = Jumping()
    settings = TransportSettings(threads=2, connect_timeout=5, read_timeout=5, total_timeout=5)
    client = KubeClient(Transport(load_configuration(str(cluster.kubeconfig)), settings))
    port = KubeLease(client, namespace, "tests")
    first = Leader(port, "first", clock, QUICK)
    second, second_client = contender.leader(str(cluster.kubeconfig), namespace, "second")
    try:
        await first.acquire()
        holding, waiting = asyncio.ensure_future(first.hold()), asyncio.ensure_future(second.acquire())
        clock.off = jump
        before = await port.read()
        assert before is not None
        # Long enough for the second to have taken over, did it believe that the first is gone.
        done, _ = await asyncio.wait({holding, waiting}, timeout=QUICK.duration * 1.5)
        assert not done
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
