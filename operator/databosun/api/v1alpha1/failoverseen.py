"""What a failover test measured, as it stands in the status of its run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.failoverprobe import ErrorName, PathKind
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Identifier, Line, Message, Time, first
from databosun.api.v1alpha1.schema import WHOLE, one_each


class FailoverMeasurement(Model):
    """What the ledger of writes says."""

    write_downtime_milliseconds: int | None = Field(
        default=None, description="Longest time without a write that was acknowledged."
    )
    write_downtime: Identifier | None = Field(default=None, description="The same for people, such as 2.6s.")
    read_downtime_milliseconds: int | None = Field(
        default=None, description="Longest time without a read that was answered."
    )
    promotion_milliseconds: int | None = Field(
        default=None, description="From the order to switch until the candidate was primary."
    )
    recovered_milliseconds: int | None = Field(
        default=None,
        description="FaultInjection: nobody was promoted; from the order until the same primary took writes again.",
    )
    rejoin_milliseconds: int | None = Field(
        default=None, description="From the order to switch until the old primary followed the new one."
    )
    acknowledged: int = Field(default=0, description="Writes that were acknowledged.")
    lost: int = Field(default=0, description="Those that were not there after the promotion.")
    unknown: int = Field(
        default=0, description="Writes that were neither acknowledged nor refused; they never count as lost."
    )
    phantom: int = Field(default=0, description="Writes that were refused, and were there all the same.")
    rejoin_lost: int = Field(
        default=0, description="Writes that were there after the promotion, and gone once the old primary was back."
    )
    split_brain: Annotated[list[Line], Field(max_length=16), WHOLE, first(16)] = Field(
        default_factory=list, description="Each proof that two nodes took writes at once; empty: none was found."
    )


class ErrorSeen(Model):
    """Errors of one sort that a writer met."""

    kind: Identifier = Field(description="The engine's own code or word.")
    name: ErrorName = Field(
        default=ErrorName.OTHER,
        description="What it is, and what retries must survive, in words that all engines share.",
    )
    count: int = Field(description="How often.")
    unknown: int = Field(default=0, description="Of these, writes of which nobody knows whether they are done.")
    example: Line | None = Field(default=None, description="One of them.")


ErrorsSeen = Annotated[list[ErrorSeen], Field(max_length=16), one_each("kind"), first(16)]


class ClientResult(Model):
    """One writer: what an application would have seen."""

    name: Identifier = Field(description="Its name.")
    path: Identifier = Field(description="The way that it took to the database.")
    acknowledged: int = Field(default=0, description="Writes that were acknowledged.")
    longest_gap_milliseconds: int | None = Field(
        default=None, description="Longest time between two writes that were acknowledged."
    )
    first_success_milliseconds: int | None = Field(
        default=None, description="From the order to switch until the new primary acknowledged its first write."
    )
    errors: ErrorsSeen = Field(default_factory=list, description="What its retries must survive.")


class PathResult(Model):
    """All writers of one path: what an application there would have lived through."""

    name: Identifier = Field(description="Its name; service is that of the Database's connection.")
    kind: PathKind = Field(description="Service or Pooler.")
    clients: int = Field(default=0, description="How many writers took it.")
    acknowledged: int = Field(default=0, description="Writes that were acknowledged.")
    failed: int = Field(default=0, description="Writes that were refused: they are known not to be done.")
    unknown: int = Field(default=0, description="Writes that were neither acknowledged nor refused.")
    broken_connections: int = Field(default=0, description="Sessions that ended under a writer.")
    write_downtime_milliseconds: int | None = Field(
        default=None, description="Longest time in which none of its writers was acknowledged a write."
    )
    write_downtime: Identifier | None = Field(default=None, description="The same for people, such as 2.6s.")
    first_success_milliseconds: int | None = Field(
        default=None, description="From the order until the new primary acknowledged a write of any of its writers."
    )
    all_succeeded_milliseconds: int | None = Field(
        default=None, description="The same for the last of its writers. Absent: one of them never wrote again."
    )
    errors: ErrorsSeen = Field(default_factory=list, description="What retries must survive, the most frequent first.")


class InstanceResult(Model):
    """One node, asked past every Service and pooler whether it takes writes."""

    name: Identifier = Field(description="Its name, the provider's own.")
    asked: int = Field(default=0, description="How often it was asked.")
    took_writes: int = Field(default=0, description="How often it said that it takes writes.")
    last_milliseconds: int | None = Field(
        default=None, description="From the order until it said so last. Absent: it did not after the order."
    )
    first_milliseconds: int | None = Field(
        default=None, description="From the order until it said so for the first time."
    )
    errors: ErrorsSeen = Field(default_factory=list, description="Where it did not answer.")


class FailbackResult(Model):
    """The move of the primary back to where it was."""

    phase: Identifier = Field(description="Its verdict. Refused: nothing was moved, and the new primary stays.")
    reason: Identifier = Field(description="Why it ended so.")
    message: Message = Field(description="The same for people.")
    primary: Identifier = Field(description="The node that was primary before it.")
    candidate: Identifier = Field(description="The node that was to be primary again.")
    at: Time | None = Field(default=None, description="When it was ordered. Absent: it was not.")
    result: FailoverMeasurement | None = Field(
        default=None, description="What the ledger of writes says of this move alone."
    )
