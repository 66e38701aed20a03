"""A real cluster, used as a person does: with kubectl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CLUSTER = Path(__file__).resolve().parents[2] / "hack" / "cluster" / "cluster"
NAME = "test"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster. `environment` is that of a shell which is set up to use it."""

    kubeconfig: Path
    environment: Mapping[str, str]

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end; fails the test, with kubectl's own words, where it fails and `check`."""
        done = subprocess.run(
            ["kubectl", *arguments], input=input, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done


def find_cluster() -> Cluster:
    """The cluster of KUBECONFIG where that is set, else one for tests, brought up where it is not up yet."""
    environment = dict(os.environ)
    if "KUBECONFIG" not in environment:
        subprocess.run([CLUSTER, "up", "--name", NAME], check=True)
        environment = _environment()
    return Cluster(Path(environment["KUBECONFIG"]), environment)


def _environment() -> dict[str, str]:
    """The environment that the cluster's own line makes in a shell."""
    script = 'eval "$("$0" env --name "$1")" && exec env -0'
    done = subprocess.run(["bash", "-c", script, CLUSTER, NAME], capture_output=True, text=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
