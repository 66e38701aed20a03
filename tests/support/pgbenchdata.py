"""A data set for benchmarks: pgbench's tables, easy to compress, and a table of documents that are less so."""

from __future__ import annotations

from support.pgserver import PASSWORD, Server

BYTES_A_SCALE = 15_000_000
_DOCUMENTS = """
CREATE TABLE documents AS
SELECT i AS id, md5(i::text) AS key, now() - i * interval '1 second' AS at, jsonb_build_object(
  'id', i, 'name', 'customer ' || i, 'token', md5((i * 7)::text), 'tags', jsonb_build_array('a', 'b')) AS body
FROM generate_series(1, {rows}) AS i
"""


def fill_for_bench(server: Server, scale: int, *, documents: int = 15_000) -> None:
    """`pgbench -i -s SCALE` (about 15 MB a unit), and so many documents (about 300 bytes each) for each unit."""
    server.sql(f"CREATE ROLE backup LOGIN REPLICATION PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
    server.sql("GRANT pg_read_all_data, pg_read_all_settings TO backup")
    server.sql("CREATE DATABASE bench")
    server.run("pgbench", "--initialize", f"--scale={scale}", "--quiet", "bench", timeout=3600)
    server.sql(_DOCUMENTS.format(rows=documents * scale), "bench")
    server.sql("CHECKPOINT")


def change_pages(server: Server, percent: float) -> int:
    """Update a contiguous range of rows, so many percent of the largest table's pages; returns their number."""
    rows = int(server.sql("SELECT count(*) FROM pgbench_accounts", "bench")[0][0] * percent / 100)
    server.sql(f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= {rows}", "bench")
    server.sql("CHECKPOINT")
    return rows
