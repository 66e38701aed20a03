"""ErasureRequest: one person's right to be forgotten, in a database and in everything that is restored of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.lifecycle import ForeignKeys
from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate, SecretKeyRef
from databosun.api.v1alpha1.fields import Identifier, Line, Message, Name, PositiveDuration, ShortName, Time, first
from databosun.api.v1alpha1.lifecyclepolicy import LifecycleAllow, Mask, RowHold
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord, PlannedRule, RuleResult
from databosun.api.v1alpha1.person import PERSON_RULES, PersonColumn, PersonPattern, PersonTable
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.run import Failure, RunStatus
from databosun.api.v1alpha1.schema import WHOLE, cel, one_each, rules


class ErasurePhase(StrEnum):
    """Where a request stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    AWAITING_APPROVAL = "AwaitingApproval"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


ERASURE_FINAL = frozenset({ErasurePhase.SUCCEEDED, ErasurePhase.FAILED, ErasurePhase.REFUSED})


class ErasureActionType(StrEnum):
    """What becomes of the person's rows."""

    DELETE = "Delete"
    ANONYMIZE = "Anonymize"


class ErasureAction(Model):
    """What becomes of the rows."""

    model_config = rules(
        cel(
            "self.type == 'Anonymize' ? has(self.columns) : !has(self.columns)", "columns are for Anonymize, and needed"
        )
    )
    type: ErasureActionType = Field(description="Delete: delete the rows. Anonymize: overwrite columns of them.")
    columns: Annotated[list[Mask], Field(min_length=1, max_length=64), one_each("name")] | None = Field(
        default=None,
        description="Anonymize: what is overwritten; the column that holds the subject's key must be among them.",
    )


class ErasureRule(Model):
    """One table that the person stands in, or the keys of Redis in whose names they do."""

    model_config = rules(
        *PERSON_RULES,
        cel(
            "!has(self.keyPattern) || self.action.type == 'Delete'",
            "keys are deleted: with keyPattern, action.type must be Delete",
        ),
    )
    name: ShortName = Field(description="Its name, unique in the request; stands in plan, receipt and audit.")
    table: PersonTable | None = None
    column: PersonColumn | None = None
    key_pattern: PersonPattern | None = None
    action: ErasureAction = Field(description="What becomes of these rows.")
    allow: LifecycleAllow = Field(default_factory=LifecycleAllow, description="What may be set off beside.")
    foreign_keys: ForeignKeys = Field(
        default=ForeignKeys.REFUSE,
        description="Where rows of other tables keep the rows from being deleted. Refuse: nothing is erased."
        " ChildrenFirst: rows of the tables in allow.cascades are deleted first.",
    )
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=10_000,
        description="More rows than these with one key are hardly one person's: then nothing is erased.",
    )


class ErasureRequestSpec(Model):
    """Who is to be erased, and where; immutable."""

    model_config = rules(
        cel("self == oldSelf", "an ErasureRequest is carried out once: its spec cannot be changed; create another one")
    )
    database_ref: LocalRef = Field(description="The Database that the person stands in.")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description="Database of the server that holds the tables. Absent: connection.database of the Database, or the"
        " only one that is no template.",
    )
    storage_ref: LocalRef = Field(
        description="The BackupStorage that takes receipt, audit and the ledger that restores read; it must hold all"
        " backups of the Database, and name spec.erasure.keySecretRef."
    )
    subject_secret_ref: SecretKeyRef = Field(
        description="Secret key with the subject's key, as the columns hold it. It is read by the Job alone; delete the"
        " Secret once the request has succeeded."
    )
    rules: Annotated[list[ErasureRule], Field(min_length=1, max_length=32), one_each("name")] = Field(
        description="The tables. Those that refer to others come first, whatever their order here."
    )
    holds: Annotated[list[RowHold], Field(max_length=64), one_each("name")] = Field(
        default_factory=list,
        description="Legal holds, besides those of the LifecyclePolicies of the Database: nothing is erased while a row"
        " of the person is under one.",
    )
    not_after: Time = Field(
        description="The request is not looked at after this (at most a day ahead), so that one that is re-applied, or"
        " came back with a cluster's backup, erases nobody."
    )
    approve_within: PositiveDuration = Field(
        default="7d", description="How long the plan waits for its Approval; at most 30d. Then the request is refused."
    )
    start_deadline: PositiveDuration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="2h", description="How long one attempt may take at most.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass; each goes on where the last stopped."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Jobs' pods.")


class ErasurePlan(Model):
    """What would be erased, as the look has shown it."""

    hash: Identifier = Field(description="What an Approval names: this request, this subject, these rules and tables.")
    at: Time = Field(description="When it was looked.")
    until: Time = Field(description="Until when an Approval is waited for.")
    attempt: int = Field(description="The attempt that looked.")
    rows: int = Field(description="Rows of the person, of all rules, without those that go along.")
    rules: Annotated[list[PlannedRule], Field(max_length=32), one_each("name")] = Field(
        default_factory=list, description="The rules, in the order in which they are carried out."
    )


class StoreSearch(Model):
    """What a look through one store found that no Backup object stands for."""

    place: Line = Field(description="The bucket or claim, and the folder in it.")
    storage: Name = Field(description="The BackupStorage that named it when it was seen last.")
    validated: bool = Field(default=False, description="Whether that storage was ever validated there.")
    under_way: bool = Field(default=False, description="A Job is looking.")
    tried: Time | None = Field(default=None, description="When a Job was last told to look.")
    asked: int = Field(default=0, description="Backups, with objects, that it was told to leave out.")
    tries: int = Field(default=0, description="Tries since the last one that succeeded.")
    error: Message | None = Field(default=None, description="Why the last try came to nothing; absent: it did not.")
    at: Time | None = Field(default=None, description="When the last look began that succeeded.")
    known: int = Field(default=0, description="Backups, with objects, that it left out.")
    copies: int = Field(default=0, description="Backups from before the erasure that it found besides.")
    leftovers: int = Field(default=0, description="Folders with data of failed or half-deleted runs that it found.")
    named: Annotated[list[Line], Field(max_length=5), WHOLE, first(5)] = Field(
        default_factory=list, description="The first of both."
    )
    logs: Annotated[list[Line], Field(max_length=8), WHOLE, first(8)] = Field(
        default_factory=list, description="Logs that reach back to before the erasure."
    )


class ErasureRemains(Model):
    """What holds the person still: backups and logs from before. None of them brings the person back."""

    at: Time = Field(description="When this was reckoned.")
    cleared_after: Line = Field(
        description="When the last of them expires, as things stand. Never: one is kept for ever, held, or lies in a"
        " store without an object. Unknown: of one nobody can say yet, or a store was not looked through. Cleared: no"
        " Backup object is left of one, and every store of the namespace was looked through afterwards and has none."
    )
    backups: int = Field(description="How many Backup objects there are of such backups.")
    unrecorded: int = Field(
        default=0, description="How many such backups lie in the stores that no Backup object stands for."
    )
    lasting: Annotated[list[Line], Field(max_length=16), WHOLE, first(16)] = Field(
        default_factory=list, description="Those without a date, and why; the first 16."
    )
    stores: Annotated[list[StoreSearch], Field(max_length=32), one_each("place"), first(32)] = Field(
        default_factory=list, description="The stores of the namespace, and what a look through each of them found."
    )


class ErasureRequestStatus(RunStatus):
    """What was found and done; written by the operator alone. The subject's key stands nowhere in it."""

    phase: ErasurePhase | None = Field(
        default=None,
        description="Where it stands. AwaitingApproval: look at status.plan. Succeeded: no row with the subject was"
        " left. Failed: what was committed stays done. Refused: nothing was done.",
    )
    subject: Identifier | None = Field(default=None, description="Keyed hash of the subject's key (HMAC-SHA-256).")
    plan: ErasurePlan | None = Field(default=None, description="What would be erased.")
    approved: Identifier | None = Field(default=None, description="Hash of the plan that is carried out.")
    approval: Name | None = Field(default=None, description="Name of the Approval.")
    rules: Annotated[list[RuleResult], Field(max_length=32), one_each("name")] | None = Field(
        default=None, description="What each rule did."
    )
    processed: int | None = Field(default=None, description="Rows deleted or anonymised, with those that went along.")
    verified_time: Time | None = Field(default=None, description="When it was counted that no row was left.")
    receipt: StoredRecord | None = Field(
        default=None, description="The receipt in the store: tables, rows and times, and no personal data."
    )
    audit: AuditRecord | None = Field(default=None, description="The audit in the store.")
    remains: ErasureRemains | None = Field(default=None, description="What still holds the person, until when.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What else is to be known."
    )
    failure: Failure | None = Field(default=None, description="Why it did not succeed and what to do about it.")
