"""Why a rule of a lifecycle may not run: by what its table is, by the holds in force, by what would go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from databosun.api.lifecycle import (
    ActionType,
    LifecycleOrder,
    MaskMethod,
    MaskOrder,
    PartitionFact,
    RuleFacts,
    TableFact,
    TriggerFact,
)
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.lifecycle import (
    BY_PARTITION,
    DELETING,
    FOLLOWS,
    UNKNOWN,
    Child,
    LifecyclePlan,
    Step,
    hidden_from,
    holds_of,
    in_force,
    names_table,
    needs_deleting_first,
    qualified,
    things_of,
)
from databosun.domain.lifecycleindex import index_against
from databosun.domain.refusal import Refusal


def verdicts(
    plan: LifecyclePlan, order: LifecycleOrder, facts: Sequence[RuleFacts], at: datetime
) -> Mapping[str, tuple[Refusal, ...]]:
    """Of every rule what stands against it; empty: it may run. One that may not does not stop the others."""
    found = {one.rule: one for one in facts}
    return {step.rule.name: tuple(_against(step, order, found.get(step.rule.name), at)) for step in plan.steps}


def keeps(partition: PartitionFact, cutoff: datetime) -> str | None:
    """Why a partition may not go; None: it may. By its real bounds and its rows, never by its name."""
    if partition.default:
        return "it is the default partition"
    if partition.upper is None:
        return "it has no upper bound in time"
    if partition.upper > cutoff:
        return f"it reaches to {partition.upper.isoformat()}"
    if partition.held:
        return f"{partition.held} of its rows are under a hold"
    if partition.young:
        return f"{partition.young} of its rows are not old enough"
    return None


def droppable(step: Step, facts: RuleFacts, at: datetime) -> tuple[PartitionFact, ...]:
    """The partitions that the rule may take, oldest first, as far as maxRowsPerRun and keepNewest reach."""
    cutoff = step.cutoff(at)
    if cutoff is None:
        return ()
    old = [one for one in facts.partitions if keeps(one, cutoff) is None]
    kept = sum(one.rows for one in facts.partitions) - step.rule.limits.keep_newest
    taken: list[PartitionFact] = []
    rows = 0
    for one in sorted(old, key=lambda part: (part.upper or at, part.name)):
        rows += one.rows
        if rows > min(step.rule.limits.max_rows_per_run, kept):
            break
        taken.append(one)
    return tuple(taken)


def _against(step: Step, order: LifecycleOrder, facts: RuleFacts | None, at: datetime) -> Iterator[Refusal]:
    if facts is not None and facts.fault is not None:
        yield Refusal(Reason.RULE_NOT_READABLE, f"rule {step.rule.name}: {facts.fault}")
        return
    if step.rule.action is ActionType.STORAGE_TRANSITION:
        yield from _of_holds(step, order, at)
        yield from _of_bucket(step, facts)
        return
    if step.table is None or facts is None:
        message = f"rule {step.rule.name}: there is no table {step.rule.table} that the login can see"
        yield Refusal(Reason.TABLE_NOT_FOUND, message)
        return
    if facts.grants:
        message = f"rule {step.rule.name}: the login lacks what {step.rule.action} needs; run {' '.join(facts.grants)}"
        yield Refusal(Reason.PERMISSION_DENIED, message)
    yield from _of_holds(step, order, at)
    if step.rule.keys is not None:
        yield from _of_counts(step, facts)
        return
    yield from _of_table(step, step.table)
    if step.rule.action is ActionType.ANONYMIZE:
        yield from _of_masks(step, step.table)
    elif step.rule.action in BY_PARTITION:
        yield from _of_partitioning(step, step.table)
    elif step.rule.action is ActionType.ENSURE_TTL:
        yield from index_against(step, order, facts, at)
    else:
        yield from _of_children(step)
    yield from _of_triggers(step, step.table)
    yield from _of_counts(step, facts)


def _of_holds(step: Step, order: LifecycleOrder, at: datetime) -> Iterator[Refusal]:
    for hold in holds_of(order, step, at):
        if hold.where is None and hold.keys is None:
            message = f"rule {step.rule.name}: hold {hold.name} holds all of it: {hold.reason}"
            yield Refusal(Reason.BLOCKED_BY_HOLD, message)
    for hold in order.holds:
        if hold.table is None or not in_force(hold, at):
            continue
        for child in step.children:
            if names_table(hold.table, child.table) and step.rule.action in DELETING:
                message = (
                    f"rule {step.rule.name}: rows of {child.table.name} would go along, and hold {hold.name} is on"
                    f" that table: {hold.reason}"
                )
                yield Refusal(Reason.BLOCKED_BY_HOLD, message)


def _of_bucket(step: Step, facts: RuleFacts | None) -> Iterator[Refusal]:
    """What moving objects would break, as policies, drills and the bucket's own rules say."""
    if facts is None or facts.bucket is None:
        yield Refusal(Reason.RULE_NOT_READABLE, f"rule {step.rule.name}: nobody looked at the bucket")
        return
    for one in (*facts.conflicts, *facts.bucket.conflicts):
        yield Refusal(one.reason, f"rule {step.rule.name}: {one.message}")


def _of_table(step: Step, table: TableFact) -> Iterator[Refusal]:
    rule = step.rule
    columns = {column.name: column for column in table.columns}
    if table.kind not in ("Table", "Partitioned"):
        yield Refusal(
            Reason.NOT_A_TABLE, f"rule {rule.name}: {table.name} is a {table.kind}; expected a table with transactions"
        )
        return
    for hidden in hidden_from(step):
        message = f"rule {rule.name}: row security hides rows of {hidden} from the login; it needs BYPASSRLS"
        yield Refusal(Reason.ROWS_HIDDEN, message)
    if not table.primary_key and rule.action not in BY_PARTITION:
        message = f"rule {rule.name}: {table.name} has no primary key to take rows by; add one"
        yield Refusal(Reason.NO_PRIMARY_KEY, message)
    if rule.column is None:
        if rule.limits.min_retention_seconds or rule.limits.keep_newest:
            message = f"rule {rule.name}: limits minRetention and keepNewest need match.column to tell an age by"
            yield Refusal(Reason.NO_AGE, message)
    elif rule.column not in columns:
        message = f"rule {rule.name}: {table.name} has no column {rule.column}; it has {', '.join(sorted(columns))}"
        yield Refusal(Reason.COLUMN_NOT_FOUND, message)
    elif not columns[rule.column].time:
        found = columns[rule.column].type
        message = f"rule {rule.name}: {table.name}.{rule.column} is of type {found}; expected a date or an instant"
        yield Refusal(Reason.NO_AGE, message)
    elif rule.action is ActionType.PURGE and columns[rule.column].not_null:
        message = (
            f"rule {rule.name}: {table.name}.{rule.column} is NOT NULL, so that every row would count as deleted;"
            " expected a column that is empty in live rows"
        )
        yield Refusal(Reason.NOT_SOFT_DELETED, message)


def _of_children(step: Step) -> Iterator[Refusal]:
    rule = step.rule
    if step.cyclic:
        message = (
            f"rule {rule.name}: rows of {step.rule.table} are referred to, in the end, by rows of the same table; a"
            " delete would reach rows that the rule does not match"
        )
        yield Refusal(Reason.FOREIGN_KEY_CYCLE, message)
    allowed = {qualified(name, step) for name in rule.cascades}
    for child in step.children:
        if child.table.kind == UNKNOWN:
            message = (
                f"rule {rule.name}: {child.table.name} refers to rows of {child.parent} (foreign key {child.by.name})"
                " and could not be looked at, so that nobody knows what goes along with its rows: too many tables refer"
                " to each other, there is a dot in its name, or the login may not see it"
            )
            yield Refusal(Reason.RULE_NOT_READABLE, message)
        elif child.table.name not in allowed:
            yield Refusal(Reason.CASCADE_NOT_ALLOWED, _unlisted(step, child))
        elif child.goes and child.by.on_delete not in FOLLOWS and not needs_deleting_first(rule, child):
            message = (
                f"rule {rule.name}: foreign key {child.by.name} of {child.table.name} keeps rows of {child.parent};"
                " set foreignKeys to ChildrenFirst to delete those rows first"
            )
            yield Refusal(Reason.FOREIGN_KEY_REFUSES, message)


def _unlisted(step: Step, child: Child) -> str:
    what = "be deleted along" if child.goes else "be changed"
    return (
        f"rule {step.rule.name}: rows of {child.table.name} would {what} with rows of {child.parent} (foreign key"
        f" {child.by.name}, on delete {child.by.on_delete}); list {child.table.name} in allow.cascades, if they may"
    )


def _of_triggers(step: Step, table: TableFact) -> Iterator[Refusal]:
    rule = step.rule
    if rule.action in BY_PARTITION:
        return
    event = "UPDATE" if rule.action is ActionType.ANONYMIZE else "DELETE"
    fired = [one for one in table.triggers if event in one.events]
    if rule.action in DELETING:
        for child in step.children:
            wanted = "DELETE" if child.goes else "UPDATE"
            fired += [one for one in child.table.triggers if wanted in one.events]
    for trigger in dict.fromkeys((one.table, one.name) for one in fired):
        if not _allowed(trigger, rule.triggers, table.triggers):
            where, name = trigger
            message = (
                f"rule {rule.name}: trigger {name} of {where} would be set off; list it in allow.triggers, if it may"
                f" ({name}, or {where}.{name} where it is of another table)"
            )
            yield Refusal(Reason.TRIGGER_NOT_ALLOWED, message)


def _allowed(trigger: tuple[str, str], listed: Sequence[str], own: Sequence[TriggerFact]) -> bool:
    table, name = trigger
    if f"{table}.{name}" in listed:
        return True
    return name in listed and any((one.table, one.name) == trigger for one in own)


def _of_masks(step: Step, table: TableFact) -> Iterator[Refusal]:
    rule = step.rule
    columns = {column.name: column for column in table.columns}
    keys = {*table.primary_key, *table.foreign_key_columns}
    keys |= {name for one in table.references for name in one.target_columns}
    mark = columns.get(rule.mark_column or "")
    if rule.subject_column is None and (mark is None or not mark.time or mark.not_null):
        message = (
            f"rule {rule.name}: markColumn {rule.mark_column} of {table.name} says which rows were anonymised already;"
            " expected a column of that name that may be empty and takes an instant"
        )
        yield Refusal(Reason.NO_MARK_COLUMN, message)
    unique = {name for one in table.unique for name in one}
    for mask in rule.masks:
        column = columns.get(mask.column)
        if column is None:
            yield Refusal(Reason.COLUMN_NOT_FOUND, f"rule {rule.name}: {table.name} has no column {mask.column}")
        elif mask.column in keys or column.generated:
            what = "computed by the server" if column.generated else "part of a key"
            message = f"rule {rule.name}: {table.name}.{mask.column} is {what} and cannot be anonymised in place"
            yield Refusal(Reason.KEY_NOT_MASKABLE, message)
        else:
            yield from _of_mask(step, mask, not_null=column.not_null, unique=mask.column in unique)


def _of_mask(step: Step, mask: MaskOrder, *, not_null: bool, unique: bool) -> Iterator[Refusal]:
    where = f"rule {step.rule.name}: {step.rule.table}.{mask.column}"
    if mask.method is MaskMethod.NULL and not_null:
        yield Refusal(Reason.MASK_DOES_NOT_FIT, f"{where} is NOT NULL; use another method than Null")
    if unique and mask.method not in (MaskMethod.NULL, MaskMethod.HASH):
        message = f"{where} is unique, and {mask.method} gives several rows one value; use Hash or Null"
        yield Refusal(Reason.MASK_DOES_NOT_FIT, message)


def _of_partitioning(step: Step, table: TableFact) -> Iterator[Refusal]:
    rule, how = step.rule, table.partitioning
    if how is None or how.strategy != "Range" or how.columns != [rule.column]:
        found = f"by {how.strategy} of {', '.join(how.columns) or 'an expression'}" if how else "not at all"
        message = (
            f"rule {rule.name}: {table.name} is partitioned {found}; {rule.action} needs it by Range of {rule.column}"
        )
        yield Refusal(Reason.NOT_PARTITIONED, message)
    for reference in table.references:
        message = (
            f"rule {rule.name}: foreign key {reference.name} of {reference.table} refers to {table.name}; its"
            " partitions cannot go"
        )
        yield Refusal(Reason.FOREIGN_KEY_REFUSES, message)


def _of_counts(step: Step, facts: RuleFacts) -> Iterator[Refusal]:
    counts, limit = facts.counts, step.rule.limits.max_percent
    if counts.eligible * 100 > limit * counts.rows:
        said = f"{counts.eligible} of {counts.rows} {things_of(step.rule)} match"
        message = (
            f"rule {step.rule.name}: {said}, more than maxPercent ({limit}); see whether the rule is right, and raise"
            " limits.maxPercent if it is"
        )
        yield Refusal(Reason.PLAN_GREW, message)
