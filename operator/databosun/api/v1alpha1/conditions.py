"""Conditions, as in metav1.Condition; their reasons stand in `reasons`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Message, Time
from databosun.api.v1alpha1.schema import one_each


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

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="What is observed, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Why, in one CamelCase word; every one is explained in the reference."
    )
    message: Message = Field(default="", description="Why, for people: what was found, what was expected, what to do.")
    last_transition_time: Time | None = Field(default=None, description="When status last changed.")
    observed_generation: int | None = Field(default=None, description="Generation of the spec that was observed.")


Conditions = Annotated[list[Condition], Field(max_length=32), one_each("type")]
