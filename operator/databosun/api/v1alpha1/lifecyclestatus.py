"""What a lifecycle shows: the plan that is to be approved, what runs did, and how the backlog fares."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.databasestatus import DrillCursor
from databosun.api.v1alpha1.fields import Identifier, Line, Message, ShortName, Time, first
from databosun.api.v1alpha1.schema import WHOLE, one_each

MAX_CHILDREN = 32


class PlannedChild(Model):
    """A table whose rows go along, or are changed."""

    table: Line = Field(description="The table.")
    key: Line = Field(description="The foreign key by which it refers.")
    parent: Line = Field(description="The table that it refers to.")
    on_delete: Line = Field(description="What the server does with its rows, such as Cascade or SetNull.")
    rows: int | None = Field(default=None, description="Rows that would go along, when it was counted.")


class PlannedCall(Model):
    """A function or a view of people's own that a plan is bound to."""

    name: Line = Field(description="What it is, such as function public.is_old(date).")
    sha256: Identifier = Field(description="Of its definition; with another one it is another plan.")


class PatternReport(Model):
    """What lies under a pattern of keys, whether it is touched or not."""

    keys: int = Field(default=0, description="Keys with such a name.")
    bytes: int = Field(default=0, description="What they take in memory, by the server's estimate of a sample.")
    lasting: int = Field(default=0, description="Keys without a time to live.")


class PlannedRule(Model):
    """What one rule would do."""

    name: ShortName = Field(description="Name of the rule.")
    action: ActionType = Field(description="What becomes of the rows.")
    table: Line = Field(
        description="The table, with its schema; of keys the database's number and the pattern; of StorageTransition"
        " the bucket."
    )
    eligible: int = Field(
        default=0, description="Rows that it matches and nothing keeps; of StorageTransition backups."
    )
    rows: int = Field(default=0, description="Rows of the table, or keys of the database.")
    bytes: int = Field(default=0, description="Of the eligible rows, estimated.")
    held: int = Field(default=0, description="Rows that only a hold keeps.")
    kept_newest: int = Field(default=0, description="Rows that only keepNewest keeps.")
    alike: int = Field(
        default=0,
        description="Of an erasure: rows that are not the person's to the letter, and that the column's collation takes"
        " for theirs. They stay.",
    )
    oldest: Time | None = Field(
        default=None, description="Age of the oldest eligible row; of a key when it was last read or written."
    )
    newest: Time | None = Field(default=None, description="Age of the newest eligible row, or key.")
    inflow_per_day: int = Field(default=0, description="Rows that become eligible in a day.")
    pattern: PatternReport | None = Field(default=None, description="Of a rule on keys: what lies under its pattern.")
    samples: Annotated[list[Line], Field(max_length=10), WHOLE, first(10)] = Field(
        default_factory=list, description="Keyed hashes of some rows' keys."
    )
    children: Annotated[list[PlannedChild], Field(max_length=MAX_CHILDREN), WHOLE, first(MAX_CHILDREN)] = Field(
        default_factory=list, description="What goes along, in the order of deletion; the first 32."
    )
    calls: Annotated[list[PlannedCall], Field(max_length=32), WHOLE, first(32)] = Field(
        default_factory=list,
        description="Functions and views that its condition, the holds on its rows and the triggers call, and what is"
        " called there; the first 32.",
    )
    partitions: Annotated[list[Line], Field(max_length=32), WHOLE, first(32)] = Field(
        default_factory=list, description="Whole partitions that a run would take; the first 32."
    )
    kept: Annotated[list[Line], Field(max_length=32), WHOLE, first(32)] = Field(
        default_factory=list,
        description="Partitions that begin before the cutoff, or chains of backups that are old enough, and stay, and"
        " why; the first 32.",
    )
    moves: Annotated[list[Line], Field(max_length=32), WHOLE, first(32)] = Field(
        default_factory=list, description="Chains of backups that would go to another storage class; the first 32."
    )
    index: Line | None = Field(
        default=None, description="EnsureTTL: the index that a run makes, changes or keeps; it deletes by itself."
    )
    refusals: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] = Field(
        default_factory=list, description="Why it may not run; each begins with its reason. Empty: it may."
    )


class LifecyclePlanStatus(Model):
    """The plan, as the last look has shown it."""

    hash: Identifier = Field(description="What an Approval names. It changes with what matters, not with counts.")
    order_hash: Identifier = Field(description="Of the rules alone: another one needs another look.")
    run: Identifier = Field(description="The LifecycleRun that looked.")
    at: Time = Field(description="The instant that ages were reckoned from.")
    server: Line | None = Field(default=None, description="The server that it is for; for another it is another plan.")
    place: Line | None = Field(default=None, description="The store that it is for: archives, and the audit.")
    rules: Annotated[list[PlannedRule], Field(max_length=32), one_each("name")] = Field(
        default_factory=list, description="The rules, in the order in which they run."
    )


class RuleResult(Model):
    """What one rule did in a run."""

    name: ShortName = Field(description="Name of the rule.")
    action: ActionType = Field(description="What became of the rows.")
    state: RuleState = Field(
        description="Completed: nothing that it may take is left. Limited: it stopped at a limit or at the end of the"
        " time. Refused: it touched nothing. Failed: an error stopped it."
    )
    archived: int = Field(default=0, description="Rows archived, and verified in the store.")
    deleted: int = Field(default=0, description="Rows deleted.")
    anonymized: int = Field(default=0, description="Rows anonymised.")
    expiring: int = Field(default=0, description="Keys that were given a time to live.")
    children: int = Field(default=0, description="Rows of other tables that went along.")
    partitions: Annotated[list[Line], Field(max_length=32), WHOLE, first(32)] = Field(
        default_factory=list, description="Partitions dropped or detached; the first 32."
    )
    moved: int = Field(default=0, description="Backups tagged, so that the bucket moves their objects.")
    bucket_rules: Annotated[list[Line], Field(max_length=4), WHOLE, first(4)] = Field(
        default_factory=list, description="IDs of the policy's rules of the bucket, as the server returned them."
    )
    index: Line | None = Field(default=None, description="EnsureTTL: the index as the server returned it.")
    changed: int = Field(default=0, description="Rows that changed after they were archived, and so were kept.")
    batches: int = Field(default=0, description="How many transactions it took.")
    remaining: int | None = Field(default=None, description="Eligible rows that are left.")
    oldest: Time | None = Field(default=None, description="Age of the oldest of them.")
    seconds: int = Field(default=0, description="How long it worked.")
    throttled_seconds: int = Field(default=0, description="Of these, waiting for replicas or locks.")
    bytes_logical: int = Field(default=0, description="Of the rows that went.")
    bytes_reclaimed: int = Field(
        default=0,
        description="By which the table became smaller on disk; of keys the server in memory, whoever did it.",
    )
    artefacts: int = Field(default=0, description="Archives written.")
    reason: Line | None = Field(default=None, description="Why it was refused or failed, in one word.")
    message: Message | None = Field(default=None, description="The same for people.")


class AuditRecord(Model):
    """The audit of an enforced run, in the store."""

    run: Identifier = Field(description="The LifecycleRun that wrote it.")
    uri: Line = Field(description="Where it is.")
    sha256: Identifier = Field(description="Of its last link; the audit of the next run names it.")


class RuleBacklog(Model):
    """How one rule fares over time."""

    name: ShortName = Field(description="Name of the rule.")
    state: Line = Field(description="Planned, or how it ended in the last enforced run.")
    remaining: int = Field(default=0, description="Eligible rows that are left.")
    oldest_eligible: Time | None = Field(default=None, description="Age of the oldest of them.")
    rate_per_day: int | None = Field(default=None, description="Rows that enforced runs took in a day, of late.")
    inflow_per_day: int = Field(default=0, description="Rows that become eligible in a day.")
    eta_days: int | None = Field(
        default=None, description="Days until nothing is left, at this rate. Absent: not known, or never."
    )
    held_back: int = Field(default=0, description="Rows that only a hold keeps.")
    processed: int = Field(default=0, description="Rows taken by all enforced runs so far.")
    measured_at: Time | None = Field(default=None, description="When it was counted last.")


class LastLifecycleRun(Model):
    """The newest run that ended."""

    name: Identifier = Field(description="Name of the run.")
    mode: Identifier = Field(description="DryRun or Enforce.")
    phase: Identifier = Field(description="How it ended.")
    at: Time = Field(description="When it was created.")
    reason: Line | None = Field(default=None, description="Why it did not succeed, in one word.")


class GivenApproval(Model):
    """The Approval that carries enforced runs."""

    name: Identifier = Field(description="Name of the Approval.")
    by: Identifier = Field(description="Who approved.")
    not_after: Time = Field(description="When the consent ends.")


class LifecyclePolicyStatus(Model):
    """How a policy fares; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled, ScheduleHealthy, LastRunSucceeded, DryRunClean, Approved,"
        " FallingBehind, BlockedByHold.",
    )
    plan: LifecyclePlanStatus | None = Field(default=None, description="The plan, as the last look has shown it.")
    approval: GivenApproval | None = Field(default=None, description="The Approval of this very plan.")
    rules: Annotated[list[RuleBacklog], Field(max_length=32), one_each("name")] = Field(
        default_factory=list, description="How each rule fares."
    )
    remaining: int | None = Field(default=None, description="Eligible rows that are left, of all rules.")
    archived_until: Time | None = Field(
        default=None,
        description="StorageTransition: backups up to this one lie in an archive class of the bucket, or go there.",
    )
    last_run: LastLifecycleRun | None = Field(default=None, description="The newest run that ended.")
    last_enforced_time: Time | None = Field(default=None, description="When the newest enforced run ended well.")
    audit: AuditRecord | None = Field(default=None, description="The newest audit.")
    counted: Annotated[list[Identifier], Field(max_length=256), WHOLE, first(256)] = Field(
        default_factory=list, description="Finished runs that are kept and stand in the numbers above."
    )
    cursor: DrillCursor | None = Field(default=None, description="How far the schedule has come.")
    next_schedule_time: Time | None = Field(default=None, description="The next slot.")
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
