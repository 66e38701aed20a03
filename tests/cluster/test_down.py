"""Taking a cluster down leaves nothing of it on the machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import workload
from cluster.handle import Cluster

pytestmark = pytest.mark.cluster


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _traces(name: str, home: Path, network: str) -> dict[str, list[str]]:
    """Return everything on the machine that belongs to the cluster, by kind."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    lines = {file: file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.parent.exists()}
    links = json.loads(_output("ip", "-json", "link", "show"))
    return {
        "processes": [str(file) for file, line in lines.items() if str(home).encode() in line],
        "mounts": [line for line in mounts if str(home) in line or f"databosun-{name}" in line],
        "links": [link["ifname"] for link in links if link["ifname"] == f"bosun{network.split('.')[1]}"],
        "routes": [line for line in _output("ip", "route", "show", "table", "all").splitlines() if network in line],
        "namespaces": [line for line in _output("ip", "netns", "list").splitlines() if f"databosun-{name}" in line],
        "rules": [line for line in _output("iptables-save").splitlines() if network in line],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/databosun-{name}")],
        "leases": [str(path) for path in Path("/var/lib/cni").glob(f"**/databosun-{name}*")],
        "logs": [str(path) for path in Path("/var/log/containers").glob("*") if home in path.readlink().parents],
        "files": [str(home)] if home.exists() else [],
    }


@pytest.mark.parametrize("crashed", [False, True], ids=["running", "after-a-crash"])
def test_down_leaves_nothing(new_cluster: Callable[[str], Cluster], base_image: str, crashed: bool) -> None:
    cluster = new_cluster("traces")
    rules_before = _output("iptables-save")
    cluster.run("up")
    cluster.run("load", base_image)
    cluster.kubectl("apply", "-f-", manifest=workload.server("answer", base_image, "alive"))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/answer")
    home, network = cluster.home, cluster.env()["DATABOSUN_HOST"].removesuffix("255.1")
    addresses = [path.read_text().strip() for path in home.glob("**/address")]
    present = _traces(cluster.name, home, network)
    expected = {"processes", "mounts", "links", "routes", "namespaces", "cgroups", "leases", "logs", "files"}
    assert {kind for kind, found in present.items() if found} == expected  # so that an empty list below means something
    assert addresses
    if crashed:
        cluster.run("kill")
        cluster.run("up")
        cluster.run("kill")
    cluster.run("down")
    assert _traces(cluster.name, home, network) == {kind: [] for kind in present}
    assert not [address for address in addresses if Path(address.removeprefix("unix://")).exists()]
    assert _without_counters(_output("iptables-save")) == _without_counters(rules_before)


def _without_counters(rules: str) -> list[str]:
    return [line.partition(" [")[0] for line in rules.splitlines() if not line.startswith("#")]


def test_down_without_a_cluster_is_no_error(new_cluster: Callable[[str], Cluster]) -> None:
    cluster = new_cluster("none")
    assert cluster.run("down").stdout == ""
    refused = cluster.run("load", "localhost/some:image", check=False)
    assert refused.returncode == 1
    assert f"there is no cluster {cluster.name}; bring it up with:" in refused.stderr


@pytest.mark.parametrize("name", ["Upper", "-dash", "a/b", "x" * 31, "end-"])
def test_a_bad_name_is_refused(name: str) -> None:
    refused = Cluster(name).run("up", check=False)
    assert refused.returncode == 1
    assert "is no name for a cluster" in refused.stderr
