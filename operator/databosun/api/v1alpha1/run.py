"""What the statuses of all kinds of runs have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Identifier, Line, LogTail, Message, Time


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
