"""The functions and views of people's own that conditions depend on, and those that these depend on, as they are.

Whoever replaces one changes which rows go, so a plan's hash covers them. What a text calls is known by name alone: each
function and view whose name occurs in it counts, in a comment too, with all that are called alike. What the server has
parsed already, views and functions with a body of SQL, it says itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import CallFact, HoldOrder, LifecycleOrder, RuleOrder, TableFact
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import UNKNOWN, Step, concerns
from databosun.engines.lifecycle import Definitions
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import tables_of
from databosun.engines.postgresql.lifecycle.statements import number, one, text_of
from databosun.engines.postgresql.reasons import Reason

MOST_CALLS = 256

_WORD = re.compile(r"[^\W\d][\w$]*")
_ESCAPED = re.compile(r'\bu&"', re.IGNORECASE)  # a name in escapes may be any
_OPERATOR = re.compile(r"\boperator\s*\(|search_path", re.IGNORECASE)

# The server's own have smaller numbers. Temporary ones of other sessions cannot be reached.
_NAMED: LiteralString = """
SELECT 'function', p.oid::int8, p.proname::text
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_temp\\_%'
UNION ALL
SELECT 'view', c.oid::int8, c.relname::text FROM pg_catalog.pg_class AS c
WHERE c.oid >= 16384 AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't'
UNION ALL
SELECT 'operator', p.oid::int8, o.oprname::text
FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_proc AS p ON p.oid = o.oprcode
JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE o.oid >= 16384 AND p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
UNION ALL
SELECT 'cast', p.oid::int8, '' FROM pg_catalog.pg_cast AS k JOIN pg_catalog.pg_proc AS p ON p.oid = k.castfunc
JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE k.oid >= 16384 AND p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
"""
# Without a path to look them up by, names come out in full.
_DEFINED: LiteralString = """
SELECT 'function', p.oid::int8,
       CASE p.prokind WHEN 'a' THEN 'aggregate ' WHEN 'p' THEN 'procedure ' ELSE 'function ' END
           || p.oid::regprocedure::text,
       CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE (
           SELECT pg_catalog.concat_ws(' ', a.aggkind, a.aggnumdirectargs, a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                      a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra,
                      a.aggmfinalextra, a.aggsortop::regoperator, a.aggtranstype::regtype, a.aggmtranstype::regtype,
                      pg_catalog.quote_nullable(a.agginitval), pg_catalog.quote_nullable(a.aggminitval))
           FROM pg_catalog.pg_aggregate AS a WHERE a.aggfnoid = p.oid) END
FROM pg_catalog.pg_proc AS p WHERE p.oid = ANY ({functions}::oid[])
UNION ALL
SELECT 'view', c.oid::int8, CASE c.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || c.oid::regclass::text,
       pg_catalog.concat_ws(E'\\n', c.reloptions::text, pg_catalog.pg_get_viewdef(c.oid))
FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ({views}::oid[])
"""
_DEPENDED: LiteralString = """
WITH of (classid, objid) AS (
    SELECT 'pg_catalog.pg_proc'::regclass, f.oid FROM unnest({functions}::oid[]) AS f(oid)
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::regclass, w.oid FROM pg_catalog.pg_rewrite AS w
    WHERE w.ev_class = ANY ({views}::oid[])
), found AS (
    SELECT d.refclassid, d.refobjid
    FROM of JOIN pg_catalog.pg_depend AS d ON d.classid = of.classid AND d.objid = of.objid
)
SELECT 'function', p.oid::int8 FROM found AS d JOIN pg_catalog.pg_proc AS p ON p.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.oid >= 16384
UNION
SELECT 'function', p.oid::int8 FROM found AS d JOIN pg_catalog.pg_operator AS o ON o.oid = d.refobjid
JOIN pg_catalog.pg_proc AS p ON p.oid = o.oprcode
WHERE d.refclassid = 'pg_catalog.pg_operator'::regclass AND p.oid >= 16384
UNION
SELECT 'view', c.oid::int8 FROM found AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND c.oid >= 16384 AND c.relkind IN ('v', 'm')
"""
# What triggers and rewrite rules are and do.
_FIRED: LiteralString = """
SELECT pg_catalog.pg_get_triggerdef(t.oid) || E'\\n' || p.prosrc
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND (n.nspname::text || '.' || c.relname::text, t.tgname::text)
      IN (SELECT * FROM unnest({tables}::text[], {names}::text[]))
UNION ALL
SELECT pg_catalog.pg_get_ruledef(w.oid)
FROM pg_catalog.pg_rewrite AS w JOIN pg_catalog.pg_class AS c ON c.oid = w.ev_class
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE (n.nspname::text || '.' || c.relname::text, w.rulename::text)
      IN (SELECT * FROM unnest({tables}::text[], {names}::text[]))
"""
# What was replaced has another xmin, what was made anew another number.
_MARK: LiteralString = """
SELECT (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', p.oid, p.xmin, n.nspname), 0))
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_temp\\_%'),
       (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', w.oid, w.xmin, n.nspname, c.relname), 0))
        FROM pg_catalog.pg_rewrite AS w JOIN pg_catalog.pg_class AS c ON c.oid = w.ev_class
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't'),
       (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', o.oid, o.xmin), 0))
        FROM pg_catalog.pg_operator AS o WHERE o.oid >= 16384),
       (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', k.oid, k.xmin), 0))
        FROM pg_catalog.pg_cast AS k WHERE k.oid >= 16384)
"""

Found = tuple[str, int]
"""A function or a view, by its number."""


def definitions_of(connection: Connection, rule: RuleOrder, order: LifecycleOrder) -> Definitions:
    """All that a rule stands on in the server, and that its plan's hash covers."""
    held = [hold.table for hold in order.holds if hold.table is not None]
    tables = tables_of(connection, rule.table, held)
    texts = [*words_of(rule, order.holds, tables), *_fired(connection, tables)]
    return Definitions(tables, calls_of(connection, texts) if texts else [])


def words_of(rule: RuleOrder, holds: Iterable[HoldOrder], tables: Sequence[TableFact]) -> list[str]:
    """The conditions that people wrote on the rule's rows; those of holds also when they are over: an end of a hold
    is no other plan."""
    step = Step(rule, tables[0] if tables else TableFact(name=rule.table, kind=UNKNOWN))
    held = [hold.where for hold in holds if hold.where is not None and concerns(hold, step)]
    return [*([rule.where] if rule.where is not None else []), *held]


def calls_of(connection: Connection, texts: Sequence[str]) -> list[CallFact]:
    """What is called by these texts, and by what is called. UserFault where it is more than anybody looks at."""
    named = [(str(kind), number(oid), str(name)) for kind, oid, name in connection.execute(_NAMED).fetchall()]
    closure = _Closure(connection, named)
    closure.take(closure.mentioned(texts))
    return sorted(closure.facts.values(), key=lambda fact: fact.name)


def mark_calls(connection: Connection) -> tuple[object, ...]:
    """Another one each time that a function, view, operator or cast of the database was made or replaced."""
    return one(connection, sql.SQL(_MARK))


@dataclass
class _Closure:
    """`named`: all there are, by kind, number and name."""

    connection: Connection
    named: Sequence[tuple[str, int, str]]
    facts: dict[Found, CallFact] = field(default_factory=dict)

    def mentioned(self, texts: Iterable[str]) -> set[Found]:
        """What occurs in the texts. A cast needs no name, and an operator outside of the path only its own."""
        found: set[Found] = set()
        for text in texts:
            lower = text.lower()
            words, operators = set(_WORD.findall(lower)), _OPERATOR.search(text) is not None
            everything = _ESCAPED.search(text) is not None
            for kind, oid, name in self.named:
                if kind == "operator":
                    hit = operators and name in text
                else:
                    hit = kind == "cast" or everything or _occurs(name.lower(), words, lower)
                if hit:
                    found.add(("view" if kind == "view" else "function", oid))
        return found

    def take(self, found: set[Found]) -> None:
        """Each, and what it depends on."""
        while new := found - self.facts.keys():
            if len(self.facts) + len(new) > MOST_CALLS:
                raise _too_many()
            numbers = {
                "functions": sql.Literal([oid for kind, oid in new if kind == "function"]),
                "views": sql.Literal([oid for kind, oid in new if kind == "view"]),
            }
            rows = self.connection.execute(sql.SQL(_DEFINED).format(**numbers)).fetchall()
            bodies = []
            for kind, oid, name, body in rows:
                digest = hashlib.sha256(text_of(body).encode()).hexdigest()
                self.facts[str(kind), number(oid)] = CallFact(name=str(name), definition_sha256=digest)
                bodies.append(text_of(body))
            depended = self.connection.execute(sql.SQL(_DEPENDED).format(**numbers)).fetchall()
            found = {(str(kind), number(oid)) for kind, oid in depended} | self.mentioned(bodies)


def _occurs(name: str, words: set[str], text: str) -> bool:
    return name in words if _WORD.fullmatch(name) else name.replace('"', '""') in text or name in text


def _fired(connection: Connection, tables: Sequence[TableFact]) -> list[str]:
    triggers = [(one.table, one.name) for table in tables for one in table.triggers]
    if not triggers:
        return []
    where, names = (sql.Literal(list(part)) for part in zip(*triggers, strict=True))
    return [text_of(row[0]) for row in connection.execute(sql.SQL(_FIRED).format(tables=where, names=names)).fetchall()]


def _too_many() -> UserFault:
    message = (
        f"its conditions and triggers depend on more than {MOST_CALLS} functions and views, by the names in them, so"
        " that nobody can say what they come to; write the condition on columns"
    )
    return UserFault(Reason.TOO_MANY_CALLS, message)
