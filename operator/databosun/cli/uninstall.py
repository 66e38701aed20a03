"""`databosun uninstall-cleanup`: before the chart goes, take off what would hang without an operator.

The operator is stopped first, and its Lease held meanwhile, or finalizers taken off would come back. Everything is
bounded: a cluster from which nothing can be uninstalled helps nobody. Data in the storages are never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.domain.errors import WorldFault
from databosun.domain.plan import FINALIZER_DATA, FINALIZER_INSTANCES, FINALIZER_RESULT, FINALIZER_SLOT, MANAGED_BY
from databosun.kube.errors import Conflict, NotFound, ResourceAbsent
from databosun.kube.lease import KubeLease
from databosun.kube.resources import BACKUPS, DATABASES, PODS, Resource
from databosun.runtime.leader import Leader
from databosun.runtime.settings import Settings

DEPLOYMENT: Final = "DATABOSUN_DEPLOYMENT"
# The operator gives its Lease back when it stops; one that was killed loses it after 15 s.
LEASE_WITHIN: Final = 60.0
PASSES: Final = 5
PAUSE: Final = 2.0
OURS: Final = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


@dataclass(frozen=True, slots=True)
class Stripping:
    """One finalizer on one kind of object."""

    resource: Resource
    finalizer: str
    selector: str = ""


WORK: Final = (
    Stripping(PODS, FINALIZER_RESULT, OURS),
    Stripping(BACKUPS, FINALIZER_DATA),
    Stripping(DATABASES, FINALIZER_SLOT),
    Stripping(DATABASES, FINALIZER_INSTANCES),
)


async def clean_up(session: Session, settings: Settings, environment: Mapping[str, str]) -> int:
    """Stop the operator and strip the finalizers in the served namespaces; 1 where some are left."""
    await _stop(session, settings, environment.get(DEPLOYMENT, ""))
    async with _lease(session, settings):
        left = await _strip(session, list(settings.namespaces) or [None])
    if left:
        session.screen.note(f"{left} finalizers are left; run this again, or the objects will hang when deleted")
        return FAILED
    session.screen.out.print("no finalizers are left; the data in the storages stay where they are", markup=False)
    return OK


async def _stop(session: Session, settings: Settings, deployment: str) -> None:
    if not deployment:
        session.screen.note(f"{DEPLOYMENT} is not set: the operator is not stopped")
        return
    try:
        await session.scale_to_zero(settings.lease.namespace, deployment)
        session.screen.out.print(f"Deployment {settings.lease.namespace}/{deployment} scaled to 0", markup=False)
    except NotFound:
        session.screen.out.print(f"Deployment {settings.lease.namespace}/{deployment} is gone already", markup=False)


@contextlib.asynccontextmanager
async def _lease(session: Session, settings: Settings) -> AsyncIterator[None]:
    """Hold the operator's Lease: then it has stopped, and no other one starts. Without, where it is not given up."""
    port = KubeLease(session.kube, settings.lease.namespace, settings.lease.name)
    leader = Leader(port, "uninstall-cleanup", session.clock)
    acquiring = asyncio.ensure_future(leader.acquire())
    waiting = asyncio.ensure_future(session.clock.sleep(LEASE_WITHIN))
    await asyncio.wait({acquiring, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not acquiring.done():
        acquiring.cancel()
        session.screen.note(f"the operator still holds its Lease after {LEASE_WITHIN:.0f} s; going on all the same")
        yield
        return
    acquiring.result()
    holding = asyncio.ensure_future(leader.hold())
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await leader.release()


async def _strip(session: Session, namespaces: Sequence[str | None]) -> int:
    """Pass over everything until a pass finds nothing; how many finalizers the last pass could not take off."""
    left = 0
    for number in range(PASSES):
        if number:
            await session.clock.sleep(PAUSE)
        found = left = 0
        for one in WORK:
            for namespace in namespaces:
                seen, failed = await _pass(session, one, namespace)
                found, left = found + seen, left + failed
        if not found:
            return 0
    return left


async def _pass(session: Session, one: Stripping, namespace: str | None) -> tuple[int, int]:
    """Take the finalizer off all that bear it: how many were seen, and how many could not be changed."""
    seen = failed = 0
    try:
        listed = session.kube.list_metadata(one.resource, namespace, label_selector=one.selector)
        bearing = [body["metadata"] async for body in listed if one.finalizer in body["metadata"].get("finalizers", ())]
    except ResourceAbsent:
        return 0, 0
    for metadata in bearing:
        seen += 1
        finalizers = [name for name in metadata["finalizers"] if name != one.finalizer]
        where, name, version = metadata["namespace"], metadata["name"], metadata["resourceVersion"]
        try:
            await session.kube.patch_metadata(one.resource, where, name, {"finalizers": finalizers}, version)
        except NotFound:
            continue
        except Conflict:
            failed += 1  # changed meanwhile: the next pass sees it as it is then
        except WorldFault as fault:
            failed += 1
            session.screen.note(f"{one.resource.kind} {where}/{name}: {fault.message}")
    if seen:
        session.screen.out.print(
            f"{one.finalizer} taken off {seen - failed} of {seen} {one.resource.plural}", markup=False
        )
    return seen, failed
