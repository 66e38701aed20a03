"""A fault that Chaos Mesh does to a pod: the object that orders it, and what is read from it.

Nothing has to be taken back by anybody: a partition has a duration, which Chaos Mesh keeps by itself, and a container
that was killed is started again by the kubelet. The object goes with its run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from databosun.api.failover import FailoverPlan
from databosun.api.injection import FaultKind, InjectedFault
from databosun.api.quantities import parse_duration

CHAOS_GROUP, CHAOS_VERSION = "chaos-mesh.org", "v1alpha1"
ChaosKind = Literal["NetworkChaos", "PodChaos"]
KINDS: Mapping[FaultKind, ChaosKind] = {
    FaultKind.CONTAINER_KILL: "PodChaos",
    FaultKind.NETWORK_PARTITION: "NetworkChaos",
}
"""What orders which fault; what is not here the operator does itself."""


@dataclass(frozen=True, slots=True)
class Injection:
    """The object, as it was found. `done`: Chaos Mesh says that the fault was done; `begun`: it may have been."""

    kind: ChaosKind
    name: str
    uid: str
    resource_version: str
    begun: bool
    done: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """The container to kill, or why there is none. Neither: the fault is to the whole pod."""

    container: str | None = None
    refused: str | None = None


def injection_name(plan: FailoverPlan) -> str:
    """Of the object of one plan, and so of one run."""
    return f"databosun-{plan.hash}"


def chosen_container(fault: InjectedFault | None, containers: Sequence[str]) -> Chosen:
    """The one that was named, or the only one."""
    if fault is None or fault.kind is not FaultKind.CONTAINER_KILL:
        return Chosen()
    known = ", ".join(containers)
    if fault.container is not None:
        there = fault.container in containers
        return Chosen(fault.container) if there else Chosen(refused=f"has no container {fault.container}, but {known}")
    if len(containers) != 1:
        return Chosen(refused=f"has the containers {known}: say which in spec.fault.container")
    return Chosen(containers[0])


def injection_body(
    plan: FailoverPlan, fault: InjectedFault, pod: str, container: str | None, owner: Mapping[str, Any]
) -> dict[str, Any]:
    """The object that has Chaos Mesh do the fault to one pod of the `owner`'s namespace, and to no other."""
    namespace = owner["namespace"]
    reference = {name: owner[name] for name in ("apiVersion", "kind", "name", "uid")}
    spec: dict[str, Any] = {"mode": "all", "selector": {"namespaces": [namespace], "pods": {namespace: [pod]}}}
    if fault.kind is FaultKind.NETWORK_PARTITION:
        seconds = int(parse_duration(fault.duration or "").total_seconds())
        # Without a target, and in both directions: nothing leaves the pod, and nothing reaches it.
        spec |= {"action": "partition", "direction": "both", "duration": f"{seconds}s"}
    else:
        spec |= {"action": "container-kill", "containerNames": [container]}
    return {
        "apiVersion": f"{CHAOS_GROUP}/{CHAOS_VERSION}",
        "kind": KINDS[fault.kind],
        "metadata": {"name": injection_name(plan), "namespace": namespace, "ownerReferences": [reference]},
        "spec": spec,
    }


def read_injection(kind: ChaosKind, body: Mapping[str, Any]) -> Injection:
    """What is known of it. Where it was done and is over by now, it was done."""
    metadata, status = body["metadata"], body.get("status", {})
    records = status.get("experiment", {}).get("containerRecords") or ()
    done = any(one.get("injectedCount", 0) > 0 or one.get("phase") == "Injected" for one in records)
    begun = done or any(one.get("phase") != "Not Injected" for one in records)
    return Injection(kind, metadata["name"], metadata["uid"], metadata["resourceVersion"], begun, done)
