"""The runs of a policy, of whatever kind: what each of them says, which are kept, and what they make of its status."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from databosun.api.v1alpha1.common import API_VERSION
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted, kstatus
from databosun.domain.database import RunOrder
from databosun.domain.plan import CreateRun, Owner
from databosun.domain.requests import Named
from databosun.domain.running import references


@dataclass(frozen=True, slots=True)
class Template:
    """What the runs of one policy have in common. Each goes when the policy goes."""

    kind: str
    policy_kind: str
    policy: Named
    spec: Mapping[str, Any]
    database_uid: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Ended(Protocol):
    """A finished run."""

    @property
    def name(self) -> str:
        """Of the object."""
        ...

    @property
    def created(self) -> datetime:
        """When the object was made, by the API server's clock."""
        ...


E = TypeVar("E", bound=Ended)


def answers(order: RunOrder) -> dict[str, str]:
    """What the spec of every run says of the order that it answers."""
    slot = order.scheduled_for.isoformat().replace("+00:00", "Z")
    return {"scheduledFor": slot, **({"schedule": order.schedule} if order.schedule else {})}


def create_run(template: Template, order: RunOrder, **more: Any) -> CreateRun:
    """The run of one order; `more` are fields of its spec that others of the policy do not have."""
    policy = template.policy
    return CreateRun(
        kind=template.kind,
        namespace=policy.namespace,
        name=order.name,
        spec={**template.spec, **answers(order), **more},
        labels=references(template.database_uid, policy.uid, None, order.schedule) | dict(template.labels),
        owner=Owner(API_VERSION, template.policy_kind, policy.name, policy.uid),
    )


def beyond_limits(runs: Sequence[E], sort: Callable[[E], Hashable], limit: Callable[[E], int]) -> tuple[str, ...]:
    """The finished runs to let go of, oldest first: of each sort those beyond the newest so many."""
    kept: dict[Hashable, int] = {}
    over = []
    for run in sorted(runs, key=lambda one: (one.created, one.name), reverse=True):
        group = sort(run)
        kept[group] = kept.get(group, 0) + 1
        if kept[group] > limit(run):
            over.append(run.name)
    return tuple(reversed(over))


# --- conditions that every policy has


def ready_or_not(fault: tuple[str, str] | None, *, suspended: bool, notes: str = "") -> tuple[Wanted, ...]:
    """Whether it is at work; a fault is the user's to mend."""
    if fault is not None:
        return kstatus(ready=False, reason=fault[0], message=fault[1], stalled=True)
    if suspended:
        return kstatus(ready=True, reason=Reason.SUSPENDED, message="spec.suspend is true: nothing is started")
    return kstatus(ready=True, reason=Reason.READY, message=notes)


def unhealthy(reason: str, message: str) -> Wanted:
    """Its schedule does not do what it is there for."""
    return Wanted(ConditionType.SCHEDULE_HEALTHY, False, reason, message)


def on_schedule(missed: int) -> Wanted:
    """Its schedule does; slots that were missed are told."""
    note = f"{missed} slots were missed so far" if missed else ""
    return Wanted(ConditionType.SCHEDULE_HEALTHY, True, Reason.ON_SCHEDULE, note)


def newest_run(name: str, reason: str, *, good: bool) -> Wanted:
    """What became of its newest run."""
    return Wanted(ConditionType.LAST_RUN_SUCCEEDED, good, reason, f"the newest run is {name}")


def no_run() -> Wanted:
    """There is no newest run."""
    return Wanted(ConditionType.LAST_RUN_SUCCEEDED, None, Reason.NO_RUN, "no run has finished yet")


def some(names: Sequence[str], limit: int = 10) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
