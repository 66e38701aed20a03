"""Whether what a primary holds outlives a fault that ends its pod, or a container of it.

A server that comes back within seconds, and empty, may lead again before anybody is promoted: then its replicas copy
that nothing, and all copies are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from databosun.api.failover import FailoverPlan, GuardResult
from databosun.api.injection import FaultKind, InjectedFault

ENDS = (FaultKind.POD_DELETE, FaultKind.CONTAINER_KILL)
REMADE = ("Patroni",)
"""Here a member that comes back empty gives its lease back, and is made anew from the one that leads: all it takes with
it is what no other member has."""


def claims_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """The containers of a pod that may write to a PersistentVolumeClaim of longer life than the pod's."""
    kept = {
        one["name"]
        for one in spec.get("volumes") or ()
        if "persistentVolumeClaim" in one and not one["persistentVolumeClaim"].get("readOnly")
    }
    return frozenset(
        one["name"]
        for one in spec.get("containers") or ()
        if any(mount["name"] in kept and not mount.get("readOnly") for mount in one.get("volumeMounts") or ())
    )


def claim_guard(
    plan: FailoverPlan, fault: InjectedFault | None, pod: str, claims: Collection[str], container: str | None = None
) -> GuardResult | None:
    """None: the fault ends nothing, or another member holds it all. `claims`: as of `claims_of`; `container`: the one
    that is to be killed."""
    if fault is None or fault.kind not in ENDS:
        return None
    if plan.provider in REMADE and plan.candidate != plan.primary:
        return None
    ok = container in claims if container is not None else bool(claims)
    what = f"container {container} of pod {pod}" if container is not None else f"pod {pod}"
    return GuardResult(
        name="dataOnClaim",
        ok=ok,
        observed=f"{what} writes to {'a' if ok else 'no'} persistentVolumeClaim",
        limit="its data in a persistentVolumeClaim",
        message=None if ok else "what it holds would be gone with it: give it a claim, or move it by another mode",
    )
