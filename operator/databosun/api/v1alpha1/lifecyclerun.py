"""LifecycleRun: one look at what a policy would do, or one enforced run of its plan. A record, never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import Identifier, Instant, Line, Message, ShortName, Time, first, last
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord, LifecyclePlanStatus, RuleResult
from databosun.api.v1alpha1.run import Attempt, Failure, Progress
from databosun.api.v1alpha1.schema import WHOLE, cel, one_each, rules


class LifecyclePhase(StrEnum):
    """Where a run stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


LIFECYCLE_FINAL = frozenset(LifecyclePhase) - {LifecyclePhase.PENDING, LifecyclePhase.RUNNING}


class LifecycleRunSpec(Model):
    """Of which policy, and whether it is dry; immutable."""

    model_config = rules(
        cel("self == oldSelf", "a LifecycleRun is a record: its spec cannot be changed"),
        cel(
            "has(self.scheduledFor) || has(self.notAfter)",
            "notAfter is required in a LifecycleRun made by hand (at most a day ahead), so that it does not run again"
            " when restored",
        ),
    )
    policy_ref: LocalRef = Field(description="The LifecyclePolicy.")
    mode: LifecycleMode = Field(
        default=LifecycleMode.DRY_RUN,
        description="DryRun: look and count. Enforce: carry out the policy's plan, once an Approval names its hash.",
    )
    schedule: ShortName | None = Field(default=None, description="The policy's schedule that asked for it.")
    scheduled_for: Time | None = Field(
        default=None,
        description="The slot that this run answers; set by the operator. A slot long past is not run again.",
    )
    not_after: Time | None = Field(
        default=None,
        description="By hand: the run does not start after this (at most a day ahead), so that a restored or"
        " re-applied object starts nothing.",
    )


class LifecycleRunStatus(Model):
    """What a run found and did; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(default_factory=list, description="Ready, Reconciling, Stalled.")
    phase: LifecyclePhase | None = Field(
        default=None,
        description="Where it stands. Succeeded: a dry run has looked, or every rule that may run did what it may."
        " Failed: an error stopped at least one rule. Refused: nothing was done, such as for want of an Approval.",
    )
    start_time: Time | None = Field(default=None, description="When the first attempt was started.")
    completion_time: Time | None = Field(default=None, description="When the verdict was reached.")
    deadline: Time | None = Field(default=None, description="The instant at which the running attempt stops by itself.")
    duration: Identifier | None = Field(default=None, description="From start to verdict, such as 4m12s.")
    attempts: Annotated[list[Attempt], Field(max_length=50), one_each("number"), last(50)] = Field(
        default_factory=list, description="What was tried; the newest 50."
    )
    progress: Progress | None = Field(default=None, description="How far the running attempt has come.")
    at: Instant | None = Field(
        default=None, description="The instant that ages are reckoned from, the same for all attempts."
    )
    approved: Identifier | None = Field(default=None, description="Enforce: hash of the plan that it carries out.")
    approval: Identifier | None = Field(default=None, description="Enforce: name of the Approval.")
    plan: LifecyclePlanStatus | None = Field(
        default=None, description="The plan as it was found. Enforce: right before it was carried out."
    )
    rules: Annotated[list[RuleResult], Field(max_length=32), one_each("name")] | None = Field(
        default=None, description="Enforce: what each rule did."
    )
    processed: int | None = Field(default=None, description="Enforce: rows deleted or anonymised, of all rules.")
    remaining: int | None = Field(default=None, description="Eligible rows that are left, of all rules.")
    audit: AuditRecord | None = Field(default=None, description="Enforce: the audit in the store.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What else is to be known."
    )
    failure: Failure | None = Field(default=None, description="Why it did not succeed and what to do about it.")
