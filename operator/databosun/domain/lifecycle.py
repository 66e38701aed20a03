"""The plan of a data lifecycle, as a pure function of what was ordered and what the tables are.

Operator and agent make it alike: the operator from the facts of a dry run, to be shown and approved; the agent from the
facts right before it acts. Only where both have one hash is anything done.

The hash covers what decides which rows go and what goes with them: rules, holds, limits, preconditions, which server
it is and where archives go, of every table its columns, keys, triggers, partitioning and the foreign keys that refer to
it, the functions and views that conditions and triggers call, and which bucket and folder objects move in. It does not
cover counts, dates, the partitions that there are, nor what is said for people: one approval carries a schedule.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.lifecycle import (
    ActionType,
    CallFact,
    ForeignKeys,
    HoldOrder,
    LifecycleOrder,
    ReferenceFact,
    RuleFacts,
    RuleOrder,
    TableFact,
)

HASH_CHARACTERS = 32
BY_PARTITION = frozenset({ActionType.DROP_PARTITION, ActionType.DETACH_PARTITION})
DELETING = frozenset({ActionType.ARCHIVE, ActionType.DELETE, ActionType.PURGE})
UNKNOWN = "Unknown"  # the kind of a table that could not be looked at
MOST_SHOWN = 32  # of what a rule calls, in a status
FOLLOWS = frozenset({"Cascade"})
CHANGES = frozenset({"SetNull", "SetDefault"})

# Of two rules that take the same row, the one that keeps a copy comes first, and what cannot be undone row by row last.
_PRECEDENCE = {
    ActionType.ARCHIVE: 0,
    ActionType.ANONYMIZE: 1,
    ActionType.PURGE: 2,
    ActionType.DELETE: 3,
    ActionType.DETACH_PARTITION: 4,
    ActionType.DROP_PARTITION: 5,
    ActionType.STORAGE_TRANSITION: 6,
    ActionType.EXPIRE: 7,
    ActionType.ENSURE_TTL: 8,
}


@dataclass(frozen=True, slots=True)
class Child:
    """A table whose rows go along, or are changed, when rows of the rule's table go."""

    table: TableFact
    by: ReferenceFact
    parent: str

    @property
    def goes(self) -> bool:
        """Whether its rows are deleted; else only their references are overwritten."""
        return self.by.on_delete not in CHANGES


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of the plan. `children`: in the order in which their rows are to be deleted, deepest first."""

    rule: RuleOrder
    table: TableFact | None
    children: tuple[Child, ...] = ()
    cyclic: bool = False

    def cutoff(self, at: datetime) -> datetime | None:
        """Rows before this are old enough; a statutory floor outweighs the rule. None: neither asks for an age."""
        asked, floor = self.rule.older_than_seconds, self.rule.limits.min_retention_seconds
        if asked is None and not floor:
            return None
        return at - timedelta(seconds=max(asked or 0, floor))


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """What would be done, in this order."""

    hash: str
    steps: tuple[Step, ...]


def make_plan(order: LifecycleOrder, facts: Sequence[RuleFacts]) -> LifecyclePlan:
    """Total and deterministic: neither the order of the rules in the policy nor that of the facts plays a part."""
    found = {one.rule: one for one in facts}
    steps = [_step(rule, found.get(rule.name)) for rule in order.rules]
    return LifecyclePlan(_hash(order, found), tuple(_sorted(steps)))


def in_force(hold: HoldOrder, at: datetime) -> bool:
    """Whether a hold holds at this instant."""
    return hold.until is None or at < hold.until


def holds_of(order: LifecycleOrder, step: Step, at: datetime) -> tuple[HoldOrder, ...]:
    """The holds in force that concern the rows of a rule's own table, those on its children apart."""
    return tuple(hold for hold in order.holds if in_force(hold, at) and concerns(hold, step))


def things_of(rule: RuleOrder) -> str:
    """What a rule takes, for people."""
    return "rows" if rule.keys is None else "keys"


def concerns(hold: HoldOrder, step: Step) -> bool:
    """Whether a hold is about the rows of a rule's own table, or about keys that it may come to."""
    if hold.keys is not None:
        return step.rule.keys is not None
    return hold.table is None or same_table(hold.table, step)


def same_table(name: str, step: Step) -> bool:
    """Whether a name that people wrote is that of the rule's table, or of one that shares rows with it."""
    return name == step.rule.table or names_table(name, step.table or TableFact(name=step.rule.table, kind=UNKNOWN))


def names_table(name: str, table: TableFact) -> bool:
    """Whether a name that people wrote is that of a table, or of its kin; one without a schema is of any."""
    return any(name in (known, known.rpartition(".")[2]) for known in (table.name, *table.kin))


def qualified(name: str, step: Step) -> str:
    """A name that people wrote in a rule's lists, with the schema of the rule's table where it has none."""
    if "." in name or step.table is None:
        return name
    return f"{step.table.name.rpartition('.')[0]}.{name}"


def hidden_from(step: Step) -> tuple[str, ...]:
    """The tables of which row security hides rows from the login that must see all of them."""
    tables = [step.table, *(child.table for child in step.children if child.goes)]
    return tuple(dict.fromkeys(table.name for table in tables if table is not None and table.row_security))


def _step(rule: RuleOrder, facts: RuleFacts | None) -> Step:
    if facts is None or not facts.tables:
        return Step(rule, None)
    children, cyclic = _children(facts.tables)
    return Step(rule, facts.tables[0], children, cyclic)


def _children(tables: Sequence[TableFact]) -> tuple[tuple[Child, ...], bool]:
    """All that refers to the first table, and whether something refers to itself in the end."""
    known = {table.name: table for table in tables}
    found: list[Child] = []
    done: set[str] = set()
    cyclic = False

    def descend(table: TableFact, path: frozenset[str]) -> None:
        nonlocal cyclic
        for reference in sorted(table.references, key=lambda one: (one.table, one.name)):
            child = known.get(reference.table) or TableFact(name=reference.table, kind=UNKNOWN)
            if reference.table in path:
                cyclic = True
                continue
            one = Child(child, reference, table.name)
            if one.goes and reference.table not in done:
                descend(child, path | {reference.table})
                done.add(reference.table)
            found.append(one)

    descend(tables[0], frozenset({tables[0].name}))
    return tuple(found), cyclic


def _sorted(steps: Iterable[Step]) -> list[Step]:
    """Rules on children before those on their parents; then by what the action keeps; then by name."""
    left = sorted(steps, key=lambda step: (_PRECEDENCE[step.rule.action], step.rule.name))
    ordered: list[Step] = []
    while left:
        targets = {step.table.name for step in left if step.table is not None}
        ready = next((step for step in left if not _below(step) & targets), left[0])
        ordered.append(ready)
        left.remove(ready)
    return ordered


def _below(step: Step) -> set[str]:
    own = {step.table.name} if step.table else set()
    return {child.table.name for child in step.children} - own


def _hash(order: LifecycleOrder, facts: Mapping[str, RuleFacts]) -> str:
    tables = {
        rule.name: sorted((_definition(table) for table in facts[rule.name].tables), key=_text)
        for rule in order.rules
        if rule.name in facts
    }
    calls = {
        rule.name: sorted((one.model_dump(mode="json") for one in facts[rule.name].calls), key=_text)
        for rule in order.rules
        if rule.name in facts and facts[rule.name].calls
    }
    places = {name: [one.bucket.place, one.bucket.prefix] for name, one in facts.items() if one.bucket is not None}
    # Where nothing is called or moved, the hash is what it was before these were in it.
    more = {**({"calls": calls} if calls else {}), **({"places": places} if places else {})}
    document = _text({"order": normal_order(order), "tables": tables, **more})
    return hashlib.sha256(document.encode()).hexdigest()[:HASH_CHARACTERS]


def normal_order(order: LifecycleOrder) -> dict[str, Any]:
    """The order in one form, whichever way it was written. Fields that a later release adds change no hash until they
    are used: what has its default value is left out."""
    plain = order.model_dump(mode="json", exclude_defaults=True)
    for rule in plain["rules"]:
        for field in ("cascades", "triggers"):
            if field in rule:
                rule[field] = sorted(set(rule[field]))
        if "masks" in rule:
            rule["masks"].sort(key=_text)
    plain["rules"].sort(key=lambda rule: rule["name"])
    holds = plain.get("holds", [])
    for hold in holds:
        hold.pop("reason", None)
    holds.sort(key=_text)
    return plain


def _definition(table: TableFact) -> dict[str, Any]:
    plain = table.model_dump(mode="json", exclude_defaults=True)
    for field in ("columns", "unique", "references", "triggers", "foreign_key_columns", "kin"):
        if field in plain:
            plain[field].sort(key=_text)
    return plain


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def changed_calls(known: Iterable[CallFact], now: Iterable[CallFact]) -> tuple[str, ...]:
    """Which functions and views are others than they were, one phrase each."""
    before = {one.name: one.definition_sha256 for one in known}
    after = {one.name: one.definition_sha256 for one in now}
    changed = [f"{name} has another definition" for name in before if after.get(name, before[name]) != before[name]]
    gone = [f"{name} is gone, or is not called any more" for name in before if name not in after]
    new = [f"{name} is called, which was not before" for name in after if name not in before]
    return (*changed, *gone, *new)


def calls_changed(approved: Mapping[str, Sequence[CallFact]], facts: Iterable[RuleFacts]) -> tuple[str, ...]:
    """The same of all rules, as far as it is known what was approved: of each rule the first MOST_SHOWN."""
    found: list[str] = []
    for one in facts:
        known = approved.get(one.rule, ())
        names = {call.name for call in known}
        whole = len(known) < MOST_SHOWN
        found += changed_calls(known, [call for call in one.calls if whole or call.name in names])
    return tuple(dict.fromkeys(found))


def needs_deleting_first(rule: RuleOrder, child: Child) -> bool:
    """Whether the agent must delete the child's rows itself, since the server would refuse to delete their parents."""
    return rule.foreign_keys is ForeignKeys.CHILDREN_FIRST and child.goes and child.by.on_delete not in FOLLOWS
