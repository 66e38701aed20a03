"""Two clusters on one machine do not know of each other."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial

import pytest

from cluster import workload
from cluster.handle import LIMIT, Cluster, eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def pair(new_cluster: Callable[[str], Cluster], base_image: str) -> tuple[Cluster, Cluster]:
    """Two clusters brought up at the same time, each with a server of the same name."""
    clusters = (new_cluster("left"), new_cluster("right"))
    starts = [
        subprocess.Popen(one.command("up"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for one in clusters
    ]
    for start in starts:
        output = start.communicate(timeout=LIMIT)[0]
        assert start.returncode == 0, output
    for one in clusters:
        one.run("load", base_image)
        one.kubectl("apply", "-f-", manifest=workload.server("answer", base_image, f"the {one.name} one"))
        one.kubectl("apply", "-f-", manifest=workload.client("client", base_image))
        one.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/answer", "pod/client")
    return clusters


def _answers(cluster: Cluster, host: str) -> bool:
    said = cluster.kubectl("exec", "client", "--", *workload.ask(host), check=False)
    return said.strip() == f"the {cluster.name} one"


def test_pods_reach_their_own_service_by_name(pair: tuple[Cluster, Cluster]) -> None:
    for one in pair:
        for host in ("answer", "answer.default.svc.cluster.local"):
            eventually(partial(_answers, one, host), f"{one.name} answers to {host}")


def test_a_pod_reaches_itself_through_its_service(pair: tuple[Cluster, Cluster]) -> None:
    said = pair[0].kubectl("exec", "answer", "--", *workload.ask("answer.default.svc"))
    assert said.strip() == f"the {pair[0].name} one"


def test_pods_reach_the_api_server(pair: tuple[Cluster, Cluster]) -> None:
    for one in pair:
        one.kubectl("exec", "client", "--", "bash", "-c", "exec 3<>/dev/tcp/kubernetes.default/443")


def test_the_host_reaches_pods_and_services(pair: tuple[Cluster, Cluster]) -> None:
    for one in pair:
        for address in (
            one.get("service", "answer")["spec"]["clusterIP"] + "/80",
            one.get("pod", "answer")["status"]["podIP"] + "/8080",
        ):
            said = subprocess.run(
                ["bash", "-c", f"cat < /dev/tcp/{address}"], capture_output=True, text=True, timeout=60
            )
            assert said.stdout.strip() == f"the {one.name} one"


def test_a_name_outside_the_cluster_does_not_exist(pair: tuple[Cluster, Cluster]) -> None:
    said = pair[0].kubectl("exec", "client", "--", "bash", "-c", "getent hosts db.example.com || echo exit $?")
    assert said.strip() == "exit 2"


def test_pods_have_no_way_out_of_the_machine(pair: tuple[Cluster, Cluster]) -> None:
    said = pair[0].kubectl("exec", "client", "--", "bash", "-c", "(echo > /dev/tcp/192.0.2.1/80) 2>&1 || true")
    assert "Network is unreachable" in said


def test_an_image_is_loaded_once(pair: tuple[Cluster, Cluster], base_image: str) -> None:
    assert "is on the node already" in pair[0].run("load", base_image).stderr


def test_taking_one_down_leaves_the_other_alone(pair: tuple[Cluster, Cluster]) -> None:
    left, right = pair
    address = right.get("service", "answer")["spec"]["clusterIP"]
    left.run("down")
    assert left.run("status", check=False).returncode == 3
    assert right.run("status").returncode == 0
    assert right.kubectl("exec", "client", "--", *workload.ask(address)).strip() == f"the {right.name} one"
