"""The live tables: what would go on using one that is put aside, and how one takes the place of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from databosun.domain.errors import UserFault
from databosun.engines.bridging import BridgeOrder
from databosun.engines.postgresql.bridge.names import before_name, staged_name
from databosun.engines.postgresql.bridge.reshape import STATISTICS, Chosen, Fate
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.fingerprint import quote
from databosun.engines.postgresql.reasons import Reason

_RELATION = """
SELECT c.oid::int8, c.relkind::text, pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
# A table with all of its partitions, and the sequences that its columns own.
_MOVED = """
WITH RECURSIVE tree AS (
    SELECT %(oid)s::oid AS oid
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent = tree.oid
      JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition
)
SELECT tree.oid::int8, n.nspname::text, c.relname::text FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
"""
# Whatever would go on speaking of the old table, once another one bears its name.
_DEPENDENTS = """
WITH moved AS (
    SELECT u.oid FROM pg_catalog.unnest(%(oids)s::oid[]) AS u(oid)
    UNION SELECT d.objid FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind = 'S' AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY(%(oids)s::oid[])
), types AS (
    SELECT t.oid FROM pg_catalog.pg_type AS t WHERE t.typrelid IN (SELECT m.oid FROM moved AS m)
    UNION SELECT t.typarray FROM pg_catalog.pg_type AS t
          WHERE t.typrelid IN (SELECT m.oid FROM moved AS m) AND t.typarray <> 0
), depending AS (
    SELECT d.classid, d.objid, CASE d.classid
        WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN
            coalesce((SELECT i.indrelid FROM pg_catalog.pg_index AS i WHERE i.indexrelid = d.objid), d.objid)
        WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
            (SELECT k.conrelid FROM pg_catalog.pg_constraint AS k WHERE k.oid = d.objid)
        WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
            (SELECT t.tgrelid FROM pg_catalog.pg_trigger AS t WHERE t.oid = d.objid)
        WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN
            (SELECT a.adrelid FROM pg_catalog.pg_attrdef AS a WHERE a.oid = d.objid)
        WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
            (SELECT p.polrelid FROM pg_catalog.pg_policy AS p WHERE p.oid = d.objid)
        WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
            (SELECT w.ev_class FROM pg_catalog.pg_rewrite AS w WHERE w.oid = d.objid)
        WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN
            (SELECT s.stxrelid FROM pg_catalog.pg_statistic_ext AS s WHERE s.oid = d.objid)
        END AS belongs
    FROM pg_catalog.pg_depend AS d
    WHERE (d.deptype = 'n' OR d.classid IN ('pg_catalog.pg_publication_rel'::pg_catalog.regclass,
                                            'pg_catalog.pg_constraint'::pg_catalog.regclass))
      AND ((d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid IN (SELECT m.oid FROM moved AS m))
           OR (d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
               AND d.refobjid IN (SELECT t.oid FROM types AS t)))
)
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0) FROM depending AS d
WHERE d.belongs IS NULL AND NOT (d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass)
   OR d.belongs IS NOT NULL AND d.belongs NOT IN (SELECT m.oid FROM moved AS m)
      AND d.belongs NOT IN (SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relkind = 't')
UNION
SELECT pg_catalog.format('table %%s, of which it is a part', i.inhparent::pg_catalog.regclass)
FROM pg_catalog.pg_inherits AS i
WHERE i.inhrelid IN (SELECT m.oid FROM moved AS m) AND i.inhparent NOT IN (SELECT m.oid FROM moved AS m)
ORDER BY 1
"""
_NAMED_OID = "SELECT pg_catalog.to_regclass(%s)::oid::int8"
_NAMED = 8


def demand_free_tables(server: Server, order: BridgeOrder, dbname: str) -> None:
    """UserFault(TableInUse) for what is known before anything is fetched."""
    if order.replace:
        with server.open(dbname) as connection:
            connection.execute("SELECT pg_catalog.set_config('search_path', 'public', false)")
            rows = [connection.execute(_NAMED_OID, (text,)).fetchone() for text in order.tables]
            _demand_free(connection, [int(str(row[0])) for row in rows if row and row[0] is not None], order.tables)


def fates_of(live: Connection, order: BridgeOrder, chosen: Sequence[Chosen]) -> None:
    """What becomes of each, by what is there. UserFault where that may not be put aside."""
    for one in chosen:
        one.fate = _fate(live, order, one)
    demand_swappable(live, [one.full_name for one in chosen if one.fate is Fate.SWAP])


def demand_swappable(live: Connection, names: Sequence[str]) -> None:
    """UserFault(TableInUse) where something else would go on using one of these live tables."""
    rows = [live.execute(_RELATION, parts_of(name)).fetchone() for name in names]
    _demand_free(live, [int(str(row[0])) for row in rows if row is not None], names)


def lock_tables(live: Connection, names: Sequence[str]) -> None:
    """Hold those of them that are there."""
    there = [parts_of(name) for name in names if live.execute(_RELATION, parts_of(name)).fetchone() is not None]
    if there:
        tables = sql.SQL(", ").join(sql.Identifier(*parts) for parts in there)
        live.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))


def _fate(live: Connection, order: BridgeOrder, one: Chosen) -> Fate:
    row = live.execute(_RELATION, (one.schema, one.name)).fetchone()
    if row is None:
        return Fate.BACK
    if not order.replace:
        return Fate.BESIDE
    kind, owned = str(row[1]), bool(row[2])
    if kind not in ("r", "p"):
        message = f"{one.full_name} is no table at the target, so it is not put aside; rename it, or restore elsewhere"
        raise UserFault(Reason.TARGET_NOT_EMPTY, message)
    if not owned and not _superuser(live):
        message = f"{one.full_name} belongs to somebody else, so it cannot be put aside; log in as its owner"
        raise UserFault(Reason.PERMISSION_DENIED, message)
    return Fate.SWAP


def _demand_free(live: Connection, tables: Sequence[int], names: Sequence[str]) -> None:
    """UserFault(TableInUse) with the names of all that would go on using the tables that are put aside together."""
    oids = [int(str(row[0])) for oid in tables for row in live.execute(_MOVED, {"oid": oid}).fetchall()]
    found = [str(row[0]) for row in live.execute(_DEPENDENTS, {"oids": oids}).fetchall()] if oids else []
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        message = (
            f"{', '.join(names)} cannot be put aside: {'; '.join(found[:_NAMED])}{more} would go on using it; "
            "choose these tables too, drop what depends and make it anew afterwards, or leave overwrite out to have "
            "the restored table put beside it"
        )
        raise UserFault(Reason.TABLE_IN_USE, message)


def swap(connection: Connection, order: BridgeOrder, name: str, originals: Mapping[str, str], *, aside: bool) -> None:
    """One table and its partitions: the live one out, the restored one in. `originals`: schemas by staging schema."""
    schema, table = parts_of(name)
    if aside:
        row = connection.execute(_RELATION, (schema, table)).fetchone()
        if row is not None:
            for part, at, one in connection.execute(_MOVED, {"oid": int(str(row[0]))}).fetchall():
                target = before_name(str(at), order.uid)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(target)))
                _set_schema(connection, part, sql.Identifier(str(at), str(one)), target)
    staged = staged_name(schema, order.uid)
    row = connection.execute(_RELATION, (staged, table)).fetchone()
    if row is None:
        message = f"{quote(staged)}.{quote(table)} is gone, which was to become {name}"
        raise UserFault(Reason.SCHEMA_CHANGED, message)
    for part, at, one in connection.execute(_MOVED, {"oid": int(str(row[0]))}).fetchall():
        if str(at) in originals:
            _set_schema(connection, part, sql.Identifier(str(at), str(one)), originals[str(at)])


def _set_schema(connection: Connection, oid: object, table: sql.Identifier, to: str) -> None:
    """Indexes, constraints and owned sequences go with a table; its extended statistics do not."""
    for space, name in connection.execute(STATISTICS, (oid,)).fetchall():
        alter = sql.SQL("ALTER STATISTICS {} SET SCHEMA {}")
        connection.execute(alter.format(sql.Identifier(str(space), str(name)), sql.Identifier(to)))
    connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table, sql.Identifier(to)))


def parts_of(name: str) -> tuple[str, str]:
    """Schema and table of a quoted full name."""
    parts, rest = [], name
    while rest:
        if rest.startswith('"'):
            end = 1
            while rest[end] != '"' or rest[end : end + 2] == '""':
                end += 2 if rest[end : end + 2] == '""' else 1
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :].removeprefix(".")
        else:
            name, _, rest = rest.partition(".")
            parts.append(name)
    return parts[0], parts[1]


def _superuser(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER"
    ).fetchone()
    return bool(row and row[0])
