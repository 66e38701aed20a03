"""Conditions, as in metav1.Condition; their reasons stand in `reasons`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Message, Time
from databosun.api.v1alpha1.schema import one_each


class ConditionType(StrEnum):
    """All condition types of all kinds, each with what it says where it is True."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = "Ready", "All is as the spec asks. A run is ready when it succeeded; a failed one never is."
    RECONCILING = "Reconciling", "Work is under way, or is tried again. Absent otherwise."
    STALLED = "Stalled", "Nothing will happen until a person acts; the message says what to do. Absent otherwise."
    REACHABLE = "Reachable", "The database or the store answered when it was last tried."
    PROTECTED = "Protected", "The newest backup is younger than two intervals of its schedule, and no log is missing."
    RPO_MET = "RPOMet", "A disaster right now would cost no more writes than the objective allows."
    CONTINUOUS_HEALTHY = (
        "ContinuousHealthy",
        "The log is shipped, no older than maxLag, onto a backup that it can be replayed onto. Absent where no policy"
        " asks for it.",
    )
    RTO_MET = "RTOMet", "The last drill restored within the objective."
    PROVEN = "Proven", "A drill restored a backup of this database, no longer than 1.5 drill intervals ago."
    SCHEDULE_HEALTHY = "ScheduleHealthy", "The schedules are understood, and no slot was missed of late."
    LAST_RUN_SUCCEEDED = "LastRunSucceeded", "The last run of every database that the policy covers succeeded."
    RETENTION_HEALTHY = (
        "RetentionHealthy",
        "Retention deletes what nothing needs any more, and no guard has stopped it.",
    )
    OVERDUE = (
        "Overdue",
        "A database that the drill covers has passed none within one and a half intervals. Absent otherwise.",
    )
    NEGATIVE_CONTROL_PASSED = (
        "NegativeControlPassed",
        "The last drill that damaged a copy on purpose noticed it. Absent where none was asked for.",
    )
    DRY_RUN_CLEAN = "DryRunClean", "The last look at the rules found nothing that keeps one of them from running."
    APPROVED = "Approved", "An Approval names the plan that is enforced. Absent in mode DryRun."
    FALLING_BEHIND = (
        "FallingBehind",
        "More rows become old enough in a day than enforced runs take. Absent until one has shown how many it takes.",
    )
    BLOCKED_BY_HOLD = "BlockedByHold", "A legal hold keeps a rule from running. Absent otherwise."
    STORES_SEARCHED = (
        "StoresSearched",
        "Every BackupStorage of the namespace was looked through for copies from before the erasure; status.remains"
        " says what was found. Absent before an erasure succeeded.",
    )
    SIZE_PLAUSIBLE = "SizePlausible", "The backup is no smaller than a fifth of the one before it."
    UNVERIFIED = (
        "Unverified",
        "The record was made from a manifest in the store that no valid signature vouches for. Absent otherwise.",
    )


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
