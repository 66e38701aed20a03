"""Counts and fingerprints of tables: one sum of row hashes each, independent of order, computed by the server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.connect import SESSION, Connection
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason

# Types whose hash depends on the value alone. Enums, reg* and composites hash object ids, which a restore changes, and
# json, xml and geometry have no hash: such tables are hashed by their text form.
_HASHED_BY_VALUE = (
    "bool",
    "bytea",
    "char",
    "name",
    "int8",
    "int2",
    "int4",
    "text",
    "float4",
    "float8",
    "bpchar",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "timetz",
    "numeric",
    "uuid",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "jsonb",
)

# What pg_dump dumps rows of: ordinary tables that no extension owns; on a standby unlogged ones cannot be read.
_TABLES = """
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_table_size(c.oid) AS bytes,
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute AS a
           LEFT JOIN pg_catalog.pg_type AS e ON e.typarray = a.atttypid
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND NOT coalesce(e.oid, a.atttypid) = ANY (
                 SELECT t.oid FROM pg_catalog.pg_type AS t
                 WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
                   AND t.typname = ANY (%(types)s::name[]))) AS by_value
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

_LARGE_OBJECTS = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata"


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows a logical backup holds. `bytes`: heap and TOAST on disk."""

    schema: str
    name: str
    bytes: int
    by_value: bool

    @property
    def full_name(self) -> str:
        """Quoted where needed, as SQL reads it."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def quote(name: str) -> str:
    """An identifier as PostgreSQL's quote_ident shows it, keywords aside."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def list_tables(connection: Connection) -> tuple[Table, ...]:
    """The tables of this database."""
    with guarded("listing tables"), connection.cursor(row_factory=class_row(Table)) as cursor:
        return tuple(cursor.execute(_TABLES, {"types": list(_HASHED_BY_VALUE)}).fetchall())


def fingerprint_query(table: Table) -> sql.Composed:
    """One row: count, and algorithm with sum. `v`: row hash by value; `t`: hash of the row's text form."""
    row = sql.Identifier("databosun_row")
    if table.by_value:
        tag, hashed = "v", sql.SQL("pg_catalog.hash_record_extended({}, 0)").format(row)
    else:
        tag, hashed = "t", sql.SQL("pg_catalog.hashtextextended({}::text, 0)").format(row)
    return sql.SQL(
        "SELECT count(*), {tag} || ':' || coalesce(sum({hashed}::numeric), 0)::text FROM ONLY {table} AS {row}"
    ).format(tag=sql.Literal(tag), hashed=hashed, table=sql.Identifier(table.schema, table.name), row=row)


def count_objects(connection: Connection, tables: Iterable[Table], prefix: str) -> tuple[ObjectCount, ...]:
    """Count and hash each table in the connection's snapshot, and count large objects; `<prefix>.<schema>.<table>`."""
    found = []
    for table in tables:
        with guarded(f"counting {table.full_name}"):
            row = connection.execute(fingerprint_query(table)).fetchone()
        if row is None:
            raise WorldFault(Reason.DATABASE_ERROR, f"counting {table.full_name} gave no row")
        found.append(ObjectCount(name=f"{prefix}.{table.full_name}", rows=int(str(row[0])), fingerprint=str(row[1])))
    with guarded("counting large objects"):
        row = connection.execute(_LARGE_OBJECTS).fetchone()
    if row and row[0]:
        found.append(ObjectCount(name=f"{prefix} (large objects)", rows=int(str(row[0]))))
    return tuple(found)


def verify_script(tables: Sequence[Table]) -> str:
    """A psql script that prints what `expected_lines` holds, from a restored copy."""
    lines = [f"SET {name} = {sql.Literal(value).as_string()};" for name, value in SESSION.items()]
    for table in tables:
        name = sql.Literal(table.full_name)
        lines.append(
            sql.SQL("SELECT {}, counted.* FROM ({}) AS counted;").format(name, fingerprint_query(table)).as_string()
        )
    return "\n".join(lines) + "\n"


def expected_lines(tables: Sequence[Table], objects: Sequence[ObjectCount]) -> str:
    """Table, rows, fingerprint, tab-separated, in the order of `verify_script`."""
    pairs = zip(tables, objects, strict=False)
    return "".join(f"{table.full_name}\t{found.rows}\t{found.fingerprint}\n" for table, found in pairs)


# Definitions only, in a fixed order and with full names; no ids, no statistics, nothing that a restore changes.
_DEFINITIONS = (
    """SELECT 'column', n.nspname || '.' || c.relname,
              a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
              || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
              || coalesce(' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
       FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""",
    """SELECT 'constraint', n.nspname || '.' || k.conname, pg_catalog.pg_get_constraintdef(k.oid)
       FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
       WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""",
    """SELECT 'index', i.schemaname || '.' || i.indexname, i.indexdef FROM pg_catalog.pg_indexes i
       WHERE i.schemaname <> 'information_schema' AND i.schemaname !~ '^pg_'""",
    """SELECT 'view', v.schemaname || '.' || v.viewname, v.definition FROM pg_catalog.pg_views v
       WHERE v.schemaname <> 'information_schema' AND v.schemaname !~ '^pg_'""",
    """SELECT 'trigger', n.nspname || '.' || c.relname, pg_catalog.pg_get_triggerdef(t.oid)
       FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal""",
    """SELECT 'function',
              n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
              p.prosrc
       FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""",
)


def schema_hash(connection: Connection) -> str:
    """SHA-256 over the definitions of tables, constraints, indexes, views, triggers and functions of this database."""
    union = " UNION ALL ".join(_DEFINITIONS)
    ordered = 'ORDER BY kind, name COLLATE "C", definition COLLATE "C"'
    query = f"SELECT * FROM ({union}) AS s(kind, name, definition) {ordered}"  # noqa: S608 - constants of this module
    digest = hashlib.sha256()
    with guarded("reading the schema"), connection.cursor() as cursor:
        cursor.execute(query.encode())
        for row in cursor:
            digest.update("\x1f".join(str(part) for part in row).encode() + b"\x1e")
    return digest.hexdigest()
