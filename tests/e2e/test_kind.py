"""Where Docker answers, pytest-kind's cluster stands behind the same fixture as the bare one."""

from __future__ import annotations

import pytest
from hack.cluster.kind import docker_answers

from support.cluster import kind_cluster

pytestmark = pytest.mark.e2e


def test_pytest_kind_makes_a_cluster_that_the_tests_can_use(request: pytest.FixtureRequest) -> None:
    if not docker_answers():
        pytest.skip("no Docker daemon answers (`docker info`): pytest-kind can make no cluster here")
    cluster = kind_cluster(request)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
    assert cluster.environment["DATABOSUN_HOST"]
