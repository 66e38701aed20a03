"""The plan of a failover test and its hash: what an Approval consents to, and what the agent finds before it moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Protocol

from databosun.api.failover import FailbackWhen, FailoverMode, FailoverPlan
from databosun.api.injection import InjectedFault


def make_plan(
    run_uid: str,
    provider: str,
    mode: FailoverMode,
    primary: str,
    candidate: str,
    members: Iterable[str],
    fault: InjectedFault | None = None,
    shard: str | None = None,
    failback: FailbackWhen = FailbackWhen.NEVER,
) -> FailoverPlan:
    """The plan. Lag and load are no part of it: they are guards, looked at anew each time."""
    named = {
        "provider": provider,
        "mode": str(mode),
        "primary": primary,
        "candidate": candidate,
        "members": sorted(set(members)),
        **({"fault": fault.dump()} if fault is not None else {}),
        **({"shard": shard} if shard is not None else {}),
        **({"failback": str(failback)} if failback is not FailbackWhen.NEVER else {}),
    }
    text = json.dumps({"run": run_uid, **named}, sort_keys=True)
    return FailoverPlan.model_validate({**named, "hash": hashlib.sha256(text.encode()).hexdigest()[:16]})


def way_back(run_uid: str, plan: FailoverPlan, leader: str) -> FailoverPlan:
    """The plan of the move back, whoever leads by now: always a planned switch, whatever the first move was."""
    what = plan.provider, FailoverMode.PLANNED_SWITCHOVER, leader, plan.primary, plan.members
    return make_plan(run_uid, *what, shard=plan.shard)


class Planned(Protocol):
    """A plan, as the agent is given it or as it stands in a status."""

    @property
    def mode(self) -> FailoverMode:
        """How the primary is made to move."""
        ...

    @property
    def primary(self) -> str:
        """The member that leads."""
        ...

    @property
    def candidate(self) -> str:
        """The member that is to lead."""
        ...

    @property
    def fault(self) -> InjectedFault | None:
        """What is done to the primary; None where nothing is."""
        ...

    @property
    def failback(self) -> FailbackWhen:
        """Whether it is moved back afterwards."""
        ...


def describe_plan(plan: Planned) -> str:
    """What is to be done, for people."""
    back = (
        "" if plan.failback is FailbackWhen.NEVER else f"; {plan.primary} is to be primary again once it has rejoined"
    )
    if plan.fault is None:
        return f"{plan.candidate} is to take over from {plan.primary} ({plan.mode}){back}"
    follows = "nobody could take over" if plan.candidate == plan.primary else f"{plan.candidate} could take over"
    return f"{describe_mode(plan.mode, plan.fault)} of {plan.primary}; {follows}{back}"


def describe_mode(mode: FailoverMode, fault: InjectedFault | None) -> str:
    """A mode with its fault, for people."""
    if fault is None:
        return str(mode)
    more = f" for {fault.duration}" if fault.duration else f" of container {fault.container}" if fault.container else ""
    return f"{mode} ({fault.kind}{more})"
