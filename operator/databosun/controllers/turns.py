"""Whose turn it is: what a run waits for before it starts, and what it keeps others from while its agent may work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers.candidates import not_ready
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenStorage
from databosun.domain.attempt import Limits
from databosun.domain.interlock import Active, Operation, blockers
from databosun.domain.run import Blocked, Doomed
from databosun.domain.runjobs import JobOrder
from databosun.kube.resources import RUN_KINDS
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """What decides over a run's start beside its own Jobs. `doomed` says why it can never start; `order` is None where
    it is not known what to do; `starting_deadline`: how long after its slot it may start, None: it is never too old."""

    limits: Limits
    order: JobOrder | None = None
    starting_deadline: timedelta | None = None
    blocked: Blocked | None = None
    doomed: Doomed | None = None
    database_uid: str | None = None
    policy_uid: str | None = None
    storage_uid: str | None = None
    storage_limit: int = 1
    allow_same: bool = False


O = TypeVar("O", bound=Ordering)  # noqa: E741 (an Ordering)


def stored_in(ordered: O, storage: SeenStorage, until: datetime | None) -> O:
    """The same of a run that works on this storage: it waits until that is ready, and for its turn there."""
    return replace(
        ordered,
        blocked=not_ready(storage, until),
        storage_uid=storage.meta.uid,
        storage_limit=storage.spec.max_concurrent_runs,
    )


class Turns:
    """The turns of one kind of run."""

    def __init__(self, context: Context, operation: Operation) -> None:
        self._context = context
        self._operation = operation

    def blocked(self, key: Key, ordered: Ordering, until: datetime | None) -> Blocked | None:
        """Who stands in the way; asked at the last moment before the decision. It looks again at `until` at the
        latest."""
        found = blockers(
            self._operation,
            ordered.database_uid,
            ordered.storage_uid,
            self._context.register.others(key),
            ordered.storage_limit,
            ordered.allow_same,
        )
        if not found:
            return None
        return Blocked(Reason.WAITING, f"{found[0]}; this run starts after it", until)

    def claim(self, key: Key, name: str, ordered: Ordering) -> None:
        """From now on others wait for this run."""
        active = Active(self._operation, ordered.database_uid, ordered.storage_uid, name)
        self._context.register.claim(key, active)

    def release(self, key: Key) -> None:
        """Let those that waited for this run look again."""
        if self._context.register.release(key):
            for resource in RUN_KINDS:
                for other in self._context.cache.keys(resource.kind):
                    if other != key:
                        self._context.add(other, None)
