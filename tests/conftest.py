"""What all tests share: the cluster they run against, and a namespace of one's own in it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from http.client import CONFLICT
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from kubernetes import config
from kubernetes.client import ApiException, CoreV1Api, V1Namespace, V1ObjectMeta, V1ServiceAccount

from databosun.api.v1alpha1.crd import crds_yaml
from support.cluster import Cluster, find_cluster
from support.servedkinds import served

# How long an example takes says nothing about the code on a busy machine.
settings.register_profile("databosun", deadline=None)
settings.load_profile("databosun")

CRDS = {name.removesuffix(".yaml"): text for name, text in crds_yaml().items()}


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of KUBECONFIG where that is set, else one for tests, brought up where it is not up yet."""
    return find_cluster(request)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Path:
    """A folder that all workers of this run share, and no other run."""
    folder = tmp_path_factory.getbasetemp().parent / f"run-{testrun_uid}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def kinds(cluster: Cluster, run_folder: Path) -> Iterator[Cluster]:
    """The cluster with today's CRDs, served. Those that were not there before go with the last worker's tests."""
    with served(cluster, list(CRDS), "---\n".join(CRDS.values()), run_folder / "kinds") as cluster:
        yield cluster


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
        _give_account(namespaces, made[-1])
        return made[-1]

    yield make
    for name in made:
        namespaces.delete_namespace(name)


def _give_account(api: CoreV1Api, namespace: str) -> None:
    """The account that pods need to be let in, which a controller of the cluster makes when it comes to it."""
    try:
        api.create_namespaced_service_account(namespace, V1ServiceAccount(metadata=V1ObjectMeta(name="default")))
    except ApiException as error:
        if error.status != CONFLICT:
            raise


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
