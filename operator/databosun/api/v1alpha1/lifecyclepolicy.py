"""LifecyclePolicy: what becomes of old rows, and what must never be touched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.lifecycle import ActionType, ArchiveFormat, ForeignKeys, Granularity, LifecycleMode, MaskMethod
from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate, SecretKeyRef
from databosun.api.v1alpha1.fields import Cron, Duration, PositiveDuration, ShortName, Time, TimeZone
from databosun.api.v1alpha1.lifecyclekeys import KEY_RULES, ExpireAction, KeyPattern
from databosun.api.v1alpha1.schema import UNIQUE, WHOLE, cel, one_each, rules
from databosun.api.v1alpha1.transition import Transition

Column = Annotated[str, Field(min_length=1, max_length=63)]
Table = Annotated[str, Field(min_length=1, max_length=127)]
Condition = Annotated[str, Field(min_length=1, max_length=2048)]


class LifecycleTarget(Model):
    """What a rule is about."""

    model_config = rules(
        cel("has(self.table) != has(self.keyPattern)", "exactly one of table and keyPattern is required"),
        cel(
            "!has(self.everyKey) || !self.everyKey || has(self.keyPattern)",
            "everyKey is about keys: it needs keyPattern",
        ),
    )
    table: Table | None = Field(
        default=None,
        description="The table, such as public.orders; of a partitioned one all its partitions. Of MongoDB the"
        " collection, such as shop.orders.",
    )
    key_pattern: KeyPattern | None = Field(
        default=None,
        description="Redis: keys with such a name, as SCAN matches it: * for any characters, ? for one, [a-f] for one"
        " of these; a backslash makes the next one plain.",
    )
    every_key: bool = Field(
        default=False, description="keyPattern may match every name there is, as * does; limits.maxPercent holds."
    )


class LifecycleMatch(Model):
    """Which rows."""

    model_config = rules(
        cel(
            "has(self.olderThan) || has(self.where) || has(self.idleFor)",
            "olderThan or where is required: a rule never means all rows (of keys: idleFor)",
        ),
        cel("!has(self.olderThan) || has(self.column)", "olderThan needs column, which the age is read from"),
    )
    column: Column | None = Field(
        default=None,
        description="Column with a date or an instant that the age is read from; without a time zone it is read as UTC."
        " With PurgeSoftDeleted: the one that"
        " says when the row was marked as deleted, and that is empty in live rows.",
    )
    older_than: PositiveDuration | None = Field(
        default=None, description="Rows whose column lies further back. With PurgeSoftDeleted: the grace."
    )
    where: Condition | None = Field(
        default=None,
        description="A condition in the server's SQL on the table's own columns, such as status = 'closed'; of MongoDB"
        ' a filter in Extended JSON, such as {"status": "closed"}.',
    )
    idle_for: PositiveDuration | None = Field(
        default=None,
        description="Keys that nobody read or wrote for so long, as the server that takes writes knows it.",
    )


class Mask(Model):
    """One column that is overwritten."""

    model_config = rules(
        cel("self.method != 'Fixed' || has(self.value)", "method Fixed needs value"),
        cel("self.method != 'Generalize' || has(self.to) != has(self.step)", "method Generalize needs to or step"),
    )
    name: Column = Field(description="Name of the column.")
    method: MaskMethod = Field(
        description="Fixed: value. Null: empty. Hash: a keyed hash, the same for the same value in every table (a"
        " pseudonym, not anonymous, while the key exists). Partial: all but the characters at the ends becomes *."
        " Generalize: rounded down."
    )
    value: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="Fixed: the value.")
    keep_first: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="Partial: how many characters stay at the start."
    )
    keep_last: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="Partial: how many characters stay at the end."
    )
    step: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Generalize, a number: round down to a multiple of this."
    )
    to: Granularity | None = Field(default=None, description="Generalize, a date or an instant: round down to this.")


class ArchiveAction(Model):
    """How rows are archived."""

    format: ArchiveFormat = Field(
        default=ArchiveFormat.JSON_LINES, description="jsonl.zst: one JSON object a row, compressed with zstd."
    )


class LifecycleAction(Model):
    """What becomes of the rows."""

    model_config = rules(
        cel(
            "self.type == 'Anonymize' ? has(self.columns) : !has(self.columns)", "columns are for Anonymize, and needed"
        ),
        cel(
            "self.type == 'Anonymize' ? has(self.markColumn) : !has(self.markColumn)",
            "markColumn is for Anonymize, and needed",
        ),
        cel("self.type == 'Archive' || !has(self.archive)", "archive is for type Archive"),
        cel("self.type == 'StorageTransition' || !has(self.transitions)", "transitions are for type StorageTransition"),
        cel("self.type == 'Expire' ? has(self.expire) : !has(self.expire)", "expire is for Expire, and needed"),
    )
    type: ActionType = Field(
        description="Archive: write the rows to the storage, verify them there, then delete exactly those. Delete:"
        " delete them. PurgeSoftDeleted: delete rows that were marked as deleted. Anonymize: overwrite columns."
        " DropPartition: drop whole partitions in which every row is old enough. DetachPartition: only take them out of"
        " their table. StorageTransition: have the bucket move the objects of old backups to cheaper classes; nothing"
        " is deleted. Expire: give keys a time to live. EnsureTTL: make, or keep, an index by which MongoDB deletes"
        " documents by itself; it knows no holds."
    )
    archive: ArchiveAction | None = Field(default=None, description="Archive: how.")
    columns: Annotated[list[Mask], Field(min_length=1, max_length=64), one_each("name")] | None = Field(
        default=None, description="Anonymize: what is overwritten."
    )
    mark_column: Column | None = Field(
        default=None,
        description="Anonymize: an empty column that takes an instant, set where a row was anonymised, so that none is"
        " twice.",
    )
    transitions: Annotated[list[Transition], Field(min_length=1, max_length=4), one_each("class")] | None = Field(
        default=None,
        description="StorageTransition: when to which class, the warmest first. Absent: STANDARD_IA after 30 days,"
        " GLACIER after 90, DEEP_ARCHIVE after 365. When a backup is deleted, the BackupPolicy's retention says.",
    )
    expire: ExpireAction | None = Field(default=None, description="Expire: how.")


class LifecycleAllow(Model):
    """What the action may set off beside the rows themselves. What is not listed makes the rule be refused."""

    cascades: Annotated[list[Table], Field(max_length=64), UNIQUE] = Field(
        default_factory=list,
        description="Tables whose rows may be deleted or changed along, because they refer to the rows.",
    )
    triggers: Annotated[list[Annotated[str, Field(min_length=1, max_length=190)]], Field(max_length=64), UNIQUE] = (
        Field(
            default_factory=list,
            description="Triggers that may fire: the name of one of the table itself, schema.table.name of another's.",
        )
    )


class LifecycleLimits(Model):
    """What a rule may do."""

    max_rows_per_run: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=100_000, description="A run stops after so many rows of the rule's table; the next one goes on."
    )
    max_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10,
        description="A rule that matches more of its table, or of the keys of its database, does nothing at all: the"
        " plan has grown beyond what was meant, or the rule is wrong.",
    )
    keep_newest: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        default=0, description="So many of the newest rows of the table stay, however old they are."
    )
    min_retention: Duration | None = Field(
        default=None,
        description="Floor, such as one of law: no row younger than this is touched, whatever match says. Of keys:"
        " refused where idleFor or expire.after do not keep it.",
    )


class LifecycleRule(Model):
    """One rule."""

    model_config = rules(
        cel(
            "self.action.type != 'PurgeSoftDeleted' || !has(self.match) || has(self.match.olderThan)",
            "PurgeSoftDeleted needs match.column, which marks deleted rows, and match.olderThan, the grace",
        ),
        cel(
            "!(self.action.type in ['DropPartition', 'DetachPartition']) || !has(self.match) ||"
            " (has(self.match.olderThan) && !has(self.match.where))",
            "a partition goes as a whole: match.olderThan is needed, and match.where cannot be given",
        ),
        cel(
            "self.action.type != 'EnsureTTL' || !has(self.match) || (has(self.match.olderThan) &&"
            " !has(self.match.where))",
            "an index deletes by age alone: match.olderThan is needed, and match.where cannot be given",
        ),
        cel(
            "self.action.type != 'EnsureTTL' || !has(self.limits) || !has(self.limits.keepNewest) ||"
            " self.limits.keepNewest == 0",
            "an index keeps no newest documents: limits.keepNewest cannot be given; use Delete",
        ),
        cel(
            "self.action.type == 'StorageTransition' ? !has(self.target) && !has(self.match) : has(self.target) &&"
            " (has(self.match) || has(self.target.keyPattern))",
            "target and match are needed, but for StorageTransition, which is about the backups of the database",
        ),
        *KEY_RULES,
    )
    name: ShortName = Field(description="Its name, unique in the policy; stands in plans, results and audits.")
    target: LifecycleTarget | None = Field(
        default=None, description="What it is about. Absent: the backups of the database (StorageTransition)."
    )
    match: LifecycleMatch | None = Field(default=None, description="Which rows; every part of it must be so.")
    action: LifecycleAction = Field(description="What becomes of them.")
    allow: LifecycleAllow = Field(default_factory=LifecycleAllow, description="What may be set off beside.")
    limits: LifecycleLimits = Field(default_factory=LifecycleLimits, description="What the rule may do.")
    foreign_keys: ForeignKeys = Field(
        default=ForeignKeys.REFUSE,
        description="Where rows of other tables keep the rows from being deleted. Refuse: the rule does nothing."
        " ChildrenFirst: rows of the tables in allow.cascades are deleted first.",
    )


class RowHold(Model):
    """A legal hold on rows: what it covers is not touched by any action while it stands here."""

    model_config = rules(
        cel("!has(self.where) || has(self.table)", "where needs table: it is a condition on that table's columns"),
    )
    name: ShortName = Field(description="Its name, unique in the policy.")
    table: Table | None = Field(default=None, description="Hold rows of this table only. Absent: of all.")
    where: Condition | None = Field(
        default=None, description="Hold only rows for which this is so, written as match.where is. Absent: all."
    )
    reason: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Why, such as a case number.")
    until: Time | None = Field(default=None, description="When it ends by itself. Absent: when it is taken out.")


class LifecycleHold(RowHold):
    """A legal hold on rows or keys: what it covers is not touched by any action while it stands here."""

    model_config = rules(
        cel("!has(self.where) || has(self.table)", "where needs table: it is a condition on that table's columns"),
        cel("!has(self.table) || !has(self.keyPattern)", "a hold is on a table or on keys, not on both"),
    )
    key_pattern: KeyPattern | None = Field(
        default=None, description="Redis: hold keys with such a name only, as SCAN matches it. Absent: all."
    )


class LifecycleBatch(Model):
    """How rows are taken; every batch is a transaction of its own."""

    rows: Annotated[int, Field(ge=1, le=100_000)] = Field(default=1000, description="How many at first.")
    target_millis: Annotated[int, Field(ge=10, le=60_000)] = Field(
        default=200, description="Batches grow or shrink until one takes so long."
    )
    pause: Duration = Field(default="50ms", description="Between two batches.")


class LifecycleThrottle(Model):
    """What the database is spared."""

    max_replica_lag: PositiveDuration = Field(
        default="5s", description="While a replica is further behind, no batch begins."
    )
    lock_timeout: PositiveDuration = Field(
        default="2s", description="A batch that waits longer for a lock is given up and tried again, smaller."
    )


class LifecyclePreconditions(Model):
    """What must be so before an enforced run starts."""

    backup_within: PositiveDuration = Field(
        default="24h", description="The newest successful backup of the database is no older."
    )
    proven_within: PositiveDuration = Field(
        default="100d", description="A drill proved a backup of the database, no longer ago."
    )


class LifecycleSchedule(Model):
    """When runs start."""

    cron: Cron = Field(description="When, in five fields: minute, hour, day of month, month, day of week.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone of cron, such as Europe/Berlin.")
    jitter: Duration = Field(default="0s", description="Spread: a run starts up to this much after its slot.")


class LifecycleWindow(Model):
    """When an enforced run may work."""

    cron: Cron = Field(description="When it begins, in five fields.")
    duration: PositiveDuration = Field(description="How long it lasts.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone of cron, such as Europe/Berlin.")


class LifecycleHistory(Model):
    """How many finished runs are kept. Their audits stay in the store."""

    enforced: Annotated[int, Field(ge=1, le=100)] = Field(default=20, description="Enforced runs.")
    dry_runs: Annotated[int, Field(ge=1, le=100)] = Field(default=5, description="Dry runs.")


class LifecyclePolicySpec(Model):
    """What a user wants kept, and what not."""

    model_config = rules(
        cel(
            "self.rules.all(rule, !has(rule.action.columns) || rule.action.columns.all(one, one.method != 'Hash' ||"
            " has(self.hashKeySecretRef)))",
            "method Hash needs hashKeySecretRef, the key to hash with",
        ),
        cel(
            "size(self.rules) == 1 || self.rules.all(rule, rule.action.type != 'StorageTransition')",
            "a rule of type StorageTransition stands alone: rows and objects need policies of their own",
        ),
        cel(
            "!has(self.windows) || size(self.windows) == 0 || self.rules.all(rule, rule.action.type != 'EnsureTTL')",
            "an index of EnsureTTL deletes at any time: windows cannot be given beside it; use Delete",
        ),
    )
    database_ref: LocalRef = Field(description="The Database whose rows it is about.")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description="Database of the server that holds the tables. Absent: connection.database of the Database, or the"
        " only one that is no template. Of keys: its number; absent: 0.",
    )
    storage_ref: LocalRef = Field(
        description="The BackupStorage that takes archived rows, and the audit of every enforced run."
        " StorageTransition: the one whose objects move."
    )
    mode: LifecycleMode = Field(
        default=LifecycleMode.DRY_RUN,
        description="DryRun: look and count, change nothing. Enforce: carry out the plan that a dry run has shown and"
        " an Approval names by its hash; while none does, runs are dry.",
    )
    rules: Annotated[list[LifecycleRule], Field(min_length=1, max_length=32), one_each("name")] = Field(
        description="What becomes of which rows. Rules on tables that refer to others come first, whatever their order."
    )
    holds: Annotated[list[LifecycleHold], Field(max_length=64), one_each("name")] = Field(
        default_factory=list, description="Legal holds."
    )
    schedule: LifecycleSchedule | None = Field(
        default=None, description="When. Absent: only on demand (annotation databosun.io/run-now)."
    )
    windows: Annotated[list[LifecycleWindow], Field(max_length=16), WHOLE] = Field(
        default_factory=list,
        description="An enforced run works only inside one of these, and stops at its end. Absent: at any time.",
    )
    time_budget: PositiveDuration = Field(
        default="30m", description="How long an enforced run works; the next one goes on where it stopped."
    )
    preconditions: LifecyclePreconditions = Field(
        default_factory=LifecyclePreconditions, description="What must be so before an enforced run starts."
    )
    batch: LifecycleBatch = Field(default_factory=LifecycleBatch, description="How rows are taken.")
    throttle: LifecycleThrottle = Field(default_factory=LifecycleThrottle, description="What the database is spared.")
    hash_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Key that values and keys of rows are hashed with: for method Hash, and for the hashes in plans"
        " and audits. Absent: plans and audits name no rows.",
    )
    suspend: bool = Field(default=False, description="True: no run starts.")
    starting_deadline: PositiveDuration = Field(
        default="1h", description="A slot that could not be answered for so long counts as missed."
    )
    start_deadline: PositiveDuration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="2h", description="How long one attempt may take at most.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass; each goes on where the last stopped."
    )
    history_limits: LifecycleHistory = Field(
        default_factory=LifecycleHistory, description="How many finished runs are kept."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Jobs' pods.")
