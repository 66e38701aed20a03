"""A Cluster of CloudNativePG: what its status says, what must hold before its primary is moved, and how it is told to.

The contract is that of its own kubectl plugin: who is to lead is written into `status.targetPrimary`, and its operator
does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.failover import GuardResult

CNPG_GROUP, CNPG_VERSION = "postgresql.cnpg.io", "v1"
CLOUD_NATIVE_PG = "CloudNativePG"
HEALTHY = "Cluster in healthy state"
SWITCHING = "Switchover in progress"
_FENCED, _HIBERNATION = "cnpg.io/fencedInstances", "cnpg.io/hibernation"
_NONE = ("", "[]")


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """As it was found. `current`: who leads; `target`: who is to; `names`: its instances, which are pods of these
    names; `busy`: why nothing may be moved by its own settings, None where nothing is in the way."""

    name: str
    uid: str
    resource_version: str
    current: str
    target: str
    names: tuple[str, ...]
    wanted: int
    ready: int
    phase: str
    busy: str | None


def read_cluster(body: Mapping[str, Any]) -> ClusterFacts:
    """Understand it; what is not there is empty, and no guard holds with it."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    return ClusterFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        current=str(status.get("currentPrimary", "")),
        target=str(status.get("targetPrimary", "")),
        names=tuple(sorted(map(str, status.get("instanceNames") or ()))),
        wanted=int(spec.get("instances", 0)),
        ready=int(status.get("readyInstances", 0)),
        phase=str(status.get("phase", "")),
        busy=_busy(metadata.get("annotations") or {}, spec),
    )


def cluster_guards(facts: ClusterFacts) -> tuple[GuardResult, ...]:
    """Its operator is done with all that it had to do, and nobody holds it."""
    whole = facts.phase == HEALTHY and facts.wanted > 0 and facts.ready == facts.wanted
    settled = facts.current != "" and facts.current == facts.target and facts.current in facts.names
    return (
        _guard(
            "clusterHealthy", whole, f"{facts.phase or 'no phase'}, {facts.ready} of {facts.wanted} ready",
            f"{HEALTHY}, all ready", "see `kubectl cnpg status`, and wait",
        ),
        _guard(
            "primarySettled", settled, f"{facts.current or 'nobody'}, to be {facts.target or 'nobody'}",
            "status.currentPrimary is status.targetPrimary", "wait until the failover that is under way is over",
        ),
        _guard(
            "notHeld", facts.busy is None, facts.busy or "not held", "neither fenced, hibernated nor a replica cluster",
            "somebody works at it, or it follows a primary elsewhere",
        ),
    )  # fmt: skip


def handover(candidate: str, now: datetime) -> dict[str, Any]:
    """The change to its status that has an instance lead, as `kubectl cnpg promote` makes it."""
    return {
        "targetPrimary": candidate,
        "targetPrimaryTimestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "phase": SWITCHING,
        "phaseReason": f"Switching over to {candidate}",
    }


def _busy(annotations: Mapping[str, str], spec: Mapping[str, Any]) -> str | None:
    if annotations.get(_FENCED, "") not in _NONE:
        return f"instances are fenced ({_FENCED}: {annotations[_FENCED]})"
    if annotations.get(_HIBERNATION) == "on":
        return f"it is hibernated ({_HIBERNATION})"
    replica = spec.get("replica") or {}
    follows = replica.get("enabled") is True or replica.get("primary") not in (None, replica.get("self"))
    return "it is a replica cluster (spec.replica)" if follows else None


def _guard(name: str, ok: bool, observed: str, limit: str, todo: str) -> GuardResult:
    return GuardResult(name=name, ok=ok, observed=observed[:250], limit=limit, message=None if ok else todo)
