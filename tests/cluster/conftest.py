"""Clusters of the tests' own, next to whatever other clusters this machine runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cluster.handle import BASE_IMAGE, HACK, LIMIT, Cluster


@pytest.fixture(scope="session")
def base_image() -> str:
    """A local Debian image, made once for this machine."""
    done = subprocess.run([HACK / "images" / "base"], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == BASE_IMAGE
    return BASE_IMAGE


@pytest.fixture(scope="module")
def new_cluster(worker_id: str) -> Iterator[Callable[[str], Cluster]]:
    """Return clusters by name; what an earlier, killed test run left of them is removed before, and all of it after."""
    with ExitStack() as stack:

        def make(name: str) -> Cluster:
            cluster = Cluster(f"test-{name}-{worker_id}")
            cluster.run("down")
            stack.callback(cluster.run, "down")
            return cluster

        yield make
