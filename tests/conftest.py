"""What all tests share: the cluster they run against, and a namespace of one's own in it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from typing import Any, TextIO

import pytest
from hypothesis import settings
from kubernetes import config
from kubernetes.client import CoreV1Api, V1Namespace, V1ObjectMeta

from databosun.api.v1alpha1.crd import crds_yaml
from support.cluster import Cluster, find_cluster

# How long an example takes says nothing about the code on a busy machine.
settings.register_profile("databosun", deadline=None)
settings.load_profile("databosun")

KIND = "customresourcedefinition.apiextensions.k8s.io"
CRDS = {name.removesuffix(".yaml"): text for name, text in crds_yaml().items()}


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of KUBECONFIG where that is set, else one for tests, brought up where it is not up yet."""
    return find_cluster(request)


@pytest.fixture(scope="session")
def kinds(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Iterator[Cluster]:
    """The cluster with today's CRDs, established. Those that were not there before go with the last worker's tests."""
    names, folder = list(CRDS), tmp_path_factory.getbasetemp().parent
    with (folder / f"kinds-{testrun_uid}").open("a+") as added, (folder / f"users-{testrun_uid}").open("a") as users:
        with locked(added):
            added.seek(0)
            if not (new := added.read().split()):
                before = cluster.kubectl("get", "crd", "-o", "name").stdout.replace(f"{KIND}/", "").split()
                new = [name for name in names if name not in before]
                print(*new, file=added, flush=True)
            manifests = "---\n".join(CRDS.values())
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifests)
            cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", *names)
            cluster.kubectl("get", ",".join(names), "-o", "name")  # established is not yet served: wait for that
            flock(users, LOCK_SH)
        yield cluster
        with locked(added), suppress(BlockingIOError):  # raised where another worker tests on
            flock(users, LOCK_EX | LOCK_NB)
            added.truncate(0)
            if new:
                cluster.kubectl("delete", "crd", "--timeout=120s", *new)


@contextmanager
def locked(file: TextIO) -> Iterator[None]:
    """Alone among the workers that hold this file."""
    flock(file, LOCK_EX)
    try:
        yield
    finally:
        flock(file, LOCK_UN)


@pytest.fixture(scope="session")
def namespaces(cluster: Cluster) -> CoreV1Api:
    """To make and delete namespaces with; kubectl would take ten times as long for it, hundreds of times."""
    return CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))


@pytest.fixture
def new_namespace(namespaces: CoreV1Api) -> Iterator[Callable[[], str]]:
    """Makes fresh namespaces; deleted after the test, without waiting for it."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test-{uuid.uuid4().hex[:12]}")
        namespaces.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=made[-1])))
        return made[-1]

    yield make
    for name in made:
        namespaces.delete_namespace(name)


@pytest.fixture
def namespace(new_namespace: Callable[[], str]) -> str:
    """A fresh namespace; deleted after the test."""
    return new_namespace()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[..., None]:
    """Print figures as one line of JSON, for docs/benchmarks.md."""

    def line(**figures: Any) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: {json.dumps(figures)}")

    return line
