"""Erase people again in a recovered copy: found by the keyed hash, erased by the rules of then.

The copy's sessions fire no triggers and follow no foreign keys (`recovery/private.py`): what the server would do with
rows that refer is done here, statement by statement. A value of a row stands in no message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

from psycopg import sql

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import ActionType, ForeignKeys, RuleFacts, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import erasure_verdicts, hasher
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.domain.lifecycle import Child, Step, make_plan
from databosun.engines.base import Copy
from databosun.engines.erasing import Repeated
from databosun.engines.lifecycle import LifecycleScope, RuleFault
from databosun.engines.postgresql.connect import Connection, prepare_session
from databosun.engines.postgresql.lifecycle.calls import definitions_of
from databosun.engines.postgresql.lifecycle.catalogue import split, table_of, tables_of
from databosun.engines.postgresql.lifecycle.conditions import source_of, working_condition
from databosun.engines.postgresql.lifecycle.counts import along
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from databosun.engines.postgresql.lifecycle.statements import stepping
from databosun.engines.postgresql.lifecycle.subjects import tell_subject
from databosun.engines.postgresql.recovery.copy import RunningCopy

BATCH = 10_000
# What the copy's sessions do not do, what is done by hand, and what the agent, its superuser, may in any case.
_NOT_HERE = frozenset(
    {
        Reason.TRIGGER_NOT_ALLOWED,
        Reason.FOREIGN_KEY_REFUSES,
        Reason.PERMISSION_DENIED,
        Reason.ROWS_HIDDEN,
        Reason.TABLE_NOT_FOUND,
    }
)


@dataclass
class _Person:
    """One erasure in the copy. `subject`: the key, once a row with it was found; never shown."""

    entry: ErasureEntry
    subject: str | None = field(default=None, repr=False)
    rows: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def told(self) -> Repeated:
        return Repeated(self.entry.id, self.subject is not None, self.rows, tuple(dict.fromkeys(self.missing)))


class PostgreSQLErasing:
    """`Erasing` of `engines/erasing.py`."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Database by database."""
        if not isinstance(copy, RunningCopy):
            raise TypeError(copy)
        people = [_Person(entry) for entry in sorted(entries, key=lambda one: one.dbname)]
        there = copy.databases()
        for dbname, group in groupby(people, key=lambda one: one.entry.dbname):
            here = list(group)
            if dbname not in there:
                for one in here:
                    one.missing.append(f"database {dbname}")
                continue
            with _session(copy, dbname) as connection:
                _find(connection, here, key, pulse)
                for one in here:
                    pulse()
                    _erase(connection, one, key)
        return tuple(one.told() for one in people)


ERASING = PostgreSQLErasing()


@contextmanager
def _session(copy: RunningCopy, dbname: str) -> Iterator[Connection]:
    """A superuser's, in which texts of values are what they are at the source."""
    try:
        with copy.server.connect(dbname, read_only=False) as connection:
            prepare_session(connection)
            connection.execute("SET default_transaction_read_only = off")
            yield connection
    except RuleFault as fault:
        message = f"an erasure could not be repeated in database {dbname} of the copy: {fault.message}"
        raise WorldFault(fault.reason, message) from fault


def _find(connection: Connection, people: Sequence[_Person], key: bytes, pulse: Callable[[], None]) -> None:
    """Each column that holds keys is read once, for all people; whoever was found in one is sought in no other."""
    hashed = hasher(key)
    wanted: dict[tuple[str, str], list[_Person]] = {}
    for person in people:
        for rule in person.entry.order.rules:
            wanted.setdefault((rule.table, rule.subject_column or ""), []).append(person)
    for (name, column), those in wanted.items():
        sought = {one.entry.subject: one for one in those if one.subject is None}
        table = table_of(connection, name if "." in name else f"public.{name}")
        if table is None:
            for one in those:
                one.missing.append(f"table {name}")
            continue
        if column not in {one.name for one in table.columns}:
            raise _misfit(those[0], f"{table.name} of the restored data has no column {column} to find the subject by")
        if sought:
            for value in _values(connection, table, column, pulse):
                if (found := sought.get(hashed(value))) is not None:
                    found.subject = value
    _share(people)


def _share(people: Sequence[_Person]) -> None:
    """Several requests may be about one person, by other columns."""
    known = {one.entry.subject: one.subject for one in people if one.subject is not None}
    for one in people:
        one.subject = one.subject or known.get(one.entry.subject)


def _values(connection: Connection, table: TableFact, column: str, pulse: Callable[[], None]) -> Iterator[str]:
    """Each value once, as text, a few at a time."""
    alias = sql.Identifier(split(table.name)[1])
    here = sql.SQL("{}.{}").format(alias, sql.Identifier(column))
    query = sql.SQL('SELECT DISTINCT {c}::text COLLATE "C" FROM {s} WHERE {c} IS NOT NULL').format(
        c=here, s=source_of(table.name, table.kind, alias)
    )
    with (
        stepping(f"reading {table.name}"),
        connection.transaction(),
        connection.cursor(name="databosun_subjects") as cursor,
    ):
        cursor.execute(query)
        while rows := cursor.fetchmany(BATCH):
            pulse()
            for (value,) in rows:
                yield str(value)


def _erase(connection: Connection, person: _Person, key: bytes) -> None:
    """Carry out the rules of one erasure, and count what is left."""
    if person.subject is None:
        return
    entry = person.entry
    tell_subject(connection, person.subject)
    order = entry.order.model_copy(update={"holds": []})  # what is held was not erased, or is held no more
    scope = LifecycleScope(
        order=order, at=entry.at, lock_milliseconds=0, statement_seconds=0, key=key, subject=person.subject
    )
    with stepping("looking at the tables of an erasure"):
        facts = [RuleFacts(rule=rule.name, tables=tables_of(connection, rule.table)) for rule in order.rules]
    plan = make_plan(order, facts)
    against = erasure_verdicts(plan, order, facts, entry.at)
    steps = [_by_hand(step) for step in plan.steps if step.table is not None]
    for step in steps:
        for one in against[step.rule.name]:
            if one.reason not in _NOT_HERE:
                raise _misfit(person, one.message)
    for step in steps:
        for table, rows in _carry_out(connection, step, scope).items():
            person.rows[table] = person.rows.get(table, 0) + rows
    left = [step.rule.table for step in steps if _rows(connection, step, scope).left().eligible]
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


def _carry_out(connection: Connection, step: Step, scope: LifecycleScope) -> Mapping[str, int]:
    found: dict[str, int] = {}
    rows = _rows(connection, step, scope)
    if step.rule.action is ActionType.DELETE:
        for child in step.children:
            if not child.goes:
                _let_go(connection, step, child, scope)
    while (batch := rows.take(BATCH)).looked:
        table = step.table.name if step.table is not None else step.rule.table
        for name, count in ((table, len(batch.keys)), *batch.children.items()):
            if count:
                found[name] = found.get(name, 0) + count
    return found


def _let_go(connection: Connection, step: Step, child: Child, scope: LifecycleScope) -> None:
    """What ON DELETE SET NULL and SET DEFAULT would do."""
    if step.table is None:
        return
    with stepping(f"changing rows of {child.table.name}"), connection.transaction():
        condition = working_condition(connection, step, scope)
        source = source_of(step.table.name, step.table.kind, condition.alias)
        root = sql.SQL("SELECT {}.* FROM {} WHERE {}").format(condition.alias, source, condition.all)
        value = sql.SQL("NULL" if child.by.on_delete == "SetNull" else "DEFAULT")
        sets = [sql.SQL("{} = {}").format(sql.Identifier(name), value) for name in child.by.columns]
        connection.execute(
            sql.SQL("UPDATE {} AS databosun_child SET {} WHERE {}").format(
                sql.Identifier(*split(child.table.name)), sql.SQL(", ").join(sets), along(step, child, root)
            )
        )


def _rows(connection: Connection, step: Step, scope: LifecycleScope) -> PostgreSQLRows:
    return PostgreSQLRows(lambda: connection, step, scope, lambda: definitions_of(connection, step.rule, scope.order))


def _misfit(person: _Person, why: str) -> UserFault:
    rules: list[RuleOrder] = person.entry.order.rules
    message = (
        f"erasure {person.entry.id} ({len(rules)} rules) cannot be repeated: {why}; nothing that was restored is used."
        " Restore another backup, or leave erasures out (spec.erasures: Skip) and erase by hand"
    )
    return UserFault(Reason.ERASURE_NOT_REPEATABLE, message)
