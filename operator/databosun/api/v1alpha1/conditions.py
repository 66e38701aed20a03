"""Conditions (metav1.Condition) and every reason they may carry. A reason is never renamed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model, Time


class ConditionType(StrEnum):
    """All condition types of all kinds."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    REACHABLE = "Reachable"
    PROTECTED = "Protected"
    RPO_MET = "RPOMet"
    RTO_MET = "RTOMet"
    PROVEN = "Proven"
    SCHEDULE_HEALTHY = "ScheduleHealthy"
    LAST_RUN_SUCCEEDED = "LastRunSucceeded"
    RETENTION_HEALTHY = "RetentionHealthy"
    SIZE_PLAUSIBLE = "SizePlausible"


class Condition(Model):
    """One observation about an object, as in metav1.Condition."""

    type: Annotated[str, Field(max_length=64)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    message: Annotated[str, Field(max_length=4096)] = ""
    last_transition_time: Time | None = None
    observed_generation: int | None = None
