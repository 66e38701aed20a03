"""Lifecycle rules on a real PostgreSQL server: orders, an agent that carries them out, a reader of its archives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.lifecycle import Batch
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support import rulekeeping
from support.agekeys import AgeKey
from support.agentrun import Workplace
from support.pgserver import PASSWORD, Server
from support.rulekeeping import DATABASE, DAY, HASH_KEY, NOW, ROLE, Archive, result_of, rule

__all__ = ["DATABASE", "DAY", "HASH_KEY", "NOW", "Archive", "Keeper", "result_of", "rule"]

ORDERS = """
CREATE TABLE orders (
    id bigint PRIMARY KEY, created_at timestamptz, status text NOT NULL, customer int, amount numeric, weight float8,
    blob bytea, doc json, closed boolean GENERATED ALWAYS AS (status = 'closed') STORED);
INSERT INTO orders SELECT i, timestamptz '2026-03-01 12:00Z' - (i % 200) * interval '1 day' - interval '1 hour',
    CASE WHEN i % 3 = 0 THEN 'open' ELSE 'closed' END, i % 50, i / 7.0,
    CASE WHEN i % 11 = 0 THEN 'NaN' ELSE i / 3.0 END, decode(md5(i::text), 'hex'),
    ('{"a": ' || i || E',\\n\\t"b": "x\\\\ny"}')::json
FROM generate_series(1, {rows}) AS i;
"""


PARTED_EVENTS = (
    "CREATE TABLE events (id bigint, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2026-01-01');"
    "CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);"
    "INSERT INTO events SELECT i, timestamptz '2025-01-01' + i * interval '1 hour' FROM generate_series(1, 100) AS i"
)


def prepare(server: Server, rows: int) -> None:
    """A database with a table of orders, and a login that may do what the documentation says, and no more."""
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    server.sql(f"CREATE DATABASE {DATABASE}")
    if not server.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'"):
        server.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
        server.sql(f"GRANT pg_monitor TO {ROLE}")
    server.sql(
        ORDERS.replace("{rows}", str(rows))
        + f"ALTER DEFAULT PRIVILEGES GRANT SELECT, UPDATE, DELETE ON TABLES TO {ROLE};"
        f"GRANT SELECT, UPDATE, DELETE ON orders TO {ROLE}",
        DATABASE,
    )


class Keeper(rulekeeping.Keeper[Server]):
    """Of PostgreSQL."""

    engine = EngineName.POSTGRESQL
    instant = "timestamptz"
    within = "public"

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """As the owner of the table."""
        return self.server.sql(statement, DATABASE)

    def at(self, instant: str) -> str:
        """An instant in UTC, as SQL."""
        return f"timestamptz '{instant}Z'"

    def cut(self) -> None:
        """End the agent's sessions at the server."""
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    @contextmanager
    def writing(self) -> Iterator[Callable[[int, int], bool]]:
        """A session of an application that sets the customer of an order, and says whether the order was there."""
        change = "UPDATE orders SET customer = %s WHERE id = %s"
        with self.server.connect(DATABASE) as connection:
            yield lambda order, customer: bool(connection.execute(change, (customer, order)).rowcount)

    def numbers(self, last: int) -> str:
        """A table with the numbers from 1 on, in its column `seq`."""
        return f"generate_series(1, {last}) AS numbers (seq)"


def load_back(server: Server, archive: Archive, table: str) -> None:
    """COPY the archived text into a table of the same shape, as a person would."""
    for _, text in archive.parts("copy"):
        argv = [
            str(server.bin / "psql"),
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            DATABASE,
            "-c",
            f"COPY {table} FROM STDIN",
        ]
        env = {"PGHOST": str(server.folder), "PGPORT": str(server.port), "PGUSER": "postgres"}
        subprocess.run(argv, input=text, check=True, capture_output=True, env=env)


def make_keeper(server: Server, folder: Path, age: AgeKey | None = None) -> Keeper:
    """A pod in a folder, with a volume for storage."""
    return Keeper(server, Workplace(folder), age)


def after_steps(monkeypatch: pytest.MonkeyPatch, method: str, do: Callable[[int], Any]) -> None:
    """Do something after each committed step."""
    original, count = getattr(PostgreSQLRows, method), [0]

    def stepped(self: PostgreSQLRows, *arguments: Any) -> Batch:
        batch: Batch = original(self, *arguments)
        count[0] += 1
        do(count[0])
        return batch

    monkeypatch.setattr(PostgreSQLRows, method, stepped)
