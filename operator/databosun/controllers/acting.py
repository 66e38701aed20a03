"""Does to the pod of a primary what the plan of a failover test says, for its agent, which has no rights in the
cluster: follows the agent's log, and answers through an annotation of its pod."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from databosun.api.failover import ActAnswer, ActAsked, FailoverPlan
from databosun.api.injection import InjectedFault
from databosun.api.request import ANSWER_ANNOTATION
from databosun.controllers.cnpg import denied_cluster
from databosun.controllers.context import Context
from databosun.domain.failoveract import (
    ActFacts,
    EndPod,
    HandOver,
    Inject,
    LookAgain,
    PodFound,
    Withdraw,
    decide_act,
    fault_of,
    hands_over,
    pod_names,
)
from databosun.domain.failoverchaos import (
    CHAOS_GROUP,
    CHAOS_VERSION,
    KINDS,
    Injection,
    injection_body,
    injection_name,
    read_injection,
)
from databosun.domain.failovercnpg import ClusterFacts, handover
from databosun.domain.failoverkept import claims_of
from databosun.domain.plan import ANNOTATION_ENDS, LABEL_TASK
from databosun.kube.errors import AlreadyExists, Conflict
from databosun.kube.port import Access
from databosun.kube.resources import CNPG_CLUSTERS, NETWORK_CHAOS, POD_CHAOS, PODS, Resource

LOOK = timedelta(seconds=2)
_OF_THE_LINE = ("ts", "level", "event")
GRACE_SECONDS = 1
"""The least that waits for the containers to be gone before another pod of that name is made: with 0 two could run."""
_CHAOS = {one.kind: one for one in (NETWORK_CHAOS, POD_CHAOS)}


def asked_in(line: Mapping[str, Any] | None) -> ActAsked | None:
    """What a log line asks for; None where it asks for nothing that is understood."""
    try:
        return (
            ActAsked.model_validate({name: line[name] for name in line if name not in _OF_THE_LINE}) if line else None
        )
    except ValidationError:
        return None


def answered(agent: Mapping[str, Any]) -> bool:
    """Whether the agent's pod has its answer by now."""
    return ANSWER_ANNOTATION in agent["metadata"].get("annotations", {})


@dataclass(frozen=True, slots=True)
class Act:
    """One question of one agent. `against`: what speaks against it now; `owner`: the run, for what is made for it;
    `cluster`: of CloudNativePG, as it is now."""

    context: Context
    agent: Mapping[str, Any]
    asked: ActAsked
    plan: FailoverPlan
    against: str | None
    owner: Mapping[str, Any]
    cluster: ClusterFacts | None = None

    async def look(self, tell: Callable[[str], Awaitable[None]], now: datetime) -> bool:
        """One look: act, `tell` people, then answer. Whether that is all. Killed between any two of them, the next look
        goes on."""
        facts = await self._facts()
        decided = decide_act(facts, now)
        agent = self.agent
        if isinstance(decided, EndPod | Inject | HandOver) and decided.first:
            struck = decided.cluster.uid if isinstance(decided, HandOver) else decided.uid
            agent = await self._annotate(agent, ANNOTATION_ENDS, struck)
        if isinstance(decided, EndPod):
            with suppress(Conflict):  # another one bears its name: it is gone
                await self.context.kube.delete(
                    PODS, self._namespace, decided.name, uid=decided.uid, grace_seconds=GRACE_SECONDS
                )
            message = f"the pod {decided.name} was deleted"
            decided = ActAnswer(plan_hash=self.plan.hash, done=True, message=message)
        if isinstance(decided, HandOver):
            await self._hand_over(decided, now)
        if isinstance(decided, Inject):
            await self._inject(decided)
        if isinstance(decided, Withdraw):
            await self._withdraw(decided.injection)
        if isinstance(decided, Inject | HandOver | Withdraw | LookAgain):
            return False
        if decided.done or decided.uncertain:
            doubt = "it may have been done: " if decided.uncertain else ""
            await tell(f"{doubt}{decided.message}, as plan {self.plan.hash} has it")
        await self._annotate(agent, ANSWER_ANNOTATION, decided.model_dump_json(by_alias=True, exclude_none=True))
        return True

    @property
    def _namespace(self) -> str:
        namespace: str = self.agent["metadata"]["namespace"]
        return namespace

    async def _facts(self) -> ActFacts:
        fault = fault_of(self.plan)
        chaos, begun = _resource(fault), self.agent["metadata"].get("annotations", {}).get(ANNOTATION_ENDS)
        if hands_over(self.plan):
            denied = await denied_cluster(self.context, self._namespace, patch=True)
            return ActFacts(self.asked, self.plan, None, begun, denied, self.against, cluster=self.cluster)
        denied, injection = await self._denied(chaos), None
        if fault is not None and chaos is not None and (denied is None or begun is not None):
            injection = await self._injection(fault, chaos)
        return ActFacts(self.asked, self.plan, await self._pod(), begun, denied, self.against, injection)

    async def _pod(self) -> PodFound | None:
        kube, names = self.context.kube, pod_names(self.asked)
        for name in names.names:
            body = await kube.get(PODS, self._namespace, name) if ":" not in name else None
            if body is not None:
                return _found(body)
        if names.address is None:
            return None
        selector = f"status.podIP={names.address}"
        bodies = [one async for one in kube.list(PODS, self._namespace, field_selector=selector)]
        return _found(bodies[0]) if len(bodies) == 1 else None  # several are on the network of their node

    async def _denied(self, chaos: Resource | None) -> str | None:
        kube, namespace = self.context.kube, self._namespace
        if chaos is None:
            denied = await kube.denied((Access("delete", PODS, namespace=namespace),))
            return (
                "the operator may not delete pods there: set rbac.deletePods in the chart's values" if denied else None
            )
        if chaos.plural not in await kube.discover(CHAOS_GROUP, CHAOS_VERSION):
            return f"this is done by Chaos Mesh, which the cluster has not: {chaos.qualified} is not served"
        wanted = tuple(Access(verb, chaos, namespace=namespace) for verb in ("create", "delete", "get"))
        if await kube.denied(wanted):
            return f"the operator may not make {chaos.qualified} there: set rbac.chaosMesh in the chart's values"
        return None

    async def _injection(self, fault: InjectedFault, chaos: Resource) -> Injection | None:
        body = await self.context.kube.get(chaos, self._namespace, injection_name(self.plan))
        return read_injection(KINDS[fault.kind], body) if body is not None else None

    async def _inject(self, inject: Inject) -> None:
        fault = fault_of(self.plan)
        chaos = _resource(fault)
        if fault is None or chaos is None:
            raise TypeError(inject)
        body = injection_body(self.plan, fault, inject.name, inject.container, self.owner)
        with suppress(AlreadyExists):
            await self.context.kube.create(chaos, self._namespace, body)

    async def _hand_over(self, decided: HandOver, now: datetime) -> None:
        found = decided.cluster
        with suppress(Conflict):  # it has changed meanwhile: look again
            await self.context.kube.patch_status(
                CNPG_CLUSTERS, self._namespace, found.name, handover(decided.candidate, now), found.resource_version
            )

    async def _withdraw(self, found: Injection) -> None:
        with suppress(Conflict):  # it has just been done, or is gone
            await self.context.kube.delete(
                _CHAOS[found.kind], self._namespace, found.name, uid=found.uid, resource_version=found.resource_version
            )

    async def _annotate(self, agent: Mapping[str, Any], name: str, value: str) -> Mapping[str, Any]:
        metadata = agent["metadata"]
        return await self.context.kube.patch_metadata(
            PODS, metadata["namespace"], metadata["name"], {"annotations": {name: value}}, metadata["resourceVersion"]
        )


def _resource(fault: InjectedFault | None) -> Resource | None:
    kind = KINDS.get(fault.kind) if fault is not None else None
    return _CHAOS[kind] if kind is not None else None


def _found(body: Mapping[str, Any]) -> PodFound:
    metadata, spec, status = body["metadata"], body["spec"], body.get("status", {})
    owner = next((one for one in metadata.get("ownerReferences", []) if one.get("controller")), None)
    name, namespace = metadata["name"], metadata["namespace"]
    service = spec.get("subdomain")
    named = [f"{name}.{service}{tail}" for tail in ("", f".{namespace}", f".{namespace}.svc")] if service else []
    named += [f"{name}.{service}.{namespace}.svc.cluster.local"] if service else []
    ips = [one["ip"] for one in status.get("podIPs", [])] or [ip for ip in (status.get("podIP"),) if ip]
    return PodFound(
        name=name,
        uid=metadata["uid"],
        addresses=tuple(dict.fromkeys([*ips, *named])),
        owner=f"{owner['kind']} {owner['name']}" if owner else None,
        deleting="deletionTimestamp" in metadata,
        agent=LABEL_TASK in metadata.get("labels", {}),
        containers=tuple(one["name"] for one in spec.get("containers", ())),
        claims=claims_of(spec),
    )
