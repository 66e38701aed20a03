"""Erase people again in a recovered copy, alike in every engine: found by the keyed hash, erased by the rules of then.

No trigger fires in the copy, and no foreign key takes anything along by itself: what the server would do with rows that
refer is done here, statement by statement. A value of a row stands in no message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Protocol

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import ActionType, ForeignKeys, RuleFacts, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import erasure_verdicts, hasher
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.lifecycle import Child, Step, make_plan
from databosun.engines.erasing import Repeated
from databosun.engines.lifecycle import LifecycleScope, RowWork

BATCH = 10_000
# What does not happen in a copy, what is done by hand, and what the agent, its superuser, may in any case.
_NOT_HERE = frozenset(
    {
        Reason.TRIGGER_NOT_ALLOWED,
        Reason.FOREIGN_KEY_REFUSES,
        Reason.PERMISSION_DENIED,
        Reason.ROWS_HIDDEN,
        Reason.TABLE_NOT_FOUND,
    }
)


class Place(Protocol):
    """One database of a copy. Errors: UserFault, RuleFault."""

    def table(self, name: str) -> TableFact | None:
        """One table by its name in a rule."""
        ...

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """That of a rule, with all that refer to it."""
        ...

    def findable(self, table: TableFact, column: str) -> bool:
        """Whether there is such a column, whose values are written in one way only, so that a hash finds them."""
        ...

    def values(self, table: TableFact, column: str, pulse: Callable[[], None]) -> Iterator[str]:
        """Every value, to the letter, as keys are written; a few at a time. One may come more than once."""
        ...

    def begin(self, scope: LifecycleScope, tables: Sequence[TableFact]) -> None:
        """Have the person's key told to the session, and no trigger of these tables fire."""
        ...

    def rows(self, step: Step, scope: LifecycleScope) -> RowWork:
        """Begin to work on a rule."""
        ...

    def let_go(self, step: Step, child: Child, scope: LifecycleScope) -> None:
        """What ON DELETE SET NULL and SET DEFAULT would do to the rows that refer to those of a rule."""
        ...


@dataclass
class _Person:
    """One erasure in the copy. `subject`: the key, once a row with it was found; never shown."""

    entry: ErasureEntry
    subject: str | None = field(default=None, repr=False)
    rows: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def told(self) -> Repeated:
        return Repeated(self.entry.id, self.subject is not None, self.rows, tuple(dict.fromkeys(self.missing)))


def repeat_in(
    there: Callable[[str], bool],
    opened: Callable[[str], AbstractContextManager[Place]],
    entries: Sequence[ErasureEntry],
    key: bytes,
    pulse: Callable[[], None],
) -> tuple[Repeated, ...]:
    """Database by database. `there`: whether the copy has one of a name."""
    people = [_Person(entry) for entry in sorted(entries, key=lambda one: one.dbname)]
    for dbname, group in groupby(people, key=lambda one: one.entry.dbname):
        here = list(group)
        if not there(dbname):
            for one in here:
                one.missing.append(f"database {dbname}")
            continue
        with opened(dbname) as place:
            _find(place, here, key, pulse)
            for one in here:
                pulse()
                _erase(place, one, key)
    return tuple(one.told() for one in people)


def _find(place: Place, people: Sequence[_Person], key: bytes, pulse: Callable[[], None]) -> None:
    """Each column that holds keys is read once, for all people; whoever was found in one is sought in no other."""
    hashed = hasher(key)
    wanted: dict[tuple[str, str], list[_Person]] = {}
    for person in people:
        for rule in person.entry.order.rules:
            wanted.setdefault((rule.table, rule.subject_column or ""), []).append(person)
    for (name, column), those in wanted.items():
        sought = {one.entry.subject: one for one in those if one.subject is None}
        table = place.table(name)
        if table is None:
            for one in those:
                one.missing.append(f"table {name}")
            continue
        if not place.findable(table, column):
            raise _misfit(those[0], f"{table.name} of the restored data has no column {column} to find the subject by")
        if sought:
            try:
                _seek(place.values(table, column, pulse), sought, hashed)
            except UserFault as fault:  # such as values that no hash can be made of
                raise _misfit(those[0], fault.message) from fault
    _share(people)


def _seek(values: Iterable[str], sought: Mapping[str, _Person], hashed: Callable[[str], str]) -> None:
    for value in values:
        if (found := sought.get(hashed(value))) is not None:
            found.subject = value


def _share(people: Sequence[_Person]) -> None:
    """Several requests may be about one person, by other columns."""
    known = {one.entry.subject: one.subject for one in people if one.subject is not None}
    for one in people:
        one.subject = one.subject or known.get(one.entry.subject)


def _erase(place: Place, person: _Person, key: bytes) -> None:
    """Carry out the rules of one erasure, and count what is left."""
    if person.subject is None:
        return
    entry = person.entry
    order = entry.order.model_copy(update={"holds": []})  # what is held was not erased, or is held no more
    scope = LifecycleScope(
        order=order, at=entry.at, lock_milliseconds=0, statement_seconds=0, key=key, subject=person.subject
    )
    facts = [RuleFacts(rule=rule.name, tables=place.tables(rule)) for rule in order.rules]
    plan = make_plan(order, facts)
    against = erasure_verdicts(plan, order, facts, entry.at)
    steps = [_by_hand(step) for step in plan.steps if step.table is not None]
    for step in steps:
        for one in against[step.rule.name]:
            if one.reason not in _NOT_HERE:
                raise _misfit(person, one.message)
    place.begin(scope, [table for one in facts for table in one.tables])
    for step in steps:
        try:
            _carry_out(place, step, scope, person.rows)
        except UserFault as fault:  # such as a value that the rule's method is not for
            raise _misfit(person, fault.message) from fault
    left = [step.rule.table for step in steps if place.rows(step, scope).left().eligible]
    if left:
        message = f"erasure {entry.id} was repeated, and rows of the person are still in {', '.join(left)} of the copy"
        raise SafetyStop(Reason.SUBJECT_LEFT, message)


def _by_hand(step: Step) -> Step:
    """Nothing goes along by itself: rows that refer are deleted first, whatever the foreign key says."""
    rule = step.rule.model_copy(update={"foreign_keys": ForeignKeys.CHILDREN_FIRST})
    children = [
        replace(one, by=one.by.model_copy(update={"on_delete": "NoAction"})) if one.goes else one
        for one in step.children
    ]
    return replace(step, rule=rule, children=tuple(children))


def _carry_out(place: Place, step: Step, scope: LifecycleScope, done: dict[str, int]) -> None:
    rows = place.rows(step, scope)
    if step.rule.action is ActionType.DELETE:
        for child in step.children:
            if not child.goes:
                place.let_go(step, child, scope)
    while (batch := rows.take(BATCH)).looked:
        table = step.table.name if step.table is not None else step.rule.table
        for name, count in ((table, len(batch.keys)), *batch.children.items()):
            if count:
                done[name] = done.get(name, 0) + count


def _misfit(person: _Person, why: str) -> UserFault:
    rules: list[RuleOrder] = person.entry.order.rules
    message = (
        f"erasure {person.entry.id} ({len(rules)} rules) cannot be repeated: {why}; nothing that was restored is used."
        " Restore another backup, or leave erasures out (spec.erasures: Skip) and erase by hand"
    )
    return UserFault(Reason.ERASURE_NOT_REPEATABLE, message)
