"""What all tests share: the cluster they run against, and a namespace of one's own in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, find_cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of KUBECONFIG where that is set, else one for tests, brought up where it is not up yet."""
    return find_cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace; deleted after the test, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
