"""Whether the operator does to the pod of a primary what the plan of a failover test says, as its agent asks it to. The
guards are asked once more in that very moment, and what was begun is never begun again at another pod of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverPlan, GuardResult
from databosun.api.injection import FaultKind, InjectedFault
from databosun.domain.failoverchaos import Injection, chosen_container
from databosun.domain.failovercnpg import CLOUD_NATIVE_PG, ClusterFacts
from databosun.domain.failoverkept import claim_guard

ENDS_PODS = ("Patroni", "ReplicaSet", "GroupReplication", "StatefulSet", CLOUD_NATIVE_PG)
"""The providers whose forced failover is the end of the primary's pod."""


@dataclass(frozen=True, slots=True)
class PodFound:
    """The pod of the primary. `owner`: what makes another one in its place; `addresses`: its own; `claims`: those of
    its containers that write to what outlives the pod."""

    name: str
    uid: str
    addresses: tuple[str, ...]
    owner: str | None
    deleting: bool
    agent: bool
    containers: tuple[str, ...] = ()
    claims: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ActFacts:
    """What was found. `begun`: the uid of the pod that was to be struck by the word written down before; `denied`: what
    the operator would need there and has not, None: nothing; `against`: a guard that does not hold, an approval that is
    gone, a closed window; `injection`: the fault that was ordered of Chaos Mesh; `cluster`: that of CloudNativePG."""

    asked: ActAsked
    plan: FailoverPlan
    pod: PodFound | None
    begun: str | None
    denied: str | None
    against: str | None
    injection: Injection | None = None
    cluster: ClusterFacts | None = None


@dataclass(frozen=True, slots=True)
class EndPod:
    """End this very pod. `first`: it is written down before."""

    name: str
    uid: str
    first: bool


@dataclass(frozen=True, slots=True)
class Inject:
    """Have Chaos Mesh do the fault to this very pod. `first`: it is written down before."""

    name: str
    uid: str
    container: str | None
    first: bool


@dataclass(frozen=True, slots=True)
class HandOver:
    """Have another instance of this very Cluster lead, as long as that is as it was found. `first`: written down
    before."""

    cluster: ClusterFacts
    candidate: str
    first: bool


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back a fault that was not done in time, as long as it still is as it was found."""

    injection: Injection


@dataclass(frozen=True, slots=True)
class LookAgain:
    """It is under way."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the pod may be found by: names to look for, and an address."""

    names: tuple[str, ...] = field(default_factory=tuple)
    address: str | None = None


Act = EndPod | Inject | HandOver | Withdraw | LookAgain | ActAnswer


def fault_of(plan: FailoverPlan) -> InjectedFault | None:
    """What the operator is to do to the primary's pod in this plan; None: nothing."""
    if plan.mode is FailoverMode.FAULT_INJECTION:
        return plan.fault
    if plan.mode is FailoverMode.FORCED_FAILOVER and plan.provider in ENDS_PODS:
        return InjectedFault(kind=FaultKind.POD_DELETE)
    return None


def hands_over(plan: FailoverPlan) -> bool:
    """Whether the operator is to have another instance lead: who may write to a Cluster's status is no agent."""
    return plan.provider == CLOUD_NATIVE_PG and plan.mode is FailoverMode.PLANNED_SWITCHOVER


def is_asked(plan: FailoverPlan) -> bool:
    """Whether the operator has a part in this plan at all."""
    return hands_over(plan) or fault_of(plan) is not None


def pod_names(asked: ActAsked) -> Names:
    """By the member's name, or, where that is an address, by the first label of its host name or by its IP."""
    if _is_ip(asked.host):
        return Names((asked.member,), asked.host)
    return Names(tuple(dict.fromkeys((asked.member, asked.host.partition(".")[0]))))


def decide_act(facts: ActFacts, now: datetime) -> Act:
    """Do it, or answer."""
    fault = fault_of(facts.plan)
    if hands_over(facts.plan):
        return _decide_handover(facts, now)
    if fault is None or fault.kind is FaultKind.POD_DELETE:
        return _decide_end(facts, now)
    return _decide_injection(facts, now)


def _decide_end(facts: ActFacts, now: datetime) -> EndPod | ActAnswer:
    asked, pod, begun = facts.asked, facts.pod, facts.begun
    if begun is not None and (pod is None or pod.uid != begun or pod.deleting):
        return _answer(facts, f"the pod {pod.name if pod else asked.member} was deleted", done=True)
    if now > asked.not_after:
        return _answer(facts, _late(asked))
    if begun is not None and pod is not None:
        return EndPod(pod.name, begun, first=False)
    why = _against(facts)
    if why is not None or pod is None:
        return _answer(facts, why or "it is gone")
    return _unkept(facts, pod) or EndPod(pod.name, pod.uid, first=True)


def _decide_injection(facts: ActFacts, now: datetime) -> Act:
    """Done is what Chaos Mesh says that it did, and nothing that it was merely told to do. It says so after it has done
    it: what it was once told to do, and is not any more, may have been done."""
    asked, pod, injection = facts.asked, facts.pod, facts.injection
    if injection is not None and facts.begun is not None:
        if injection.done:
            return _answer(facts, f"{injection.kind} {injection.name} was done to {asked.member}", done=True)
        if now <= asked.not_after:
            return LookAgain()
        if injection.begun:
            message = f"Chaos Mesh has begun with {injection.kind} {injection.name}, and not said that it was done"
            return _uncertain(facts, message)
        return Withdraw(injection)
    if now > asked.not_after and facts.begun is not None:
        message = f"Chaos Mesh had not said by {asked.not_after.isoformat()} that it was done; it was taken back then"
        return _uncertain(facts, message)
    why = _late(asked) if now > asked.not_after else _against(facts)
    if why is None and pod is not None and facts.begun not in (None, pod.uid):
        why = f"another pod {pod.name} has come in its place"
    if why is not None or pod is None:
        why = why or "it is gone"
        return _answer(facts, why) if facts.begun is None else _uncertain(facts, why)
    found = chosen_container(facts.plan.fault, pod.containers)
    if found.refused is not None:
        return _answer(facts, f"the pod {pod.name} {found.refused}")
    unkept = _unkept(facts, pod, found.container)
    return unkept or Inject(pod.name, pod.uid, found.container, first=facts.begun is None)


def _decide_handover(facts: ActFacts, now: datetime) -> HandOver | ActAnswer:
    """Told twice is told once: who is to lead is written down, and stays the same."""
    asked, plan, cluster = facts.asked, facts.plan, facts.cluster
    if facts.begun is not None and cluster is not None and plan.candidate in (cluster.target, cluster.current):
        return _answer(facts, f"Cluster {cluster.name} was told to switch over to {plan.candidate}", done=True)
    if now > asked.not_after:
        return _answer(facts, _late(asked))
    why = _unplanned(facts) or facts.denied
    if why is not None or cluster is None:
        return _answer(facts, why or "the Cluster is not there any more")
    if (cluster.current, cluster.target) != (plan.primary, plan.primary) or plan.candidate not in cluster.names:
        told = f"Cluster {cluster.name} is led by {cluster.current}, to be led by {cluster.target}"
        return _answer(facts, f"{told}, of {', '.join(cluster.names)}; the plan is {plan.primary} to {plan.candidate}")
    return HandOver(cluster, plan.candidate, first=facts.begun is None)


def _unplanned(facts: ActFacts) -> str | None:
    asked, plan = facts.asked, facts.plan
    if (asked.plan_hash, asked.member) != (plan.hash, plan.primary) or not is_asked(plan):
        told = f"{asked.member} of plan {asked.plan_hash} was asked for"
        return f"{told}; the plan is {plan.hash}, {plan.mode} of {plan.primary}"
    return facts.against


def _against(facts: ActFacts) -> str | None:
    asked, plan, pod = facts.asked, facts.plan, facts.pod
    why = _unplanned(facts)
    if why is not None:
        return why
    if pod is None:
        return (
            f"no pod {asked.member} is in the namespace of the Database; this is for members that are pods there, known"
            f" to {plan.provider} by the pod's name, its DNS name, or its IP"
        )
    return _against_pod(facts, pod)


def _against_pod(facts: ActFacts, pod: PodFound) -> str | None:
    asked, fault = facts.asked, fault_of(facts.plan)
    if pod.agent:
        return f"the pod {pod.name} is one of Databosun's own"
    if pod.deleting:
        return f"the pod {pod.name} is being deleted by somebody else"
    if asked.host not in pod.addresses or pod.name != asked.member != f"{asked.host}:{_port(asked.member)}":
        known = ", ".join(pod.addresses) or "none"
        return f"the pod {pod.name} is at {known}; {facts.plan.provider} has {asked.member} at {asked.host}"
    if pod.owner is None:
        return f"the pod {pod.name} belongs to no controller, and nothing would bring it back"
    if pod.name != asked.member and _is_ip(asked.host) and fault and fault.kind is FaultKind.POD_DELETE:
        return (
            f"{facts.plan.provider} knows the pod {pod.name} by its IP, {asked.host}, and the one in its place would"
            " have another: have members announced by host names"
        )
    return facts.denied


def _unkept(facts: ActFacts, pod: PodFound, container: str | None = None) -> ActAnswer | None:
    guard = claim_guard(facts.plan, fault_of(facts.plan), pod.name, pod.claims, container)
    if guard is None or guard.ok:
        return None
    message = f"guard {guard.name}: found {guard.observed}, expected {guard.limit}; {guard.message}"
    return _answer(facts, message, guard=guard)


def _port(member: str) -> str:
    return member.rpartition(":")[2]


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _late(asked: ActAsked) -> str:
    return f"the operator came to it after {asked.not_after.isoformat()}, too late"


def _uncertain(facts: ActFacts, message: str) -> ActAnswer:
    return ActAnswer(plan_hash=facts.asked.plan_hash, done=False, uncertain=True, message=message)


def _answer(facts: ActFacts, message: str, *, done: bool = False, guard: GuardResult | None = None) -> ActAnswer:
    return ActAnswer(plan_hash=facts.asked.plan_hash, done=done, message=message, guard=guard)
