"""From a claim to the Deployment that serves it."""

from __future__ import annotations

from databosun.api.backuptasks import ArchiveTask
from databosun.api.quantities import parse_duration
from databosun.api.request import Request
from databosun.api.v1alpha1.common import API_VERSION
from databosun.controllers import errand
from databosun.controllers.claims import Asked
from databosun.controllers.context import Context
from databosun.controllers.facts import cached_storage
from databosun.controllers.ordering import runner_image
from databosun.controllers.probing import target_of
from databosun.controllers.seen import SeenDatabase, SeenStorage
from databosun.domain.names import archiver_name
from databosun.domain.plan import Action, KeepArchiver, Owner
from databosun.domain.requests import storage_target
from databosun.kube.archivers import NEVER, build_archiver, is_as_ordered
from databosun.runtime.queue import Key


def order_archiver(context: Context, seen: SeenDatabase, asked: Asked, system: str) -> tuple[Action, ...]:
    """The Deployment, where it is not there as asked."""
    claim, covering = asked.claim, asked.covering
    if claim is None or covering is None:
        raise TypeError(asked)
    storage = cached_storage(context, seen.meta.namespace, claim.storage)
    if storage is None:
        return ()  # what runs goes on; the policy says that its storage is gone
    wanted = _archiver_order(context, seen, asked, storage, system)
    body = context.cache.get(Key("Deployment", seen.meta.namespace, wanted.name))
    if body is not None and is_as_ordered(body, build_archiver(wanted, context.jobs)):
        return ()
    return (wanted,)


def _archiver_order(
    context: Context, seen: SeenDatabase, asked: Asked, storage: SeenStorage, system: str
) -> KeepArchiver:
    claim, covering = asked.claim, asked.covering
    if claim is None or covering is None:
        raise TypeError(asked)
    database, secrets = target_of(seen)
    target, more = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    image = runner_image(context, seen)
    continuous, heartbeat = claim.continuous, seen.spec.heartbeat
    task = ArchiveTask(
        database_uid=seen.meta.uid,
        max_lag_seconds=continuous.max_lag.total_seconds(),
        max_retained_bytes=continuous.max_retained,
        allow_unbounded_slot=continuous.allow_unbounded_slot,
        synchronous=continuous.synchronous,
        heartbeat_seconds=parse_duration(heartbeat.interval).total_seconds() if heartbeat else None,
    )
    # The server's minor version changes without the archiver's having to.
    major = (database.version or "").split(".")[0] or None
    return KeepArchiver(
        name=archiver_name(system),
        namespace=seen.meta.namespace,
        owner=Owner(API_VERSION, "Database", seen.meta.name, seen.meta.uid),
        request=Request(
            run=seen.meta.name,
            deadline=NEVER,
            database=database.model_copy(update={"version": major}),
            storage=target,
            secrets=errand.merge_secrets(secrets, more),
            image=image,
            job=task,
        ),
        image=image,
        pod_template=covering.seen.spec.pod_template,
        storage_claim=storage.spec.claim,
    )
