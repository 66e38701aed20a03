"""Approval: a person's consent to one plan, by its hash."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Name, Time
from databosun.api.v1alpha1.schema import cel, matches, rules

_HASH = r"^[0-9a-f]+$"


class ApprovalRef(Model):
    """The object whose plan is approved."""

    kind: Literal["BackupPolicy", "Database", "ErasureRequest", "FailoverTestRun", "LifecyclePolicy", "Restore"] = (
        Field(description="Its kind.")
    )
    name: Annotated[Name, Field(max_length=63)] = Field(description="Its name, in the namespace of the Approval.")


class ApprovalSpec(Model):
    """Who agrees to what, until when; immutable."""

    model_config = rules(cel("self == oldSelf", "an Approval cannot be changed; create another"))
    ref: ApprovalRef = Field(description="The object whose plan is approved.")
    plan_hash: Annotated[
        str,
        Field(min_length=8, max_length=64, pattern=_HASH),
        matches(_HASH, "the plan's hash as the object's status shows it (lower case hex)"),
    ] = Field(description="Hash of the plan, as the object's status shows it; another plan needs another Approval.")
    approved_by: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="User name of the person who approves; the admission policy admits the requesting user only."
    )
    not_after: Time = Field(description="The consent ends at this instant.")
