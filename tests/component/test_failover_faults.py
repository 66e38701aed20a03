"""Faults that Chaos Mesh does, on an API server that serves its kinds by their recorded schemas; what it would do and
say is played. The orders themselves, and all that may go wrong with them, are in tests/unit/controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from databosun.kube.resources import NETWORK_CHAOS, POD_CHAOS, Resource
from support.cluster import Cluster
from support.failoveracts import answer, begin, member, members, told
from support.operator import Rig
from support.operatordriver import Driver
from support.pgserver import ROOT
from support.servedkinds import served

pytestmark = pytest.mark.api

CRDS = ROOT / "tests/support/crds/chaos-mesh.yaml"
RECORD = {"id": "x", "selectorKey": ".", "phase": "Injected", "injectedCount": 1, "recoveredCount": 0}


@pytest.fixture(scope="module")
def mesh(kinds: Cluster, run_folder: Path) -> Iterator[Cluster]:
    """A server of Chaos Mesh's kinds."""
    names = [one.qualified for one in (NETWORK_CHAOS, POD_CHAOS)]
    with served(kinds, names, CRDS.read_text(), run_folder / "mesh") as cluster:
        yield cluster


@pytest_asyncio.fixture
async def drive(mesh: Cluster, namespace: str) -> AsyncIterator[Driver]:
    rig = Rig(mesh.kubeconfig, namespace)
    yield Driver(rig)
    await rig.close()


@pytest.mark.parametrize(
    ("resource", "fault", "spec"),
    [
        (NETWORK_CHAOS, {"kind": "NetworkPartition", "duration": "2m"}, {"action": "partition", "duration": "120s"}),
        (POD_CHAOS, {"kind": "ContainerKill"}, {"action": "container-kill", "containerNames": ["postgresql"]}),
    ],
    ids=["NetworkPartition", "ContainerKill"],
)
async def test_its_kinds_take_what_they_are_told_and_what_they_say_is_understood(
    drive: Driver, mesh: Cluster, resource: Resource, fault: dict[str, Any], spec: dict[str, Any]
) -> None:
    rig, kube = drive.rig, drive.rig.kube
    # What is owned by nobody that is there, the cluster collects; its controllers leave a ConfigMap alone.
    mesh.kubectl("create", "configmap", "-n", rig.namespace, "orders")
    uid = mesh.kubectl("get", "configmap", "-n", rig.namespace, "orders", "-o", "jsonpath={.metadata.uid}").stdout
    pod = member("n1", rig.namespace, {"apiVersion": "v1", "kind": "ConfigMap", "name": "orders", "uid": uid})
    await begin(drive, pod, mode="FaultInjection", fault=fault)

    async def ordered() -> bool:
        return bool([one async for one in kube.list(resource, rig.namespace)])

    await drive.until(ordered)
    (body,) = [one async for one in kube.list(resource, rig.namespace)]
    assert body["spec"] | spec == body["spec"]
    status = {"experiment": {"desiredPhase": "Run", "containerRecords": [RECORD]}}
    await kube.replace(resource, rig.namespace, body["metadata"]["name"], body | {"status": status})
    assert (await answer(drive))["done"] is True
    assert told(drive, "FaultDone")
    assert len(await members(drive)) == 1
