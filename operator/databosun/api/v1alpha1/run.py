"""What all kinds of runs have in common: rules and fields of their specs, and their statuses."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import Identifier, Line, LogTail, Message, Time, last
from databosun.api.v1alpha1.schema import cel, one_each


class Attempt(Model):
    """One try: one Job."""

    number: Annotated[int, Field(ge=1)] = Field(description="Counts from 1.")
    job: Identifier = Field(description="Name of the Job.")
    started_at: Time | None = Field(default=None, description="When its pod started.")
    deadline: Time | None = Field(default=None, description="The instant at which it stops by itself.")
    ended_at: Time | None = Field(default=None, description="When it ended.")
    reason: Line | None = Field(default=None, description="How it ended, in one word.")
    message: Message | None = Field(default=None, description="How it ended, for people.")
    retryable: bool = Field(default=False, description="Whether another try may end otherwise.")
    certain: bool = Field(
        default=False,
        description="True: said by the agent itself, or no agent ran; false: inferred from the Job and its pod.",
    )


class Progress(Model):
    """How far the running attempt has come."""

    stage: Line | None = Field(default=None, description="What is being done.")
    bytes: int = Field(default=0, description="Bytes done.")
    total_bytes: int | None = Field(default=None, description="Bytes expected.")
    percent: int | None = Field(default=None, description="The same in percent.")


class Failure(Model):
    """Why a run failed and what to do about it."""

    reason: Line = Field(description="Why, in one CamelCase word; every one is explained in the reference.")
    message: Message = Field(description="Why, for people: what was found, what was expected, what to do.")
    log_tail: LogTail | None = Field(default=None, description="The last lines of the agent's log.")


ScheduledFor = Annotated[
    Time | None,
    Field(description="The slot that this run answers; set by the operator. A slot long past is not run again."),
]
NotAfter = Annotated[
    Time | None,
    Field(
        description="By hand: the run does not start after this (at most a day ahead), so that a restored or re-applied"
        " object starts nothing."
    ),
]


def record(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """The rules of a kind whose objects a schedule makes, or a person, and nobody changes."""
    return (
        cel("self == oldSelf", f"a {kind} is a record: its spec cannot be changed"),
        cel(
            "has(self.scheduledFor) || has(self.notAfter)",
            f"notAfter is required in a {kind} made by hand (at most a day ahead), so that it does not run again when"
            " restored",
        ),
    )


class RunStatus(Model):
    """How far a run has come."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(default_factory=list, description="Ready, Reconciling, Stalled.")
    phase: StrEnum | None = Field(default=None, description="Where it stands.")
    start_time: Time | None = Field(default=None, description="When the first attempt was started.")
    completion_time: Time | None = Field(default=None, description="When the verdict was reached.")
    deadline: Time | None = Field(default=None, description="The instant at which the running attempt stops by itself.")
    duration: Identifier | None = Field(default=None, description="From start to verdict, such as 4m12s.")
    attempts: Annotated[list[Attempt], Field(max_length=50), one_each("number"), last(50)] = Field(
        default_factory=list, description="What was tried; the newest 50."
    )
    progress: Progress | None = Field(default=None, description="How far the running attempt has come.")
