"""LifecycleRun: one look at what a policy would do, or one enforced run of its plan. A record, never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.fields import Identifier, Instant, Line, Message, ShortName, Time, first
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord, LifecyclePlanStatus, RuleResult
from databosun.api.v1alpha1.run import Failure, NotAfter, RunStatus, ScheduledFor, record
from databosun.api.v1alpha1.schema import WHOLE, one_each, rules


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
        *record("LifecycleRun"),
    )
    policy_ref: LocalRef = Field(description="The LifecyclePolicy.")
    mode: LifecycleMode = Field(
        default=LifecycleMode.DRY_RUN,
        description="DryRun: look and count. Enforce: carry out the policy's plan, once an Approval names its hash.",
    )
    schedule: ShortName | None = Field(default=None, description="The policy's schedule that asked for it.")
    scheduled_for: ScheduledFor = None
    not_after: NotAfter = None


class LifecycleRunStatus(RunStatus):
    """What a run found and did; written by the operator alone."""

    phase: LifecyclePhase | None = Field(
        default=None,
        description="Where it stands. Succeeded: a dry run has looked, or every rule that may run did what it may."
        " Failed: an error stopped at least one rule. Refused: nothing was done, such as for want of an Approval.",
    )
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
    archived_until: Time | None = Field(
        default=None,
        description="StorageTransition: backups up to this one lie in an archive class of the bucket, or go there.",
    )
    audit: AuditRecord | None = Field(default=None, description="Enforce: the audit in the store.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What else is to be known."
    )
    failure: Failure | None = Field(default=None, description="Why it did not succeed and what to do about it.")
