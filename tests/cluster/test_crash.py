"""A cluster comes back over whatever an interrupted command or a power cut left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cluster import workload
from cluster.handle import Cluster, eventually

pytestmark = pytest.mark.cluster

DAEMONS = (
    "api-forward",
    "containerd",
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)


@pytest.fixture(scope="module")
def cluster(new_cluster: Callable[[str], Cluster]) -> Cluster:
    return new_cluster("crash")


def _daemons(cluster: Cluster) -> list[str]:
    """Return the programs of the cluster's daemons, each as often as it runs."""
    programs = [line.split()[0].rpartition("/")[2] for line in cluster.processes().values() if line]
    return sorted(program for program in programs if program in DAEMONS)


def test_up_after_up_was_killed_again_and_again(cluster: Cluster) -> None:
    for line in (
        "making the certificate of scheduler",
        "making the network",
        "starting containerd",
        "starting kube-apiserver",
        "starting kube-proxy",
    ):
        cluster.killed_at(line)
    cluster.run("up")
    assert _daemons(cluster) == sorted(DAEMONS)
    assert cluster.run("status").returncode == 0
    assert cluster.kubectl("auth", "can-i", "create", "pods").strip() == "yes"


def test_up_over_a_running_cluster_changes_nothing(cluster: Cluster) -> None:
    cluster.run("up")
    before = cluster.processes()
    assert "starting" not in cluster.run("up").stderr
    assert {pid for pid, line in before.items() if "shim" not in line} <= cluster.processes().keys()


@pytest.mark.parametrize("spared", [False, True], ids=["everything-killed", "containers-spared"])
def test_objects_and_pods_after_a_power_cut(cluster: Cluster, base_image: str, spared: bool) -> None:
    cluster.run("up")
    cluster.run("load", base_image)
    cluster.kubectl("apply", "-f-", manifest=workload.server("survivor", base_image, "alive"))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/survivor")
    before = cluster.get("pod", "survivor")

    cluster.run("kill", *(["--keep-containers"] if spared else []))
    assert _daemons(cluster) == []
    assert any("perl" in line for line in cluster.processes().values()) is spared
    cluster.run("up")

    def answers() -> bool:
        return (
            cluster.kubectl("exec", "survivor", "--", *workload.ask("survivor.default.svc"), check=False).strip()
            == "alive"
        )

    eventually(answers, "the Service answers again")
    after = cluster.get("pod", "survivor")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    same = (
        after["status"]["containerStatuses"][0]["containerID"]
        == before["status"]["containerStatuses"][0]["containerID"]
    )
    assert same is spared


def test_a_frozen_node_goes_on_working(cluster: Cluster, base_image: str) -> None:
    cluster.run("up")
    cluster.run("load", base_image)
    cluster.kubectl("apply", "-f-", manifest=workload.server("frozen", base_image, "alive"))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/frozen")
    running = {pid for pid, line in cluster.processes().items() if "perl" in line}
    cluster.run("kubelet", "stop")
    assert "kubelet" not in _daemons(cluster)
    assert cluster.run("status", check=False).returncode == 3
    assert running <= cluster.processes().keys()
    cluster.run("kubelet", "start")
    assert cluster.run("status").returncode == 0
    assert running <= cluster.processes().keys()


def test_down_ends_processes_whose_records_are_lost(cluster: Cluster) -> None:
    cluster.run("up")
    for record in (cluster.home / "processes").iterdir():
        record.unlink()
    assert _daemons(cluster) == sorted(DAEMONS)
    cluster.run("down")
    assert cluster.processes() == {}
    assert "there is no cluster" in cluster.run("env", check=False).stderr
