"""The words of a data lifecycle: what the operator orders, and the facts of the tables that a plan is made from.

Shared by requests, results and statuses. What a plan's hash covers is said in `domain/lifecycle.py`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.tiering import BucketFacts, Conflict, TransitionOrder
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

MOST_HOLDS = 64
"""How many holds one order takes."""


class LifecycleMode(StrEnum):
    """DryRun looks and counts, and changes nothing. Enforce carries out an approved plan."""

    DRY_RUN = "DryRun"
    ENFORCE = "Enforce"


class ActionType(StrEnum):
    """What becomes of the rows that a rule matches."""

    ARCHIVE = "Archive"
    DELETE = "Delete"
    PURGE = "PurgeSoftDeleted"
    ANONYMIZE = "Anonymize"
    DROP_PARTITION = "DropPartition"
    DETACH_PARTITION = "DetachPartition"
    STORAGE_TRANSITION = "StorageTransition"
    EXPIRE = "Expire"
    ENSURE_TTL = "EnsureTTL"


class ArchiveFormat(StrEnum):
    """How rows are archived."""

    JSON_LINES = "jsonl.zst"


class MaskMethod(StrEnum):
    """What a column is overwritten with."""

    FIXED = "Fixed"
    NULL = "Null"
    HASH = "Hash"
    PARTIAL = "Partial"
    GENERALIZE = "Generalize"


class Granularity(StrEnum):
    """What a date or an instant is rounded down to."""

    DAY = "Day"
    MONTH = "Month"
    YEAR = "Year"


class ForeignKeys(StrEnum):
    """What is done about tables that refer to the rows: Refuse the rule, or delete the children that it lists first."""

    REFUSE = "Refuse"
    CHILDREN_FIRST = "ChildrenFirst"


class MaskOrder(Model):
    """One column that is overwritten."""

    column: str
    method: MaskMethod
    value: str | None = Field(default=None, description="Fixed: the value, as the server reads it.")
    keep_first: int = Field(default=0, description="Partial: characters that stay at the start.")
    keep_last: int = Field(default=0, description="Partial: characters that stay at the end.")
    step: int | None = Field(default=None, description="Generalize, a number: round down to a multiple.")
    to: Granularity | None = Field(default=None, description="Generalize, a date or an instant: round down to.")


class LimitsOrder(Model):
    """What a rule may do in one run. Rows: it stops there and goes on in the next. Percent: beyond, it does nothing."""

    max_rows_per_run: int
    max_percent: int
    keep_newest: int = 0
    min_retention_seconds: int = 0


class RuleOrder(Model):
    """One rule, its durations in seconds."""

    name: str
    table: str = Field(default="", description="As people wrote it, such as public.orders; none of StorageTransition.")
    action: ActionType
    column: str | None = Field(
        default=None, description="What the age is read from; PurgeSoftDeleted: when the row was marked as deleted."
    )
    older_than_seconds: int | None = None
    where: str | None = Field(
        default=None,
        description="A condition of the server's SQL on the table's own columns; of MongoDB a filter in Extended JSON.",
    )
    subject_column: str | None = Field(
        default=None, description="Of an erasure: rows go whose column is the subject's key, as text, and no others."
    )
    archive_format: ArchiveFormat | None = Field(default=None, description="Archive only.")
    masks: list[MaskOrder] = Field(default_factory=list, description="Anonymize only.")
    mark_column: str | None = Field(
        default=None, description="Anonymize: set to the instant at which a row was; such a row is not touched again."
    )
    cascades: list[str] = Field(default_factory=list, description="Tables whose rows may go with the rows.")
    triggers: list[str] = Field(default_factory=list, description="Triggers that the action may set off.")
    foreign_keys: ForeignKeys = ForeignKeys.REFUSE
    limits: LimitsOrder
    transitions: list[TransitionOrder] = Field(default_factory=list, description="StorageTransition only.")
    keys: str | None = Field(default=None, description="A pattern of the names of keys, in place of a table.")
    every_key: bool = Field(default=False, description="The pattern may match every name.")
    idle_seconds: int | None = Field(default=None, description="Of keys: neither read nor written for so long.")
    expire_seconds: int | None = Field(default=None, description="Expire: how long a key lives on.")
    shorten: bool = Field(default=False, description="Expire: keys that would live longer get a new end, too.")


class HoldOrder(Model):
    """What must not be touched: rows of a table, without `where` all of them; keys; without either, all there is."""

    name: str
    table: str | None = None
    keys: str | None = Field(default=None, description="A pattern of the names of keys.")
    where: str | None = Field(default=None, description="Needs `table`: a condition on its columns.")
    reason: str
    until: Instant | None = Field(default=None, description="None: until it is taken out of the policy.")


class Preconditions(Model):
    """What must be so before an enforced run starts; the operator looks, the hash covers it."""

    backup_within_seconds: int | None = None
    proven_within_seconds: int | None = None


class ServerOrder(Model):
    """Which server rows go from: what the Database names, and what the server says of itself."""

    hosts: list[str] = Field(description="In the order of the alphabet.")
    port: int
    database: str | None = Field(default=None, description="The one that the connection names.")
    system: str | None = Field(
        default=None, description="Its own identity, where it has one that outlives a failover and is known."
    )


class LifecycleOrder(Model):
    """All that a person approves besides the tables themselves."""

    database_uid: str
    server: ServerOrder | None = Field(default=None, description="None: it is not about one, as in a copy.")
    place: str | None = Field(default=None, description="Bucket, endpoint and folder of the store; or the claim.")
    database: str | None = Field(
        default=None,
        description="Of the server. None: the one of the Database object, else the only one that is none of"
        " the server's own.",
    )
    storage: str = Field(description="Name of the BackupStorage that takes archives and the audit.")
    rules: list[RuleOrder] = Field(min_length=1, max_length=32)
    holds: list[HoldOrder] = Field(default_factory=list, max_length=MOST_HOLDS)
    preconditions: Preconditions = Field(default_factory=Preconditions)


class BatchOrder(Model):
    """How rows are taken: so many at first, then as many as take `target_milliseconds`; each batch is committed."""

    rows: int = 1000
    target_milliseconds: int = 200
    pause_milliseconds: int = 50


class ThrottleOrder(Model):
    """What the database is spared."""

    max_replica_lag_seconds: float | None = 5.0
    lock_timeout_milliseconds: int = 2000


class ColumnFact(Model):
    """One column."""

    name: str
    type: str
    not_null: bool = False
    generated: bool = Field(default=False, description="The server computes it.")
    time: bool = Field(default=False, description="A date or an instant: an age can be read from it.")


class TriggerFact(Model):
    """What the server does by itself at a change: a trigger, or a rewrite rule."""

    name: str
    table: str = Field(description="The table or partition that it is on.")
    events: list[str] = Field(description="Of DELETE, UPDATE.")
    definition_sha256: str = Field(description="Of its definition and that of its function.")


class ReferenceFact(Model):
    """A foreign key of another table that refers to this one."""

    name: str
    table: str = Field(description="The table that refers, the child.")
    columns: list[str]
    target_columns: list[str]
    on_delete: Annotated[str, Field(description="NoAction, Restrict, Cascade, SetNull or SetDefault.")]
    on_update: str = "NoAction"


class PartitioningFact(Model):
    """How a table is partitioned."""

    strategy: str = Field(description="Range, List or Hash.")
    columns: list[str] = Field(default_factory=list, description="Empty where it is by an expression.")


class TableFact(Model):
    """The definition of a table, as far as it decides what a rule does. Names are `schema.table`."""

    name: str
    kind: str = Field(description="Table, Partitioned, or what else it is (View, ForeignTable, …).")
    columns: list[ColumnFact] = Field(default_factory=list)
    primary_key: list[str] = Field(default_factory=list)
    unique: list[list[str]] = Field(default_factory=list, description="Columns of each unique key or index.")
    foreign_key_columns: list[str] = Field(default_factory=list, description="Columns that refer to other tables.")
    references: list[ReferenceFact] = Field(default_factory=list)
    triggers: list[TriggerFact] = Field(default_factory=list, description="Those at DELETE and UPDATE, switched on.")
    partitioning: PartitioningFact | None = None
    row_security: bool = Field(default=False, description="It hides rows from the login that looks.")
    kin: list[str] = Field(
        default_factory=list,
        description="Those tables that holds name and that share rows with it: its partitions and heirs, and what it is"
        " one of.",
    )
    definition_sha256: str | None = Field(
        default=None, description="Of a collection of MongoDB: of its options, such as a validator, and its indexes."
    )


class PartitionFact(Model):
    """One partition, by its real bounds and a look at its rows."""

    name: str
    default: bool = False
    lower: Instant | None = None
    upper: Instant | None = Field(default=None, description="Exclusive. None: unbounded, or no instant.")
    rows: int = 0
    young: int = Field(default=0, description="Rows that are not older than the rule asks, or of no age.")
    held: int = Field(default=0, description="Rows under a hold.")
    newest: Instant | None = None
    bytes: int = 0


class KeysFact(Model):
    """What lies under a pattern of keys: what a person wants to know before giving it an end."""

    keys: int
    bytes: int = Field(description="In memory, by the server's own estimate of a sample.")
    lasting: int = Field(description="Keys without a time to live.")


class RuleCounts(Model):
    """What one rule would do right now; guards only, never part of the hash."""

    rows: int = Field(default=0, description="Rows of the table.")
    eligible: int = Field(default=0, description="Rows that the rule would take, were there no limit per run.")
    held: int = Field(default=0, description="Rows that only a hold keeps.")
    kept_newest: int = Field(default=0, description="Rows that only keepNewest keeps.")
    oldest: Instant | None = Field(default=None, description="Age column of the oldest eligible row.")
    newest: Instant | None = Field(default=None, description="Of the newest eligible row.")
    bytes: int = Field(default=0, description="Of the eligible rows, estimated.")
    inflow_per_day: int = Field(
        default=0, description="Rows that will become eligible in a day: those of the day that comes next."
    )
    children: dict[str, int] = Field(default_factory=dict, description="Rows of other tables that go along, by table.")
    pattern: KeysFact | None = Field(default=None, description="Of rules on keys: all keys of the pattern.")
    samples: list[str] = Field(
        default_factory=list, max_length=10, description="Keyed hashes of some keys; none without a key to hash with."
    )
    alike: int = Field(
        default=0,
        description="Rows that are not the person's to the letter, and that the column's collation takes for theirs.",
    )


class CallFact(Model):
    """A function or a view of people's own that conditions of a rule, or triggers on its tables, depend on."""

    name: str = Field(description="What it is, with schema and arguments, such as function public.is_old(date).")
    definition_sha256: str = Field(description="Of its definition.")


class IndexFact(Model):
    """The index by which MongoDB deletes documents of an age by itself, as a rule wants it and as it is."""

    name: str = Field(description="Of the one that is there, or that would be made.")
    column: str
    seconds: int = Field(description="After which documents are to go.")
    found: int | None = Field(default=None, description="The same of the one that is there. None: there is none.")
    clash: str | None = Field(default=None, description="What is in its way, in words.")
    drop: str = Field(description="The command that ends it.")
    stopped: str | None = Field(
        default=None, description="A hold came after it: what became of it, or why it could not be stopped, in words."
    )


class RuleFacts(Model):
    """What was found for one rule: first its own table, then each one that refers to it, and so on."""

    rule: str
    tables: list[TableFact] = Field(default_factory=list, description="Empty where its table does not exist.")
    calls: list[CallFact] = Field(
        default_factory=list,
        description="What its condition, the holds on its rows and the triggers call, and what is called there.",
    )
    partitions: list[PartitionFact] = Field(default_factory=list, description="Of rules that take whole partitions.")
    counts: RuleCounts = Field(default_factory=RuleCounts)
    grants: list[str] = Field(
        default_factory=list, description="SQL that gives the login what the action needs and it has not."
    )
    index: IndexFact | None = Field(default=None, description="EnsureTTL only.")
    bucket: BucketFacts | None = Field(default=None, description="StorageTransition only.")
    conflicts: list[Conflict] = Field(
        default_factory=list, description="StorageTransition: what policies and drills ask for that it would break."
    )
    fault: str | None = Field(
        default=None, description="Why the server would not answer for this rule, such as an error in its condition."
    )
