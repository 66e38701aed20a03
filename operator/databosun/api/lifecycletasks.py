"""What Jobs are told that change or read rows by a rule: lifecycles, erasures, exports of one person's data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.dataexport import ExportOrder
from databosun.api.lifecycle import BatchOrder, CallFact, LifecycleMode, LifecycleOrder, ThrottleOrder
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.tiering import TieringScope
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

KNOWN_CALLS = (
    "Enforce: by rule the functions and views of the plan that was approved, to name those that are others now."
)


class LifecycleTask(Model):
    """Look what the rules of a lifecycle would do, or do it: exactly the plan of the approved hash, or nothing.

    The agent makes the plan anew from what it finds (`domain/lifecycle.py`), and refuses where its hash is another.
    `Secret hash`, key `key`: what keys and columns are hashed with, where the policy names one.
    """

    task: Literal["lifecycle"] = "lifecycle"
    id: str = Field(description="The run's name.")
    policy: str = Field(description="Name of the LifecyclePolicy.")
    mode: LifecycleMode = LifecycleMode.DRY_RUN
    at: Instant = Field(description="The instant that ages are reckoned from; the same in all attempts of a run.")
    order: LifecycleOrder
    approved: str | None = Field(default=None, description="Enforce: hash of the plan that was approved.")
    calls: dict[str, list[CallFact]] = Field(default_factory=dict, description=KNOWN_CALLS)
    held: str | None = Field(
        default=None, description="The hold over the whole policy or Database, in words: indexes that delete must stop."
    )
    batch: BatchOrder = Field(default_factory=BatchOrder)
    throttle: ThrottleOrder = Field(default_factory=ThrottleOrder)
    stop_at: Instant | None = Field(
        default=None, description="Enforce: no batch begins after this; the run then succeeds with what it has done."
    )
    previous: PreviousEvidence | None = Field(default=None, description="The audit of the enforced run before this.")
    tiering: TieringScope = Field(
        default_factory=TieringScope, description="StorageTransition: what it would break, and what stays."
    )


class EraseTask(Model):
    """Look where a subject stands, or erase it there: exactly the plan of the approved hash, or nothing.

    `Secret subject`, key `subject`: the subject's key. `Secret erasure`, key `key`: what it is hashed with.
    """

    task: Literal["erase"] = "erase"
    id: str = Field(description="The request's name.")
    uid: str = Field(description="The request's uid.")
    mode: LifecycleMode = LifecycleMode.DRY_RUN
    at: Instant
    order: LifecycleOrder
    system: str | None = Field(default=None, description="The server's own identity, as it is known.")
    approved: str | None = Field(default=None, description="Enforce: hash of the plan that was approved.")
    calls: dict[str, list[CallFact]] = Field(default_factory=dict, description=KNOWN_CALLS)
    previous: PreviousEvidence | None = Field(default=None, description="The audit of the erasure before this.")


class ExportTask(Model):
    """Write all rows of a subject into the store. `Secret subject` and `Secret erasure`: as of an EraseTask."""

    task: Literal["export"] = "export"
    id: str = Field(description="The export's name.")
    uid: str = Field(description="The export's uid.")
    database_uid: str
    database: str | None = Field(default=None, description="Of the server; None: the one that there is.")
    storage: str = Field(description="Name of the BackupStorage.")
    rules: list[ExportOrder]
    expires_seconds: int = Field(description="How long the files are kept.")
