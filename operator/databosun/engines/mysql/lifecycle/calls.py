"""Stored functions and views that conditions and triggers depend on, and those that these depend on, as they are.

Whoever replaces one changes which rows go, so a plan's hash covers them. A condition says what it calls; of a body of a
function, a view or a trigger every name in it counts, in a comment too, with all that are called alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import CallFact, HoldOrder, LifecycleOrder, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import UNKNOWN, Step, concerns
from databosun.engines.lifecycle import Definitions
from databosun.engines.mysql.lifecycle.catalogue import Catalogue
from databosun.engines.mysql.lifecycle.statements import run
from databosun.engines.mysql.lifecycle.words import Reading, mentioned, read_condition

MOST_CALLS = 256

# The server's own are replaced by its administrator alone.
_ROUTINES = """
SELECT LOWER(r.ROUTINE_TYPE), r.ROUTINE_SCHEMA, r.ROUTINE_NAME, r.DTD_IDENTIFIER, r.ROUTINE_DEFINITION,
       r.SQL_DATA_ACCESS, r.IS_DETERMINISTIC, r.SECURITY_TYPE, r.DEFINER, r.SQL_MODE
FROM information_schema.ROUTINES AS r
WHERE r.ROUTINE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
"""
_PARAMETERS = """
SELECT p.SPECIFIC_SCHEMA, p.SPECIFIC_NAME, LOWER(p.ROUTINE_TYPE), p.ORDINAL_POSITION, p.PARAMETER_MODE,
       p.PARAMETER_NAME, p.DTD_IDENTIFIER
FROM information_schema.PARAMETERS AS p
WHERE p.SPECIFIC_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
ORDER BY 1, 2, 3, 4
"""
_VIEWS = """
SELECT 'view', v.TABLE_SCHEMA, v.TABLE_NAME, '', v.VIEW_DEFINITION, v.CHECK_OPTION, '', v.SECURITY_TYPE, v.DEFINER, ''
FROM information_schema.VIEWS AS v
WHERE v.TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
"""


def definitions_of(catalogue: Catalogue, rule: RuleOrder, order: LifecycleOrder) -> Definitions:
    """All that a rule stands on in the server, and that its plan's hash covers. UserFault where a condition may not be
    carried out."""
    tables = catalogue.tables(rule.table)
    readings = [read_condition(text) for text in words_of(rule, order.holds, tables)]
    bodies = catalogue.bodies(tables)
    return Definitions(tables, _Closure.of(catalogue, readings, bodies).calls())


def words_of(rule: RuleOrder, holds: Iterable[HoldOrder], tables: Sequence[TableFact]) -> list[str]:
    """The conditions that people wrote on the rule's rows; those of holds also when they are over: an end of a hold
    is no other plan."""
    step = Step(rule, tables[0] if tables else TableFact(name=rule.table, kind=UNKNOWN))
    held = [hold.where for hold in holds if hold.where is not None and concerns(hold, step)]
    return [*([rule.where] if rule.where is not None else []), *held]


@dataclass(frozen=True, slots=True)
class _Thing:
    """A stored function, a procedure or a view. `steady`: it says of itself that it answers the same each time, and
    changes nothing."""

    kind: str
    schema: str
    name: str
    body: str | None
    steady: bool
    definition: str

    @property
    def full(self) -> str:
        """For people."""
        return f"{self.kind} {self.schema}.{self.name}"


@dataclass
class _Closure:
    """`known`: all that there are, as far as somebody may mean them."""

    schema: str
    known: Sequence[_Thing]
    found: dict[str, _Thing] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue, readings: Sequence[Reading], bodies: Sequence[str]) -> _Closure:
        """Of what is called by conditions, and by bodies of triggers."""
        wanted = any(one.called or one.own or one.selects for one in readings) or bool(bodies)
        closure = cls(catalogue.schema.lower(), list(_things(catalogue.connection)) if wanted else [])
        for one in readings:
            closure._read(one)
        for body in bodies:
            closure._take(closure._mentioned(body))
        return closure

    def calls(self) -> list[CallFact]:
        """Each by its definition."""
        return sorted(
            (
                CallFact(name=one.full, definition_sha256=hashlib.sha256(one.definition.encode()).hexdigest())
                for one in self.found.values()
            ),
            key=lambda fact: fact.name,
        )

    def _read(self, reading: Reading) -> None:
        for call in sorted(reading.called | reading.own):
            schema, _, name = call.rpartition(".")
            hit = [
                one
                for one in self.known
                if one.kind == "function" and (one.schema.lower(), one.name.lower()) == (schema or self.schema, name)
            ]
            if not hit and call in reading.own:
                continue
            if not hit or not hit[0].steady:
                raise _unsteady(call, hit[0] if hit else None)
            self._take(hit)
        if reading.selects:
            self._take([one for one in self.known if one.kind == "view" and one.name.lower() in reading.names])

    def _mentioned(self, body: str) -> list[_Thing]:
        names = mentioned(body)
        return [one for one in self.known if one.name.lower() in names or not mentioned(one.name) >= {one.name.lower()}]

    def _take(self, things: Iterable[_Thing]) -> None:
        """Each, and what it depends on."""
        waiting = list(things)
        while waiting:
            one = waiting.pop()
            if one.full in self.found:
                continue
            if len(self.found) >= MOST_CALLS:
                raise _too_many()
            if not one.body:
                raise _unseen(one)
            self.found[one.full] = one
            waiting += self._mentioned(one.body)


def _things(connection: Connection[Any]) -> Iterable[_Thing]:
    parameters: dict[tuple[str, str, str], list[str]] = {}
    for schema, name, kind, *rest in run(connection, _PARAMETERS):
        parameters.setdefault((str(kind), str(schema), str(name)), []).append("/".join(map(str, rest)))
    for row in (*run(connection, _ROUTINES), *run(connection, _VIEWS)):
        kind, schema, name = str(row[0]), str(row[1]), str(row[2])
        body = str(row[4]) if row[4] else None
        steady = row[6] == "YES" and row[5] != "MODIFIES SQL DATA"
        definition = "\x1f".join([*map(str, row[3:]), *parameters.get((kind, schema, name), [])])
        yield _Thing(kind, schema, name, body, steady, definition)


def _unsteady(call: str, thing: _Thing | None) -> UserFault:
    why = (
        f"calls {thing.full}, which is not declared DETERMINISTIC, or modifies data"
        if thing is not None
        else f"calls {call}, which is no stored function that the login may see, nor one of the server's that is known"
        " to answer the same each time and to do nothing else"
    )
    return UserFault(Reason.VOLATILE_CONDITION, f"a condition {why}; a rule needs one answer")


def _unseen(thing: _Thing) -> UserFault:
    message = f"the login may not see the definition of {thing.full}, which a condition or a trigger depends on"
    return UserFault(Reason.PERMISSION_DENIED, f"{message}: GRANT SELECT, SHOW VIEW ON *.* to it")


def _too_many() -> UserFault:
    message = (
        f"its conditions and triggers depend on more than {MOST_CALLS} functions and views, by the names in them, so"
        " that nobody can say what they come to; write the condition on columns"
    )
    return UserFault(Reason.TOO_MANY_CALLS, message)
