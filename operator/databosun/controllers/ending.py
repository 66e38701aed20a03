"""Ends the pod of a primary for the agent of a forced failover, which has no rights in the cluster: follows its log,
and answers through an annotation of its pod."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from databosun.api.failover import ActAnswer, ActAsked, FailoverPlan
from databosun.api.request import ANSWER_ANNOTATION
from databosun.controllers.context import Context
from databosun.domain.failoveract import ActFacts, EndPod, PodFound, decide_act
from databosun.domain.plan import ANNOTATION_ENDS, LABEL_TASK
from databosun.kube.errors import Conflict
from databosun.kube.port import Access
from databosun.kube.resources import PODS

LOOK = timedelta(seconds=2)
_OF_THE_LINE = ("ts", "level", "event")
GRACE_SECONDS = 1
"""The least that waits for the containers to be gone before another pod of that name is made: with 0 two could run."""


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


async def end_or_answer(
    context: Context,
    agent: Mapping[str, Any],
    asked: ActAsked,
    plan: FailoverPlan,
    against: str | None,
    tell: Callable[[str], Awaitable[None]],
    now: datetime,
) -> None:
    """One look at one question: end the pod, `tell` people, then answer. Killed between any two of them, the next look
    goes on."""
    namespace = agent["metadata"]["namespace"]
    begun = agent["metadata"].get("annotations", {}).get(ANNOTATION_ENDS)
    body = await context.kube.get(PODS, namespace, asked.member)
    denied = await context.kube.denied((Access("delete", PODS, namespace=namespace),))
    facts = ActFacts(
        asked, plan, _found(body) if body is not None else None, begun, allowed=not denied, against=against
    )
    decided = decide_act(facts, now)
    if isinstance(decided, EndPod):
        if decided.first:
            agent = await _annotate(context, agent, ANNOTATION_ENDS, decided.uid)
        with suppress(Conflict):  # another one bears its name: it is gone
            await context.kube.delete(PODS, namespace, decided.name, uid=decided.uid, grace_seconds=GRACE_SECONDS)
        decided = ActAnswer(plan_hash=plan.hash, done=True, message=f"the pod {decided.name} was deleted")
    if decided.done:
        await tell(f"{decided.message}, as plan {plan.hash} has it")
    await _annotate(context, agent, ANSWER_ANNOTATION, decided.model_dump_json(by_alias=True))


async def _annotate(context: Context, agent: Mapping[str, Any], name: str, value: str) -> Mapping[str, Any]:
    metadata = agent["metadata"]
    return await context.kube.patch_metadata(
        PODS, metadata["namespace"], metadata["name"], {"annotations": {name: value}}, metadata["resourceVersion"]
    )


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
    )
