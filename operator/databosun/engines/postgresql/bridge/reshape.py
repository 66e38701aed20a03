"""Chosen tables of the copy are gathered in schemas of their own, so that a dump of these schemas is what is wanted.

The copy is ours alone and is thrown away: what would tie a restored table to others is taken off it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from psycopg import errors, sql

from databosun.domain.errors import UserFault
from databosun.engines.postgresql.bridge.marker import Marker
from databosun.engines.postgresql.bridge.names import staged_name
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.fingerprint import quote
from databosun.engines.postgresql.reasons import Reason

_FIND = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition,
       EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
               AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%s)
"""
_PARTS = """
WITH RECURSIVE tree AS (
    SELECT %s::oid AS oid
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent = tree.oid
      JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition
)
SELECT tree.oid::int8, n.nspname::text, c.relname::text FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
"""
_PARENTS = """
SELECT i.inhparent::int8, n.nspname::text, p.relname::text, c.relispartition,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid)
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
WHERE i.inhrelid = %s
"""
_FOREIGN_KEYS = """
SELECT k.oid::int8, k.conname::text, k.confrelid::int8,
       c.relkind = 'r' OR pg_catalog.current_setting('server_version_num')::int >= 180000
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
WHERE k.conrelid = %s AND k.contype = 'f' AND k.conparentid = 0 ORDER BY 2
"""
_POINTING_HERE = """
SELECT pg_catalog.format('foreign key %%I of %%s: ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
                         k.conname, k.conrelid::pg_catalog.regclass, k.conrelid::pg_catalog.regclass, k.conname,
                         pg_catalog.pg_get_constraintdef(k.oid))
FROM pg_catalog.pg_constraint AS k
WHERE k.confrelid = ANY(%(oids)s) AND k.contype = 'f' AND k.conparentid = 0 AND NOT k.conrelid = ANY(%(oids)s)
UNION
SELECT DISTINCT pg_catalog.format('view %%s', w.ev_class::pg_catalog.regclass) FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_rewrite AS w ON w.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refobjid = ANY(%(oids)s)
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND NOT w.ev_class = ANY(%(oids)s)
ORDER BY 1
"""
_TRIGGERS = "SELECT t.tgname::text FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = %s AND NOT t.tgisinternal"
STATISTICS = """
SELECT n.nspname::text, s.stxname::text FROM pg_catalog.pg_statistic_ext AS s
JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace WHERE s.stxrelid = %s
"""
_UNVALIDATE = "UPDATE pg_catalog.pg_constraint SET convalidated = false WHERE oid = %s"
_NAMED = 10


class Fate(StrEnum):
    """Back: its name is free. Beside: another table has it and stays. Swap: that one is put aside."""

    BACK = "Back"
    BESIDE = "Beside"
    SWAP = "Swap"


@dataclass
class Chosen:
    """One table as it was asked for; `parts`: itself and its partitions, with their schemas and names."""

    oid: int
    schema: str
    name: str
    parts: list[tuple[int, str, str]] = field(default_factory=list)
    fate: Fate = Fate.BACK

    @property
    def full_name(self) -> str:
        """Quoted where needed."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def choose_tables(connection: Connection, wanted: Sequence[str], dbname: str) -> list[Chosen]:
    """The tables of the copy. UserFault(NoSuchTable) names what is not there, or is none."""
    connection.execute("SELECT pg_catalog.set_config('search_path', 'public', false)")
    found: dict[int, Chosen] = {}
    missing = []
    for text in wanted:
        try:
            row = connection.execute(_FIND, (text,)).fetchone()
        except errors.Error:
            row = None
        if row is None or str(row[3]) not in ("r", "p"):
            missing.append(text)
            continue
        if row[5]:
            message = f"{text} belongs to an extension, which makes it anew; it is not restored by itself"
            raise UserFault(Reason.NO_SUCH_TABLE, message)
        found[int(str(row[0]))] = Chosen(int(str(row[0])), str(row[1]), str(row[2]))
    if missing:
        message = (
            f"at the point that was restored, database {dbname} has no table {', '.join(missing)}; write schema and "
            "name, as in public.orders"
        )
        raise UserFault(Reason.NO_SUCH_TABLE, message)
    for one in found.values():
        one.parts = [(int(str(oid)), str(schema), str(name)) for oid, schema, name in
                     connection.execute(_PARTS, (one.oid,)).fetchall()]  # fmt: skip
    inner = {oid for one in found.values() for oid, _, _ in one.parts if oid != one.oid}
    return [one for one in found.values() if one.oid not in inner]


def reshape(connection: Connection, chosen: Sequence[Chosen], uid: str, run: str) -> list[str]:
    """Gather them; their schemas bear a mark. Notes on what a table had around it that does not come along."""
    notes: list[str] = []
    own = {oid for one in chosen for oid, _, _ in one.parts}
    beside = {oid for one in chosen if one.fate is Fate.BESIDE for oid, _, _ in one.parts}
    back = [oid for one in chosen if one.fate is Fate.BACK for oid, _, _ in one.parts]
    around = [str(row[0]) for row in connection.execute(_POINTING_HERE, {"oids": back}).fetchall()]
    if around:
        notes.append(
            f"what pointed at tables that come back is not restored with them, look whether it is there: "
            f"{'; '.join(around[:_NAMED])}"
        )
    with connection.transaction():
        for schema in sorted({schema for one in chosen for _, schema, _ in one.parts}):
            staged = sql.Identifier(staged_name(schema, uid))
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(staged))
            mark = sql.Literal(Marker(uid, run, schema).text())
            connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(staged, mark))
        for one in chosen:
            notes += _cut_off(connection, one, own)
            for oid, schema, name in one.parts:
                _loosen(connection, oid, sql.Identifier(schema, name), beside, is_beside=one.fate is Fate.BESIDE)
        for one in chosen:
            for oid, schema, name in one.parts:
                target = sql.Identifier(staged_name(schema, uid))
                for space, statistics in connection.execute(STATISTICS, (oid,)).fetchall():
                    alter = sql.SQL("ALTER STATISTICS {} SET SCHEMA {}")
                    connection.execute(alter.format(sql.Identifier(str(space), str(statistics)), target))
                alter = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
                connection.execute(alter.format(sql.Identifier(schema, name), target))
    return notes


def _cut_off(connection: Connection, one: Chosen, own: set[int]) -> list[str]:
    """A partition, or a child, without its parent: it comes back as a table of its own."""
    notes = []
    table = sql.Identifier(one.schema, one.name)
    for parent, schema, name, partition, bound in connection.execute(_PARENTS, (one.oid,)).fetchall():
        if int(str(parent)) in own:
            continue
        above = sql.Identifier(str(schema), str(name))
        if partition:
            connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(above, table))
            again = f"ALTER TABLE {above.as_string()} ATTACH PARTITION {table.as_string()} {bound}"
        else:
            connection.execute(sql.SQL("ALTER TABLE {} NO INHERIT {}").format(table, above))
            again = f"ALTER TABLE {table.as_string()} INHERIT {above.as_string()}"
        notes.append(f"{one.full_name} was a part of {schema}.{name} and comes back by itself; to join them: {again};")
    return notes


def _loosen(connection: Connection, oid: int, table: sql.Identifier, beside: set[int], *, is_beside: bool) -> None:
    """A copy beside the original ties nobody down; one that takes its place has its keys checked at the target."""
    for key, name, to, can_wait in connection.execute(_FOREIGN_KEYS, (oid,)).fetchall():
        if is_beside or int(str(to)) in beside:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            connection.execute(drop.format(table, sql.Identifier(str(name))))
        elif can_wait:  # the keys of a partitioned table are checked at once, before 18
            connection.execute(_UNVALIDATE, (key,))
    if is_beside:
        for (name,) in connection.execute(_TRIGGERS, (oid,)).fetchall():
            connection.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(str(name)), table))
