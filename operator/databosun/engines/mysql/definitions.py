"""What is defined in schemas: one row a thing, in plain text, of which a hash and an inventory are made."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded

# kind, schema, name, text. Nothing that a restore changes: no times, no statistics, no next AUTO_INCREMENT.
_QUERIES = (
    """SELECT 'schema', s.SCHEMA_NAME, '', CONCAT_WS('|', s.DEFAULT_CHARACTER_SET_NAME, s.DEFAULT_COLLATION_NAME)
       FROM information_schema.SCHEMATA AS s WHERE s.SCHEMA_NAME IN %s""",
    """SELECT CASE WHEN t.TABLE_TYPE IN ('VIEW', 'SEQUENCE') THEN LOWER(t.TABLE_TYPE) ELSE 'table' END,
              t.TABLE_SCHEMA, t.TABLE_NAME,
              IF(t.TABLE_TYPE = 'VIEW', '', CONCAT_WS('|', t.TABLE_TYPE, t.ENGINE, t.TABLE_COLLATION, t.CREATE_OPTIONS,
                                                      t.TABLE_COMMENT))
       FROM information_schema.TABLES AS t WHERE t.TABLE_SCHEMA IN %s""",
    """SELECT 'column', c.TABLE_SCHEMA, CONCAT(c.TABLE_NAME, '.', c.ORDINAL_POSITION),
              CONCAT_WS('|', c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, IFNULL(c.COLUMN_DEFAULT, 'NULL'), c.EXTRA,
                        c.COLLATION_NAME, c.GENERATION_EXPRESSION, c.COLUMN_COMMENT)
       FROM information_schema.COLUMNS AS c WHERE c.TABLE_SCHEMA IN %s""",
    """SELECT 'foreign key', r.CONSTRAINT_SCHEMA, CONCAT(r.TABLE_NAME, '.', r.CONSTRAINT_NAME),
              CONCAT_WS('|', r.REFERENCED_TABLE_NAME, r.UPDATE_RULE, r.DELETE_RULE)
       FROM information_schema.REFERENTIAL_CONSTRAINTS AS r WHERE r.CONSTRAINT_SCHEMA IN %s""",
    """SELECT 'key column', k.TABLE_SCHEMA,
              CONCAT(k.TABLE_NAME, '.', k.CONSTRAINT_NAME, '.', k.ORDINAL_POSITION),
              CONCAT_WS('|', k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME)
       FROM information_schema.KEY_COLUMN_USAGE AS k WHERE k.TABLE_SCHEMA IN %s""",
    """SELECT 'partition', p.TABLE_SCHEMA,
              CONCAT(p.TABLE_NAME, '.', p.PARTITION_NAME, '.', IFNULL(p.SUBPARTITION_NAME, '')),
              CONCAT_WS('|', p.PARTITION_METHOD, p.PARTITION_EXPRESSION, p.PARTITION_DESCRIPTION)
       FROM information_schema.PARTITIONS AS p WHERE p.PARTITION_NAME IS NOT NULL AND p.TABLE_SCHEMA IN %s""",
    """SELECT 'view text', v.TABLE_SCHEMA, v.TABLE_NAME,
              CONCAT_WS('|', v.VIEW_DEFINITION, v.CHECK_OPTION, v.DEFINER, v.SECURITY_TYPE)
       FROM information_schema.VIEWS AS v WHERE v.TABLE_SCHEMA IN %s""",
    """SELECT 'trigger', g.TRIGGER_SCHEMA, g.TRIGGER_NAME,
              CONCAT_WS('|', g.EVENT_OBJECT_TABLE, g.ACTION_TIMING, g.EVENT_MANIPULATION, g.ACTION_ORDER,
                        g.ACTION_STATEMENT, g.DEFINER, g.SQL_MODE)
       FROM information_schema.TRIGGERS AS g WHERE g.TRIGGER_SCHEMA IN %s""",
    """SELECT 'routine', r.ROUTINE_SCHEMA, CONCAT(r.ROUTINE_TYPE, ' ', r.ROUTINE_NAME),
              CONCAT_WS('|', r.DTD_IDENTIFIER, r.ROUTINE_DEFINITION, r.SQL_DATA_ACCESS, r.IS_DETERMINISTIC,
                        r.SECURITY_TYPE, r.DEFINER, r.SQL_MODE)
       FROM information_schema.ROUTINES AS r WHERE r.ROUTINE_SCHEMA IN %s""",
    """SELECT 'parameter', p.SPECIFIC_SCHEMA, CONCAT(p.ROUTINE_TYPE, ' ', p.SPECIFIC_NAME, '.', p.ORDINAL_POSITION),
              CONCAT_WS('|', p.PARAMETER_MODE, p.PARAMETER_NAME, p.DTD_IDENTIFIER)
       FROM information_schema.PARAMETERS AS p WHERE p.SPECIFIC_SCHEMA IN %s""",
    """SELECT 'event', e.EVENT_SCHEMA, e.EVENT_NAME,
              CONCAT_WS('|', e.EVENT_DEFINITION, e.EVENT_TYPE, e.EXECUTE_AT, e.INTERVAL_VALUE, e.INTERVAL_FIELD,
                        e.STARTS, e.ENDS, e.ON_COMPLETION, e.DEFINER, e.SQL_MODE)
       FROM information_schema.EVENTS AS e WHERE e.EVENT_SCHEMA IN %s""",
)
# Each has columns that the other does not have.
_OWN_QUERIES: Mapping[EngineName, tuple[str, ...]] = {
    EngineName.MARIADB: (
        """SELECT 'index', i.TABLE_SCHEMA, CONCAT(i.TABLE_NAME, '.', i.INDEX_NAME, '.', i.SEQ_IN_INDEX),
                  CONCAT_WS('|', i.NON_UNIQUE, i.COLUMN_NAME, i.COLLATION, i.SUB_PART, i.INDEX_TYPE)
           FROM information_schema.STATISTICS AS i WHERE i.TABLE_SCHEMA IN %s""",
        """SELECT 'check', k.CONSTRAINT_SCHEMA, CONCAT(k.TABLE_NAME, '.', k.CONSTRAINT_NAME), k.CHECK_CLAUSE
           FROM information_schema.CHECK_CONSTRAINTS AS k WHERE k.CONSTRAINT_SCHEMA IN %s""",
    ),
    EngineName.MYSQL: (
        """SELECT 'index', i.TABLE_SCHEMA, CONCAT(i.TABLE_NAME, '.', i.INDEX_NAME, '.', i.SEQ_IN_INDEX),
                  CONCAT_WS('|', i.NON_UNIQUE, i.COLUMN_NAME, i.EXPRESSION, i.COLLATION, i.SUB_PART, i.INDEX_TYPE,
                            i.IS_VISIBLE)
           FROM information_schema.STATISTICS AS i WHERE i.TABLE_SCHEMA IN %s""",
        """SELECT 'check', k.CONSTRAINT_SCHEMA, CONCAT(t.TABLE_NAME, '.', k.CONSTRAINT_NAME),
                  CONCAT_WS('|', k.CHECK_CLAUSE, t.ENFORCED)
           FROM information_schema.CHECK_CONSTRAINTS AS k JOIN information_schema.TABLE_CONSTRAINTS AS t
             ON t.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = k.CONSTRAINT_NAME
             AND t.CONSTRAINT_TYPE = 'CHECK'
           WHERE k.CONSTRAINT_SCHEMA IN %s""",
    ),
}
_ACCOUNTS: Mapping[EngineName, tuple[str, ...]] = {
    EngineName.MARIADB: ("SELECT 'account', u.Host, u.User, u.Priv FROM mysql.global_priv AS u",),
    EngineName.MYSQL: tuple(
        f"SELECT '{table}', t.* FROM mysql.{table} AS t"  # noqa: S608 - names of our own
        for table in ("user", "global_grants", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv",
                      "role_edges", "default_roles")
    ),
}  # fmt: skip


@dataclass
class Inventory:
    """What a schema has, by name; of triggers, routines and events how many."""

    tables: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    sequences: set[str] = field(default_factory=set)
    triggers: int = 0
    routines: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class Definitions:
    """`hash`: of the definitions of the schemas. `accounts`: of accounts and their privileges; never stored, since
    password hashes go into it. `inventory`: by schema."""

    hash: str
    accounts: str
    inventory: dict[str, Inventory]


def read_definitions(
    connection: Connection[Any], dialect: Dialect, schemas: Collection[str], *, accounts: bool
) -> Definitions:
    """All definitions of some schemas. They follow no snapshot: compare those before with those after."""
    if not schemas:
        return Definitions(_hash(()), "", {})
    wanted = tuple(sorted(schemas))
    found: list[tuple[str, ...]] = []
    with guarded("reading definitions"):
        for query in (*_QUERIES, *_OWN_QUERIES[dialect.engine]):
            found += [tuple(str(part) for part in row) for row in rows(connection, query, (wanted,))]
        people = [row for query in _ACCOUNTS[dialect.engine] for row in rows(connection, query)] if accounts else []
    users = _hash(tuple(str(part) for part in row) for row in people)
    return Definitions(_hash(found), users, _inventory(wanted, found))


def missing_from(expected: dict[str, Inventory], found: dict[str, Inventory]) -> list[str]:
    """Sentences: what a dump lacks of what its server has."""
    said = []
    for schema, wanted in expected.items():
        there = found.get(schema)
        if there is None:
            said.append(f"schema {schema}")
            continue
        for kind in ("tables", "views", "sequences"):
            lacking = sorted(getattr(wanted, kind) - getattr(there, kind))
            said += [f"{kind[:-1]} {schema}.{name}" for name in lacking]
        for kind in ("triggers", "routines", "events"):
            have, want = getattr(there, kind), getattr(wanted, kind)
            if have != want:
                said.append(f"{want - have} of the {want} {kind} of {schema}")
    return said


def _inventory(schemas: Iterable[str], found: Iterable[tuple[str, ...]]) -> dict[str, Inventory]:
    inventory = {name: Inventory() for name in schemas}
    for kind, schema, name, _ in found:
        match kind:
            case "table":
                inventory[schema].tables.add(name)
            case "view":
                inventory[schema].views.add(name)
            case "sequence":
                inventory[schema].sequences.add(name)
            case "trigger":
                inventory[schema].triggers += 1
            case "routine":
                inventory[schema].routines += 1
            case "event":
                inventory[schema].events += 1
            case _:
                continue
    return inventory


def _hash(found: Iterable[tuple[str, ...]]) -> str:
    digest = hashlib.sha256()
    for row in sorted(found):
        digest.update("\x1f".join(row).encode() + b"\x1e")
    return digest.hexdigest()
