"""What must be there before the operator starts: its rights, and the kinds that it serves.

The table below is the one place that says which rights the operator needs; the chart's roles are compared with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from databosun.api.v1alpha1.common import GROUP, VERSION
from databosun.domain.errors import UserFault, WorldFault
from databosun.kube import resources as r
from databosun.kube.port import Access, KubePort
from databosun.kube.resources import OWN_KINDS, Resource

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
MISSING_RIGHTS: Final = "MissingRights"
# A role that was created together with the operator's pod is known to the API server a moment later.
RIGHTS_TRIES: Final = 6
RIGHTS_PAUSE: Final = 2.0
KINDS_PAUSE: Final = 5.0


class Scope(StrEnum):
    """Where a right is needed."""

    SERVED = "served"  # in the namespaces that the operator serves, or in all
    LEASE = "lease"  # in the operator's own namespace
    CLUSTER = "cluster"  # on a kind without namespace


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on a resource or subresource, as a rule in a role has them."""

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str = ""
    scope: Scope = Scope.SERVED


_READ: Final = ("get", "list", "watch")
REQUIRED: Final = (
    *(Right(kind, _READ) for kind in OWN_KINDS),
    *(
        Right(kind, ("create", "delete", "patch"))
        for kind in (r.BACKUPS, r.RESTORE_DRILL_RUNS, r.FAILOVER_TEST_RUNS, r.LIFECYCLE_RUNS)
    ),
    Right(r.RESTORES, ("patch",)),
    Right(r.ERASURE_REQUESTS, ("patch",)),
    Right(r.DATA_EXPORTS, ("patch",)),
    Right(r.DATABASES, ("patch",)),
    Right(r.INQUIRIES, ("delete", "patch")),
    *(Right(kind, ("patch",), "status") for kind in OWN_KINDS if kind is not r.APPROVALS),
    Right(r.JOBS, (*_READ, "create", "delete")),
    Right(r.DEPLOYMENTS, (*_READ, "create", "update", "delete")),
    Right(r.PODS, (*_READ, "patch")),
    Right(r.PODS, ("get",), "log"),
    Right(r.PERSISTENT_VOLUME_CLAIMS, ("get",)),
    Right(r.EVENTS, ("create", "list")),
    Right(r.NAMESPACES, ("get",)),
    Right(r.CRDS, ("get",), scope=Scope.CLUSTER),
    Right(r.LEASES, ("get", "create", "update"), scope=Scope.LEASE),
)


def required(namespaces: Sequence[str], lease_namespace: str) -> tuple[Access, ...]:
    """Every single right, for an operator that serves these namespaces (none: the whole cluster)."""
    places: dict[Scope, Sequence[str | None]] = {
        Scope.SERVED: list(namespaces) or [None],
        Scope.LEASE: [lease_namespace],
        Scope.CLUSTER: [None],
    }
    return tuple(
        Access(verb, right.resource, right.subresource, namespace)
        for right in REQUIRED
        for namespace in places[right.scope]
        for verb in right.verbs
    )


async def check_rights(
    kube: KubePort, namespaces: Sequence[str], lease_namespace: str, *, sleep: Sleep = asyncio.sleep
) -> None:
    """Return where all rights are there. UserFault(MissingRights) names all that are not, in one message."""
    wanted = required(namespaces, lease_namespace)
    missing: tuple[Access, ...] = ()
    for attempt in range(RIGHTS_TRIES):
        if attempt:
            await sleep(RIGHTS_PAUSE)
        missing = await kube.denied(wanted)
        if not missing:
            return
        logger.info("rights are missing, looking again", extra={"fields": {"missing": len(missing)}})
    message = (
        f"the operator's service account lacks rights: {describe(missing)}. Install the chart with rbac.create=true, "
        f"and with the namespaces to serve in watchNamespaces unless that is the whole cluster; or grant them yourself"
    )
    raise UserFault(MISSING_RIGHTS, message)


def describe(missing: Iterable[Access]) -> str:
    """The rights for people: `create, delete on jobs.batch in namespace shop`, joined by semicolons."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for access in missing:
        what = access.resource.qualified + (f"/{access.subresource}" if access.subresource else "")
        where = f"namespace {access.namespace}" if access.namespace else "all namespaces"
        verbs.setdefault((what, where if access.resource.namespaced else "the cluster"), []).append(access.verb)
    return "; ".join(f"{', '.join(some)} on {what} in {where}" for (what, where), some in verbs.items())


async def wait_for_kinds(
    kube: KubePort,
    kinds: Sequence[Resource] = OWN_KINDS,
    *,
    sleep: Sleep = asyncio.sleep,
    tell: Callable[[tuple[str, ...]], None] = lambda _missing: None,
) -> None:
    """Return once the API server serves all kinds of our group, however long that takes; `tell` hears what is absent.

    Asked for because a watch of an absent kind would idle for ever, alive and silent.
    """
    told: tuple[str, ...] | None = None
    while True:
        try:
            served = await kube.discover(GROUP, VERSION)
        except WorldFault as fault:
            logger.warning("cannot ask for the kinds", extra={"fields": {"reason": fault.reason, "why": fault.message}})
        else:
            missing = tuple(kind.qualified for kind in kinds if kind.plural not in served)
            tell(missing)
            if not missing:
                return
            if missing != told:
                fields = {"missing": list(missing), "todo": "install the chart databosun-crds"}
                logger.warning("waiting for CustomResourceDefinitions", extra={"fields": fields})
            told = missing
        await sleep(KINDS_PAUSE)
