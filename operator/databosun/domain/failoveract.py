"""Whether the operator ends the pod of a primary, as the agent of a forced failover asks it to. The guards are asked
once more in that very moment, and what was begun is never begun again at another pod of the same name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverPlan


@dataclass(frozen=True, slots=True)
class PodFound:
    """The pod of the primary's name. `owner`: what makes another one in its place; `addresses`: its own."""

    name: str
    uid: str
    addresses: tuple[str, ...]
    owner: str | None
    deleting: bool
    agent: bool


@dataclass(frozen=True, slots=True)
class ActFacts:
    """What was found. `begun`: the uid of the pod that was to be ended by the word written down before; `allowed`: the
    operator may delete pods there; `against`: a guard that does not hold, an approval that is gone, a closed window."""

    asked: ActAsked
    plan: FailoverPlan
    pod: PodFound | None
    begun: str | None
    allowed: bool
    against: str | None


@dataclass(frozen=True, slots=True)
class EndPod:
    """End this very pod. `first`: it is written down before."""

    name: str
    uid: str
    first: bool


def decide_act(facts: ActFacts, now: datetime) -> EndPod | ActAnswer:
    """End it, or answer."""
    asked, pod, begun = facts.asked, facts.pod, facts.begun
    if begun is not None and (pod is None or pod.uid != begun or pod.deleting):
        return _answer(facts, f"the pod {asked.member} was deleted", done=True)
    if now > asked.not_after:
        return _answer(facts, f"the operator came to it after {asked.not_after.isoformat()}, too late")
    if begun is not None and pod is not None:
        return EndPod(pod.name, begun, first=False)
    why = _against(facts)
    if why is not None or pod is None:
        return _answer(facts, why or "it is gone")
    return EndPod(pod.name, pod.uid, first=True)


def _against(facts: ActFacts) -> str | None:
    asked, plan, pod = facts.asked, facts.plan, facts.pod
    if (asked.plan_hash, asked.member, plan.mode) != (plan.hash, plan.primary, FailoverMode.FORCED_FAILOVER):
        told = f"{asked.member} of plan {asked.plan_hash} was asked for"
        return f"{told}; the plan is {plan.hash}, {plan.mode} of {plan.primary}"
    if facts.against is not None:
        return facts.against
    if pod is None:
        return (
            f"no pod {asked.member} is in the namespace of the Database; a forced failover by {plan.provider} is for "
            "members that are pods, named as Patroni names them"
        )
    return _against_pod(facts, pod)


def _against_pod(facts: ActFacts, pod: PodFound) -> str | None:
    if pod.agent:
        return f"the pod {pod.name} is one of Databosun's own"
    if pod.deleting:
        return f"the pod {pod.name} is being deleted by somebody else"
    if facts.asked.host not in pod.addresses:
        known = ", ".join(pod.addresses) or "none"
        return f"the pod {pod.name} is at {known}; Patroni has {facts.asked.member} at {facts.asked.host}"
    if pod.owner is None:
        return f"the pod {pod.name} belongs to no controller, and nothing would bring it back"
    if not facts.allowed:
        return "the operator may not delete pods there: set rbac.deletePods in the chart's values"
    return None


def _answer(facts: ActFacts, message: str, *, done: bool = False) -> ActAnswer:
    return ActAnswer(plan_hash=facts.asked.plan_hash, done=done, message=message)
