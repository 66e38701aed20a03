"""Say in an object's own status what a person must put right, where its controller could not get as far as that."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from databosun.api.v1alpha1.conditions import Condition, ConditionType
from databosun.controllers.context import Context
from databosun.domain.conditions import Wanted, kstatus, merge_conditions
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.kube.merge import merge_patch
from databosun.kube.resources import APPROVALS, OWN_KINDS
from databosun.runtime.queue import Key

logger = logging.getLogger(__name__)

_RESOURCES = {resource.kind: resource for resource in OWN_KINDS if resource is not APPROVALS}
_OURS = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
# What time makes untrue, and nobody would notice: whoever looks at these must not be told what was so once.
_JUDGED = (
    ConditionType.PROTECTED,
    ConditionType.RPO_MET,
    ConditionType.CONTINUOUS_HEALTHY,
    ConditionType.PROVEN,
    ConditionType.RTO_MET,
)


async def tell(context: Context, key: Key, fault: UserFault | SafetyStop) -> None:
    """Write `Ready=False` and `Stalled=True`. What its controller would judge now is Unknown; other conditions stay.

    Where that cannot be written, the log has it."""
    resource = _RESOURCES.get(key.kind)
    if resource is None:
        return
    try:
        body = await context.kube.get(resource, key.namespace, key.name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return
        metadata, status = body["metadata"], body.get("status") or {}
        patch = merge_patch(status, status | _changes(status, metadata.get("generation", 1), fault, context))
        if patch:
            version = metadata["resourceVersion"]
            body = await context.kube.patch_status(resource, key.namespace, key.name, patch, version)
            context.took(key.kind, body)
    except DatabosunError as error:
        fields = {"key": str(key), "fault": str(fault), "why": str(error)}
        logger.warning("a status could not be written", extra={"fields": fields})


def _changes(
    status: Mapping[str, Any], generation: int, fault: UserFault | SafetyStop, context: Context
) -> dict[str, Any]:
    before = list(_known(status.get("conditions") or ()))
    wanted = list(kstatus(ready=False, reason=fault.reason, message=fault.message, stalled=True))
    unjudged = f"it is not judged any more, since the look at it ends before that: {fault.message}"
    there = {one.type for one in before}
    wanted += [Wanted(kind, None, fault.reason, unjudged) for kind in _JUDGED if kind in there]
    merged = merge_conditions(before, wanted, generation, context.clock.now())
    kept = [one for one in before if one.type not in (*_OURS, *_JUDGED)]
    return {"observedGeneration": generation, "conditions": [one.dump() for one in (*merged, *kept)]}


def _known(conditions: Iterable[Any]) -> Iterable[Condition]:
    for one in conditions:
        try:
            yield Condition.model_validate(one)
        except ValidationError:
            continue
