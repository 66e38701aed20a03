"""What a rule's action needs and the login has not been granted, as the SQL that grants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import BY_PARTITION, DELETING, Step, needs_deleting_first
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.grants import Grants, grant_statement
from databosun.engines.mysql.lifecycle.statements import split

MOST_GRANTS = 12
# InnoDB's dictionary, in which no foreign key is hidden, and how many replicas there are.
SEES_KEYS = "PROCESS"


@dataclass(frozen=True, slots=True)
class Lacking:
    """`commands`: what an administrator has to run, the first few. `reads`: rows cannot even be counted."""

    commands: list[str]
    reads: bool


def lacking(grants: Grants, user: str, step: Step, *, calls: bool) -> Lacking:
    """What the login lacks for one rule. `calls`: functions or views are called, or triggers are there, so that what
    these depend on must be seen."""
    everywhere = [SEES_KEYS, *(("SELECT", "SHOW VIEW") if calls else ())]
    missing = [one for one in everywhere if not grants.has(one)]
    commands = [grant_statement(missing, user)] if missing else []
    reads = False
    wanted: dict[str, list[str]] = {}
    for table, privilege, column in _wanted(step):
        schema, name = split(table)
        if not grants.has_on(privilege, schema, name, column):
            reads |= privilege == "SELECT"
            said = f"{privilege} ({quote(column)})" if column else privilege
            wanted.setdefault(table, []).append(said)
    apart = _wanted_around(step, grants)
    if apart and step.table is not None:
        commands.append(grant_statement(apart, user, split(step.table.name)[0]))
    for table, privileges in wanted.items():
        commands.append(grant_statement(list(dict.fromkeys(privileges)), user, *split(table)))
    return Lacking(commands[:MOST_GRANTS], reads)


def _wanted_around(step: Step, grants: Grants) -> list[str]:
    """What is granted on a whole schema alone: to lock its tables, and to make one for the rows of a partition."""
    if step.rule.action not in BY_PARTITION or step.table is None:
        return []
    schema = split(step.table.name)[0]
    detached = ["CREATE", "INSERT", "ALTER", "DROP", "SELECT"]
    wanted = ["LOCK TABLES", *(detached if step.rule.action is ActionType.DETACH_PARTITION else [])]
    return [one for one in wanted if not grants.has(one, schema)]


def _wanted(step: Step) -> Iterator[tuple[str, str, str | None]]:
    """Table, privilege, and the column that it is about, if it is about one. TRIGGER: or triggers are hidden."""
    rule, table = step.rule, step.table
    if table is None:
        return
    yield table.name, "SELECT", None
    yield table.name, "TRIGGER", None
    if rule.action in BY_PARTITION:
        yield table.name, "ALTER", None
        yield table.name, "DROP", None
    elif rule.action in DELETING:
        yield table.name, "DELETE", None
    known = {column.name for column in table.columns}
    for name in (*(mask.column for mask in rule.masks), rule.mark_column):
        if name in known:
            yield table.name, "UPDATE", name
    for child in step.children if rule.action in DELETING else ():
        yield child.table.name, "SELECT", None
        yield child.table.name, "TRIGGER", None
        if child.goes and needs_deleting_first(rule, child) and rule.action is not ActionType.ARCHIVE:
            yield child.table.name, "DELETE", None
