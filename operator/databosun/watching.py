"""Kopf as the source of events: it lists and watches, and tells the intake; nothing else of it is used (ADR 0001)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import kopf

from databosun.controllers.intake import KINDS, OURS, UNFINISHED, Intake
from databosun.kube.port import PAGE
from databosun.kube.resources import DEPLOYMENTS, JOBS, PODS, RUN_KINDS, Resource
from databosun.kube.transport import Endpoint

WORKER_IDLE = 0.05


async def watch(
    endpoint: Callable[[], Endpoint], intake: Intake, namespaces: Sequence[str], stop: asyncio.Event
) -> None:
    """Tell the intake of all objects, and of every change, until `stop`. No namespaces: the whole cluster."""
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = 30
    # Kopf keeps a task and a queue for each object that it has told us of; five seconds of all objects at once are
    # a third of a large installation's memory.
    settings.queueing.idle_timeout = WORKER_IDLE
    settings.persistence.diffbase_storage = _NothingKept()
    settings.persistence.progress_storage = _NoProgress()
    for resource in RUN_KINDS:
        settings.watching.label_selectors[resource.group, resource.plural] = UNFINISHED
    for resource in (JOBS, PODS, DEPLOYMENTS):
        settings.watching.label_selectors[resource.group, resource.plural] = OURS
    kopf.on.login(registry=registry)(_login(endpoint))
    for resource in (*KINDS, *RUN_KINDS, DEPLOYMENTS):
        _subscribe(registry, resource, partial(_take_object, intake, resource.kind))
    for resource in (JOBS, PODS):
        _subscribe(registry, resource, partial(_take_worker, intake, resource.kind))
    await kopf.operator(
        registry=registry,
        settings=settings,
        stop_flag=stop,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )


class _NothingKept(kopf.DiffBaseStorage):
    """Kopf copies each object to compare it with an earlier one, for handlers that we have none of: a third of a busy
    operator's time."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return kopf.BodyEssence({})

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return


class _NoProgress(kopf.ProgressStorage):
    """Of the handlers that we have none of."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        return

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        return

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def _take_object(intake: Intake, kind: str, body: Mapping[str, Any], gone: bool) -> None:
    if gone:
        intake.deleted(kind, body)
    else:
        intake.changed(kind, body)


def _take_worker(intake: Intake, kind: str, body: Mapping[str, Any], gone: bool) -> None:
    intake.worker(kind, body, gone=gone)


def _login(endpoint_of: Callable[[], Endpoint]) -> Callable[..., kopf.ConnectionInfo]:
    """Kopf logs in as the client does; it asks again when a token is refused, so the endpoint is read each time."""

    def login(**_: Any) -> kopf.ConnectionInfo:
        endpoint = endpoint_of()
        scheme, _space, token = (endpoint.authorization or "").partition(" ")
        return kopf.ConnectionInfo(
            server=endpoint.server,
            insecure=not endpoint.verify,
            ca_path=endpoint.ca_file,
            certificate_path=endpoint.certificate_file,
            private_key_path=endpoint.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    return login


def _subscribe(
    registry: kopf.OperatorRegistry, resource: Resource, take: Callable[[Mapping[str, Any], bool], None]
) -> None:
    async def handler(event: Any, **_: Any) -> None:
        body = event["object"]
        take(body, event["type"] == "DELETED")

    decorate = kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)
    decorate(handler)
