"""Conditions: what is wanted, merged into what stands, so that `lastTransitionTime` moves only when `status` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.v1alpha1.conditions import Condition, ConditionType

MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """One condition as a decision sees it; `status` None is Unknown."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str = ""


def merge_conditions(
    before: Sequence[Condition], wanted: Iterable[Wanted], generation: int, now: datetime
) -> list[Condition]:
    """The new list: every wanted condition, in the order wanted; those no longer wanted are dropped."""
    known = {condition.type: condition for condition in before}
    return [_merge(known.get(want.type), want, generation, now) for want in wanted]


def _merge(old: Condition | None, want: Wanted, generation: int, now: datetime) -> Condition:
    status = {True: "True", False: "False", None: "Unknown"}[want.status]
    moved = old is None or old.status != status or old.last_transition_time is None
    said = (str(want.reason), want.message[:MAX_MESSAGE], generation)
    if old is not None and not moved and said == (old.reason, old.message, old.observed_generation):
        return old
    return Condition.model_validate(
        {
            "type": str(want.type),
            "status": status,
            "reason": str(want.reason),
            "message": want.message[:MAX_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": now.replace(microsecond=0) if moved or old is None else old.last_transition_time,
        }
    )


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: ConditionType) -> bool:
    """Whether the condition is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def kstatus(
    *, ready: bool, reason: str, message: str = "", reconciling: str | None = None, stalled: bool = False
) -> tuple[Wanted, ...]:
    """`Ready`, and the abnormal-true `Reconciling` or `Stalled` where they hold (kstatus: absent means false)."""
    conditions = [Wanted(ConditionType.READY, ready, reason, message)]
    if reconciling is not None:
        conditions.append(Wanted(ConditionType.RECONCILING, True, reason, reconciling))
    if stalled:
        conditions.append(Wanted(ConditionType.STALLED, True, reason, message))
    return tuple(conditions)
