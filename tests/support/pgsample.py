"""A small database with a bit of everything that backups get wrong, and a way to compare two of them."""

from __future__ import annotations

from typing import Any

import psycopg

from support.pgserver import PASSWORD, Server, hand_over

BACKUP_ROLE = "backup"
ODD_DATABASE = 'Od\'d "one" = x'

ROLES = f"""
CREATE ROLE app LOGIN PASSWORD 'app secret';
CREATE ROLE "{BACKUP_ROLE}" LOGIN REPLICATION PASSWORD '{PASSWORD.replace("'", "''")}';
GRANT pg_read_all_data, pg_read_all_settings TO "{BACKUP_ROLE}";
ALTER ROLE "{BACKUP_ROLE}" SET lo_compat_privileges = on;
CREATE ROLE "limited" LOGIN PASSWORD '{PASSWORD.replace("'", "''")}';
"""

# Incompressible, and more than sockets and buffers between server and sink can hold.
NOISE = """
CREATE TABLE noise AS SELECT i, (
    SELECT string_agg(sha512((i * 1000 + k)::text::bytea), ''::bytea) FROM generate_series(1, 100) AS k) AS v
FROM generate_series(1, {rows}) AS i
"""

SHOP = """
CREATE SCHEMA "Odd schema";
CREATE TYPE mood AS ENUM ('bad', 'good');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, born date, tags text[], balance numeric(12, 2));
INSERT INTO customers SELECT i, 'name ' || i, date '1970-01-01' + i, ARRAY['a', i::text], i / 7.0
  FROM generate_series(1, 2000) AS i;
CREATE TABLE "Odd schema"."Od'd ""table" (
  id int, "databosun_row" int, mood mood, doc json, place point, moods mood[], pos positive);
INSERT INTO "Odd schema"."Od'd ""table"
  SELECT i, i, (ARRAY['bad', 'good']::mood[])[1 + i % 2], json_build_object('i', i),
  point(i, i), ARRAY['good'::mood], i FROM generate_series(1, 300) AS i;
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, body bytea)
  PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO events (at, body)
  SELECT timestamptz '2026-01-01 00:00Z' + i * interval '1 hour', decode(md5(i::text), 'hex')
  FROM generate_series(1, 1000) AS i;
CREATE UNLOGGED TABLE session (id int);
INSERT INTO session SELECT generate_series(1, 10);
CREATE TABLE nothing ();
CREATE TABLE empty (id int);
CREATE VIEW rich AS SELECT id FROM customers WHERE balance > 100;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE INDEX customers_name ON customers (name);
SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')), lo_from_bytea(0, 'second');
GRANT SELECT ON customers TO app;
"""

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence = 'p'
ORDER BY 1
"""


def fill(server: Server) -> None:
    """Roles and two databases."""
    server.sql(ROLES)
    server.sql("CREATE DATABASE shop")
    server.sql('CREATE DATABASE "Od\'d ""one"" = x"')
    server.sql(SHOP, "shop")
    server.sql("CREATE TABLE t (v text); INSERT INTO t VALUES ('x')", ODD_DATABASE)


def add_tablespace(server: Server, name: str = "fast") -> None:
    """A tablespace with a table in it."""
    place = server.folder / f"space.{name}"
    place.mkdir()
    hand_over(place)
    server.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    server.sql(
        f"CREATE TABLE on_{name} TABLESPACE {name} AS SELECT i, md5(i::text) AS v FROM generate_series(1, 3000) AS i",
        "shop",
    )


def content(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Rows and a digest of each logged table, by the plainest means: independent of the engine's own fingerprints."""
    found = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        digest = "md5(coalesce(string_agg(r::text, '|' ORDER BY r::text COLLATE \"C\"), ''))"
        query = f"SELECT count(*), {digest} FROM ONLY {table} AS r"
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        found[str(table)] = (int(row[0]), str(row[1]))
    row = connection.execute(
        "SELECT count(*), coalesce(md5(string_agg(md5(lo_get(oid)), '' ORDER BY oid)), '') FROM pg_largeobject_metadata"
    ).fetchone()
    assert row is not None
    found["large objects"] = (int(row[0]), str(row[1]))
    return found


def contents(server: Server) -> dict[str, dict[str, tuple[int, str]]]:
    """`content` of both databases."""
    found = {}
    for dbname in ("shop", ODD_DATABASE):
        with server.connect(dbname) as connection:
            found[dbname] = content(connection)
    return found
