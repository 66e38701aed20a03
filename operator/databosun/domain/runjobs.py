"""The Jobs of a run, of whatever kind: those of its attempts, and those that look for what it left in storage.

A kind says what the Jobs are told of its own, and what the three steps mean that are not the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from databosun.api.backuptasks import RecoverTask
from databosun.api.request import Request, Task
from databosun.api.targets import DatabaseTarget, SecretUse, StorageTarget
from databosun.api.v1alpha1.common import PodTemplate
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import DataPlace, Plan, StartJob
from databosun.domain.requests import store_secrets
from databosun.domain.run import Conclude, Recover, Start, decide_run
from databosun.domain.running import LOOK_AFTER_START, RunState, go_on, references

RECOVER_DEADLINE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """What the Jobs of every kind of run need to be told."""

    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    image: str
    database: DatabaseTarget | None = None
    policy_uid: str | None = None
    storage_uid: str | None = None
    storage_claim: str | None = None
    pod_template: PodTemplate | None = None
    data: DataPlace | None = None

    @property
    def labels(self) -> dict[str, str]:
        """What the Jobs refer to."""
        return references(self.database.uid if self.database else None, self.policy_uid, self.storage_uid)


S = TypeVar("S")
T = TypeVar("T")
O = TypeVar("O", bound=JobOrder)  # noqa: E741 (a JobOrder)


@dataclass(frozen=True, slots=True)
class Unfinished(Generic[S, T, O]):
    """One unfinished run: spec, status, and order. `order` is None where it is not known what to do."""

    state: RunState
    spec: S
    status: T
    order: O | None

    @property
    def ordered(self) -> O:
        """The order, where one must be there."""
        assert self.order is not None  # noqa: S101 (decide_run starts nothing, and looks for nothing, that is doomed)
        return self.order


class Ordered(Protocol):
    """One unfinished run, as far as its steps are concerned."""

    @property
    def state(self) -> RunState:
        """Where it stands, and its attempts."""
        ...

    @property
    def order(self) -> JobOrder | None:
        """What its Job is told; None where that cannot be said."""
        ...


F = TypeVar("F", bound=Ordered)


def follow(
    facts: F,
    now: datetime,
    *,
    start: Callable[[F, Start, datetime], Plan],
    recover: Callable[[F, Recover, datetime], Plan],
    conclude: Callable[[F, Conclude, datetime], Plan],
) -> Plan:
    """The plan of the run's next step; total, deterministic where the three are."""
    step = decide_run(facts.state.facts, now)
    match step:
        case Start():
            return start(facts, step, now)
        case Recover():
            return recover(facts, step, now)
        case Conclude():
            return conclude(facts, step, now)
        case _:
            return go_on(facts.state, step, now, facts.order.image if facts.order else None)


def attempt_job(
    state: RunState,
    order: JobOrder,
    step: Start,
    task: Task,
    *,
    secrets: Iterable[SecretUse] | None = None,
    not_after: datetime | None = None,
    **room: Any,
) -> StartJob:
    """The Job of an attempt. `secrets`: others than the order's; `not_after`: the agent starts nothing later, for its
    Job may wait for a node; `room`: what StartJob says of volumes."""
    request = Request(
        run=state.ref.name,
        attempt=step.number,
        deadline=step.deadline.replace(microsecond=0),
        not_after=not_after,
        database=order.database,
        storage=order.storage,
        secrets=list(order.secrets if secrets is None else secrets),
        image=order.image,
        job=task,
    )
    return _job(state, order, attempt_job_name(state.ref.name, step.number), request, data=order.data, **room)


def look_for(
    state: RunState,
    order: JobOrder,
    step: Recover,
    task: RecoverTask,
    now: datetime,
    *,
    secrets: Iterable[SecretUse] | None = None,
    storage: StorageTarget | None = None,
    database: DatabaseTarget | None = None,
) -> Plan:
    """Start the Job that reads what the run left in storage. It gets the Secrets of that alone: it decrypts nothing,
    and talks to no database."""
    request = Request(
        run=state.ref.name,
        attempt=step.number,
        deadline=(now + RECOVER_DEADLINE).replace(microsecond=0),
        database=database,
        storage=storage or order.storage,
        secrets=store_secrets(order.secrets if secrets is None else secrets),
        image=order.image,
        job=task,
    )
    job = _job(state, order, recover_job_name(state.ref.name, step.number), request)
    return Plan(before=(job,), wake_at=now + LOOK_AFTER_START)


def _job(state: RunState, order: JobOrder, name: str, request: Request, **room: Any) -> StartJob:
    return StartJob(
        name=name,
        namespace=state.ref.namespace,
        owner=state.owner,
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=order.labels,
        storage_claim=order.storage_claim,
        **room,
    )
