"""Namespaces of an API server that knows Databosun's kinds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kubernetes.client import CoreV1Api, CustomObjectsApi, V1Namespace, V1ObjectMeta

from crd.objects import good_objects
from crd.server import Server, Stored
from support.cluster import Cluster


@pytest.fixture(scope="session")
def server(kinds: Cluster, namespaces: CoreV1Api) -> Iterator[Server]:
    """Quick calls, in a namespace that stays empty."""
    with _namespace(namespaces) as server:
        yield server


@pytest.fixture(scope="session")
def stored(kinds: Cluster, namespaces: CoreV1Api) -> Iterator[Stored]:
    """A namespace with every good object in it."""
    with _namespace(namespaces) as server:
        objects = [server.create(one, dry_run=False) for one in good_objects()]
        yield Stored(server, {(one["kind"], one["metadata"]["name"]): one for one in objects})


@contextmanager
def _namespace(namespaces: CoreV1Api) -> Iterator[Server]:
    name = f"crd-{uuid.uuid4().hex[:12]}"
    namespaces.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)))
    yield Server(CustomObjectsApi(namespaces.api_client), name)
    namespaces.delete_namespace(name)
