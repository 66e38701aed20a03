"""A real cluster, used as a person does: with kubectl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hack import golang
from hack.cluster.kind import KIND, NODE_IMAGE, Kind, docker_answers

CLUSTER = Path(__file__).resolve().parents[2] / "hack" / "cluster" / "cluster"
NAME = "test"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster. `environment` is that of a shell which is set up to use it."""

    kubeconfig: Path
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> None:
        """Do something to the cluster itself, such as `kubelet stop`; only to one that hack/cluster made."""
        name = self.environment.get("CLUSTER_NAME", NAME)
        server = ["kubectl", "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]
        mine, named = (
            subprocess.run(server, env={**self.environment, "KUBECONFIG": at}, capture_output=True, text=True).stdout
            for at in (str(self.kubeconfig), _environment(name)["KUBECONFIG"])
        )
        assert mine == named, f"KUBECONFIG is not that of cluster {name}: set CLUSTER_NAME to the cluster's name"
        subprocess.run([CLUSTER, *arguments, "--name", name], check=True, timeout=300)

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end; fails the test, with kubectl's own words, where it fails and `check`."""
        done = subprocess.run(
            ["kubectl", *arguments], input=input, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done


def find_cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of KUBECONFIG where set, else one for tests: of pytest-kind where Docker answers, else bare."""
    environment = dict(os.environ)
    if "KUBECONFIG" not in environment:
        if docker_answers():
            return kind_cluster(request)
        subprocess.run([CLUSTER, "up", "--name", NAME], check=True, timeout=1800)
        environment = _environment(NAME)
    return Cluster(Path(environment["KUBECONFIG"]), environment)


def kind_cluster(request: pytest.FixtureRequest) -> Cluster:
    """pytest-kind's cluster, made with the pinned `kind`, which is built here: pytest-kind would download one."""
    request.config.option.kind_bin = str(golang.install(*KIND))
    request.config.option.kind_image = NODE_IMAGE
    made = request.getfixturevalue("kind_cluster")
    kubeconfig = made.kubeconfig_path.resolve()
    reach = Kind(made.name).env()
    path = f"{reach['PATH']}:{os.environ['PATH']}"
    name = {"CLUSTER_NAME": made.name, "KUBECONFIG": str(kubeconfig)}
    return Cluster(kubeconfig, {**os.environ, **reach, "PATH": path, **name})


def _environment(name: str) -> dict[str, str]:
    """The environment that the cluster's own line makes in a shell."""
    script = 'eval "$("$0" env --name "$1")" && exec env -0'
    done = subprocess.run(["bash", "-c", script, CLUSTER, name], capture_output=True, text=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
