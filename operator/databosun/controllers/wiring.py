"""Put the controllers together: one queue, one cache, one way in. The operator's process and the tests share this."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.controllers.backup import BackupController
from databosun.controllers.context import Context, EventSink, Images, Leadership, Reconciler, Register
from databosun.controllers.database import DatabaseController
from databosun.controllers.dataexport import DataExportController
from databosun.controllers.drill import DrillController
from databosun.controllers.erasure import ErasureController
from databosun.controllers.failoverrun import FailoverRunController
from databosun.controllers.failovertest import FailoverTestController
from databosun.controllers.inquiry import InquiryController
from databosun.controllers.intake import Intake
from databosun.controllers.jointrun import DrillRuns
from databosun.controllers.lifecycle import LifecyclePolicyController
from databosun.controllers.lifecyclerun import LifecycleRunController
from databosun.controllers.matching import INDEXERS
from databosun.controllers.policy import PolicyController
from databosun.controllers.restore import RestoreController
from databosun.controllers.stalled import tell
from databosun.controllers.storage import StorageController
from databosun.controllers.strays import PodController
from databosun.domain.errors import SafetyStop, UserFault
from databosun.kube.errors import NotFound
from databosun.kube.jobs import JobDefaults
from databosun.kube.port import KubePort
from databosun.kube.resources import OWN_KINDS
from databosun.runtime.cache import Cache, FinishedIndex
from databosun.runtime.clock import Clock
from databosun.runtime.queue import Key, Queue


@dataclass(frozen=True, slots=True)
class Installation:
    """What this installation says, the same for every object. No namespaces: the whole cluster."""

    cluster_id: str
    images: Images
    jobs: JobDefaults
    namespaces: tuple[str, ...] = ()
    workers: int = 20


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told what happens, for metrics."""

    observe: Callable[[str, Key, Mapping[str, Any]], None] = lambda _kind, _key, _body: None
    reconciled: Callable[[str, str, float], None] = lambda _kind, _outcome, _seconds: None


@dataclass(frozen=True, slots=True)
class Wired:
    """An operator without its process: events go into `intake`, work comes out of `queue`."""

    context: Context
    intake: Intake
    queue: Queue


def wire(
    kube: KubePort,
    clock: Clock,
    leadership: Leadership,
    events: EventSink,
    installation: Installation,
    watchers: Watchers | None = None,
) -> Wired:
    """Build it; nothing runs yet."""
    told = watchers or Watchers()
    controllers: dict[str, Reconciler] = {}
    intakes: list[Intake] = []

    async def reconcile(key: Key) -> datetime | None:
        return await _reconcile(key, controllers[key.kind], context, queue, told)

    def took(kind: str, body: Mapping[str, Any]) -> None:
        intakes[0].own_write(kind, body)

    queue = Queue(reconcile, clock, workers=installation.workers)
    context = Context(
        kube=kube,
        cache=Cache(INDEXERS),
        finished=FinishedIndex(),
        register=Register(),
        clock=clock,
        add=queue.add,
        hint=queue.hint,
        leadership=leadership,
        events=events,
        images=installation.images,
        jobs=installation.jobs,
        cluster_id=installation.cluster_id,
        observe=told.observe,
        took=took,
    )
    intake = Intake(context, installation.namespaces)
    intakes.append(intake)
    controllers |= {
        "Database": DatabaseController(context).reconcile,
        "BackupStorage": StorageController(context).reconcile,
        "BackupPolicy": PolicyController(context).reconcile,
        "Backup": BackupController(context).reconcile,
        "RestoreDrill": DrillController(context).reconcile,
        "RestoreDrillRun": DrillRuns(context).reconcile,
        "FailoverTest": FailoverTestController(context).reconcile,
        "FailoverTestRun": FailoverRunController(context).reconcile,
        "Restore": RestoreController(context).reconcile,
        "Inquiry": InquiryController(context).reconcile,
        "LifecyclePolicy": LifecyclePolicyController(context).reconcile,
        "LifecycleRun": LifecycleRunController(context).reconcile,
        "ErasureRequest": ErasureController(context).reconcile,
        "DataExport": DataExportController(context).reconcile,
        "Approval": _nothing,
        "Deployment": _nothing,
        "Pod": PodController(context).reconcile,
    }
    return Wired(context, intake, queue)


async def _reconcile(
    key: Key, controller: Reconciler, context: Context, queue: Queue, told: Watchers
) -> datetime | None:
    begin = time.monotonic()
    outcome = "fault"
    try:
        wake_at = await controller(key)
        if wake_at is None and context.cache.version(key) is None:
            queue.forget(key)
        outcome = "ok"
        return wake_at
    except (UserFault, SafetyStop) as fault:
        outcome = "user_fault"
        await tell(context, key, fault)
        raise
    except NotFound:
        await _forget_ghost(context, key)
        raise
    finally:
        told.reconciled(key.kind, outcome, time.monotonic() - begin)


async def _forget_ghost(context: Context, key: Key) -> None:
    """A stale event may have brought back into the cache what is gone; without this only the resync would find out."""
    resource = next((one for one in OWN_KINDS if one.kind == key.kind), None)
    if resource is not None and await context.kube.get(resource, key.namespace, key.name) is None:
        context.cache.drop(key)


async def _nothing(_key: Key) -> datetime | None:
    return None
