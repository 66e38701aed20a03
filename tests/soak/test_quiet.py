"""An operator with nothing to do writes nothing: every object keeps its resourceVersion, however often it looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.operator_scale import Process, clean, finished, operator, policies, prepare, settled
from databosun.kube.client import KubeClient
from databosun.kube.resources import OWN_KINDS
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from support.cluster import Cluster
from support.length import Length

pytestmark = [pytest.mark.soak, pytest.mark.api]
# Shorter than in an installation, so that many of them come in ten minutes.
RESYNC = {"DATABOSUN_RESYNC": "30s"}


@pytest.fixture
def kube(kinds: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeClient]:
    monkeypatch.setenv("KUBECONFIG", str(kinds.kubeconfig))
    client = KubeClient(
        Transport(
            load_configuration(str(kinds.kubeconfig)),
            TransportSettings(threads=10, read_timeout=300, total_timeout=600),
        )
    )
    yield client
    asyncio.run(clean(client))
    client.close()


async def furnish(kube: KubeClient, count: int) -> None:
    """Databases and storages that are looked at, policies, and a finished backup of each."""
    await prepare(kube, count)
    await policies(kube, count, "0 2 1 1 *")
    await finished(kube, count)


async def versions(kube: KubeClient) -> dict[tuple[str, str, str], str]:
    """The resourceVersion of every object of ours."""
    return {
        (resource.kind, body["metadata"]["namespace"], body["metadata"]["name"]): body["metadata"]["resourceVersion"]
        for resource in OWN_KINDS
        async for body in kube.list_metadata(resource, None)
    }


def at_rest(process: Process, count: int) -> None:
    process.until(settled(process, {"BackupPolicy": count, "Database": count}), 300)


def test_minutes_of_rest_without_a_write(
    kube: KubeClient, tmp_path: Path, length: Length, say: Callable[..., None]
) -> None:
    asyncio.run(furnish(kube, length.policies))
    log = tmp_path / "operator.log"
    with operator(log, RESYNC) as process:
        at_rest(process, length.policies)
    before = asyncio.run(versions(kube))
    assert sum(kind == "BackupPolicy" for kind, _, _ in before) >= length.policies
    # A new process knows nothing, so it looks at everything again before it comes to rest.
    with operator(log, RESYNC) as process:
        at_rest(process, length.policies)
        begun, cpu = time.monotonic(), process.cpu()
        time.sleep(60 * length.minutes)
        busy = (process.cpu() - cpu) / (time.monotonic() - begun)
        page = process.get("/metrics") or ""
    after = asyncio.run(versions(kube))
    assert {at: version for at, version in after.items() if before.get(at) != version} == {}
    assert after == before
    say(minutes=length.minutes, objects=len(after), writes=process.writes(page), cpu_percent=round(100 * busy, 2))
    assert process.writes(page) == 0, log.read_text()[-4000:]
