"""What a rule's action needs and the login has not been granted, as the SQL that grants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import DELETING, Step, needs_deleting_first
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
    for table, privileges in wanted.items():
        commands.append(grant_statement(list(dict.fromkeys(privileges)), user, *split(table)))
    return Lacking(commands[:MOST_GRANTS], reads)


def _wanted(step: Step) -> Iterator[tuple[str, str, str | None]]:
    """Table, privilege, and the column that it is about, if it is about one. TRIGGER: or triggers are hidden."""
    rule, table = step.rule, step.table
    if table is None:
        return
    yield table.name, "SELECT", None
    yield table.name, "TRIGGER", None
    if rule.action in DELETING:
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
