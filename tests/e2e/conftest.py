"""The installation that all end-to-end tests share, and namespaces of their own in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.length import MOMENTS, Length, full_length
from support.stack import Stack, bring_up
from support.stackplace import Place

# The files that take longest, the longest first: one that is begun last goes on alone at the end.
LONGEST = (
    "test_never_a_false_success",
    "test_nothing_good_is_lost",
    "test_drills_harm_nothing",
    "test_patroni",
    "test_drills_fail",
    "test_failover",
    "test_main_job",
    "test_mariadb",
    "test_measured",
    "test_disaster",
    "test_quiet_copies",
    "test_rds",
    "test_restore_by_hand",
    "test_mariadb_failover",
    "test_log_under_stress",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files forward."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def stack(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The operator from its chart, an S3 server, PostgreSQL 15 and 18. It stays, like the cluster."""
    # Test processes that run side by side have this folder in common; the first brings up what the others find.
    with (tmp_path_factory.getbasetemp().parent / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return bring_up(cluster)


@pytest.fixture(scope="session")
def length() -> Length:
    """How long outages go on; `hack/test soak` asks for the full length."""
    return full_length() if os.environ.get("SOAK") else MOMENTS


@pytest.fixture(scope="module")
def place(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A furnished namespace for the tests of one module; gone afterwards."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-").removeprefix("test-")
    place = Place(stack, f"e2e-{name}")
    stack.kubectl("delete", "namespace", place.namespace, "--ignore-not-found", "--timeout=180s")
    place.furnish()
    yield place
    stack.kubectl("delete", "namespace", place.namespace, "--wait=false")
