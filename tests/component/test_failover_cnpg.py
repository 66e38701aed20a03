"""CloudNativePG's Cluster on an API server that serves it by its recorded schema: it takes what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databosun.kube.resources import CNPG_CLUSTERS
from support.cluster import Cluster
from support.failoveracts import answer, begin_cnpg, member
from support.operator import Rig
from support.operatordriver import Driver
from support.pgserver import ROOT
from support.servedkinds import served

pytestmark = pytest.mark.api

CRD = ROOT / "tests/support/crds/cloudnative-pg.yaml"


@pytest.fixture
def cnpg(kinds: Cluster, run_folder: Path) -> Iterator[Cluster]:
    """A server of that kind."""
    with served(kinds, [CNPG_CLUSTERS.qualified], CRD.read_text(), run_folder / "cnpg") as cluster:
        yield cluster


async def test_it_is_told_who_is_to_lead_as_its_own_plugin_tells_it(cnpg: Cluster, namespace: str) -> None:
    rig = Rig(cnpg.kubeconfig, namespace)
    try:
        drive = Driver(rig)
        # What is owned by nobody that is there, the cluster collects; its controllers leave a ConfigMap alone.
        cnpg.kubectl("create", "configmap", "-n", namespace, "orders")
        uid = cnpg.kubectl("get", "configmap", "-n", namespace, "orders", "-o", "jsonpath={.metadata.uid}").stdout
        pod = member("n1", namespace, {"apiVersion": "v1", "kind": "ConfigMap", "name": "orders", "uid": uid})
        await begin_cnpg(drive, pod)
        assert (await answer(drive))["done"] is True
        body = await rig.kube.get(CNPG_CLUSTERS, namespace, "pay")
        assert body is not None
        status = body["status"]
        assert (status["currentPrimary"], status["targetPrimary"]) == ("n1", "n2")
        assert (status["phase"], status["phaseReason"]) == ("Switchover in progress", "Switching over to n2")
        assert status["targetPrimaryTimestamp"].endswith("Z")
        assert (status["readyInstances"], status["instanceNames"]) == (2, ["n1", "n2"])
    finally:
        await rig.close()
