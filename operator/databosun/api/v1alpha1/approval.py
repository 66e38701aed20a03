"""Approval: a person's consent to one plan, by its hash."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model, ShortName, Time, cel, rules


class ApprovalRef(Model):
    """The object whose plan is approved."""

    kind: Literal["BackupPolicy", "FailoverTestRun", "LifecyclePolicy"]
    name: Annotated[str, Field(min_length=1, max_length=63)]


class ApprovalSpec(Model):
    """Who agrees to what, until when; immutable."""

    model_config = rules(cel("self == oldSelf", "an Approval cannot be changed; create another"))
    ref: ApprovalRef
    plan_hash: Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[0-9a-f]+$")]
    approved_by: Annotated[str, Field(min_length=1, max_length=253)]
    not_after: Time
