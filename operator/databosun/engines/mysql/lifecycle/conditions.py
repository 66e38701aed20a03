"""The condition that says which rows a rule may take: age, the rule's own words, holds. Every statement carries it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import ActionType, HoldOrder, TableFact
from databosun.domain.lifecycle import Child, Step, holds_of
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.lifecycle.statements import literal, named, no_table, run, split, stepping
from databosun.engines.mysql.lifecycle.subjects import Subject, subject_in
from databosun.engines.mysql.lifecycle.words import read_condition

TRUE, FALSE = "TRUE", "FALSE"


@dataclass(frozen=True, slots=True)
class Condition:
    """Of the rows of one table. `base`: old enough and matched; `held`: by any hold. `old`: not kept by keepNewest;
    `unmarked`: not anonymised before; `childless`: nothing refers to it any more. `words`: of people, or None;
    `subject`: where it is about one person's rows."""

    base: str
    held: str
    old: str
    unmarked: str
    childless: str
    cutoff: str | None
    words: str | None
    subject: Subject | None = None

    @property
    def all(self) -> str:
        """What a row must be for the rule to touch it."""
        parts = [self.base, self.old, self.unmarked, self.childless, f"NOT {self.held}"]
        return "(" + " AND ".join(parts) + ")"


def written(text: str) -> str:
    """A condition that a person wrote, closed off: a comment at its end must not swallow what follows."""
    return f"(\n{text}\n)"


def working_condition(connection: Connection[Any], step: Step, scope: LifecycleScope) -> Condition:
    """The condition of a step with what its action asks besides. Archive: nothing goes along unarchived, so rows that
    others refer to wait until those are gone."""
    held = holds_of(scope.order, step, scope.at)
    condition = condition_of(connection, step, held, scope.at, scope.subject)
    if step.rule.action is not ActionType.ARCHIVE:
        return condition
    return replace(condition, childless=without_children(step, [child for child in step.children if child.goes]))


def condition_of(
    connection: Connection[Any], step: Step, holds: Iterable[HoldOrder], at: datetime, key: str | None = None
) -> Condition:
    """UserFault where one that a person wrote may not be carried out, RuleFault where the server does not read it."""
    table = step.table or no_table(step.rule.table)
    rule = step.rule
    own = [rule.where] if rule.where is not None else []
    held = [hold.where for hold in holds if hold.where is not None]
    for text in (*own, *held):
        demand_expression(connection, table.name, text)
    parts = [f"({written(text)} IS TRUE)" for text in own]
    subject = None
    if rule.subject_column is not None:
        subject = subject_in(connection, table, rule.subject_column, key or "")
        parts.append(subject.match)
    limit = None
    if rule.column is not None:
        cutoff = step.cutoff(at)
        age = age_of(step)
        limit = _cutoff(table, rule.column, cutoff) if cutoff is not None else None
        # A day that no calendar has is no age; people write 0000-00-00 for what they do not know.
        before = f"{age} < {limit} AND " if limit is not None else ""
        parts.append(f"({before}MONTH({age}) > 0 AND DAYOFMONTH({age}) > 0)")
    words = [*own, *held]
    return Condition(
        base=_and(parts),
        held=_or([f"({written(text)} IS TRUE)" for text in held]),
        old=newest_kept(connection, step),
        unmarked=f"{column_of(step, rule.mark_column)} IS NULL" if rule.mark_column is not None else TRUE,
        childless=TRUE,
        cutoff=limit,
        words=words[0] if words else None,
        subject=subject,
    )


def column_of(step: Step, name: str) -> str:
    """A column of the rule's own table, by the name that conditions have for it."""
    table = step.table or no_table(step.rule.table)
    return f"{quote(split(table.name)[1])}.{quote(name)}"


def age_of(step: Step) -> str:
    """The column that the age of a row is read from."""
    return column_of(step, step.rule.column) if step.rule.column is not None else "NULL"


def demand_expression(connection: Connection[Any], table: str, text: str) -> None:
    """UserFault unless the text is one condition by itself, RuleFault unless the server reads it alike with and without
    brackets around it. It is only prepared: nothing of it is carried out."""
    read_condition(text)
    with stepping(f"reading the condition {text!r}", rows=False):
        for form in (f"\n{text}\n", written(text)):
            statement = f"SELECT 1 FROM {named(table)} WHERE {form} LIMIT 0"  # noqa: S608 - read before, word by word
            run(connection, f"PREPARE databosun FROM {literal(statement)}")
            run(connection, "DEALLOCATE PREPARE databosun")


def newest_kept(connection: Connection[Any], step: Step) -> str:
    """The condition that keepNewest makes of the table as it is now: older than the oldest of those to keep."""
    keep = step.rule.limits.keep_newest
    if not keep or step.rule.column is None or step.table is None:
        return TRUE
    age = age_of(step)
    query = (
        f"SELECT CAST({age} AS CHAR) FROM {named(step.table.name)} WHERE {age} IS NOT NULL "  # noqa: S608 - quoted
        f"ORDER BY {age} DESC LIMIT 1 OFFSET {keep - 1}"
    )
    with stepping(f"looking for the newest {keep} rows of {step.table.name}"):
        found = run(connection, query)
    return f"({age} < {literal(str(found[0][0]))})" if found else FALSE


def without_children(step: Step, children: Sequence[Child]) -> str:
    """The condition that nothing refers to a row of the step's own table by any of these keys."""
    own = [child for child in children if step.table is not None and child.parent == step.table.name]
    return _and([f"NOT EXISTS ({_referring(step, child)})" for child in own])


def _referring(step: Step, child: Child) -> str:
    pairs = zip(child.by.columns, child.by.target_columns, strict=True)
    same = " AND ".join(f"databosun_child.{quote(own)} = {column_of(step, other)}" for own, other in pairs)
    return f"SELECT 1 FROM {named(child.table.name)} AS databosun_child WHERE {same}"  # noqa: S608 - quoted


def _cutoff(table: TableFact, column: str, cutoff: datetime) -> str:
    """A date is cut off at the day, so that no day goes before it is over."""
    kind = next(one.type for one in table.columns if one.name == column)
    moment = cutoff.astimezone(UTC)
    return literal(f"{moment:%Y-%m-%d}" if kind == "date" else f"{moment:%Y-%m-%d %H:%M:%S.%f}")


def _and(parts: Sequence[str]) -> str:
    return "(" + " AND ".join(parts) + ")" if parts else TRUE


def _or(parts: Sequence[str]) -> str:
    return "(" + " OR ".join(parts) + ")" if parts else FALSE
