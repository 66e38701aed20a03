"""Lifecycle rules on a real PostgreSQL server: orders, an agent that carries them out, a reader of its archives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from databosun.api.backuptasks import ValidateTask
from databosun.api.lifecycle import ActionType, LifecycleMode, LifecycleOrder, LimitsOrder, RuleOrder
from databosun.api.lifecycleresult import LifecycleResult, RuleOutcome
from databosun.api.request import DatabaseTarget, LifecycleTask
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.lifecycle import Batch
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from databosun.storage.port import ObjectStore
from databosun.storage.volume import VolumeStore
from support.agekeys import AgeKey
from support.agentrun import NAMESPACE, UID, Ran, Workplace
from support.pgserver import PASSWORD, Server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 86400
ROLE = "keeper"
DATABASE = "shop"
HASH_KEY = "a key to hash with, of some length"

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


def rule(name: str = "old-orders", **more: Any) -> RuleOrder:
    """Closed orders older than 90 days."""
    limits = LimitsOrder(**{"max_rows_per_run": 10_000_000, "max_percent": 100, **more.pop("limits", {})})
    values: dict[str, Any] = {
        "name": name,
        "table": "public.orders",
        "action": ActionType.DELETE,
        "column": "created_at",
        "older_than_seconds": 90 * DAY,
        "where": "status = 'closed'",
        "limits": limits,
    }
    return RuleOrder(**{**values, **more})


@dataclass
class Keeper:
    """A pod beside one server, and the runs in it."""

    server: Server
    place: Workplace
    age: AgeKey | None = None
    runs: int = 0
    store: ObjectStore | None = field(default=None)

    def __post_init__(self) -> None:
        self.place.secrets["database"] = {"username": ROLE, "password": PASSWORD}
        self.place.secrets["hash"] = {"key": HASH_KEY}
        if self.age is not None:
            self.place.storage["age_recipients"] = [self.age.recipient]
        claimed = self.place.run(ValidateTask())
        assert claimed.code == 0, claimed.output

    @property
    def database(self) -> DatabaseTarget:
        """How the agent reaches it."""
        return DatabaseTarget(
            namespace=NAMESPACE,
            name="orders",
            uid=UID,
            engine=EngineName.POSTGRESQL,
            hosts=["127.0.0.1"],
            port=self.server.port,
            database=DATABASE,
            tls=TLSMode.DISABLE,
        )

    def task(self, *rules: RuleOrder, mode: LifecycleMode = LifecycleMode.DRY_RUN, **more: Any) -> LifecycleTask:
        """An order of these rules."""
        holds = more.pop("holds", [])
        order = LifecycleOrder(database_uid=UID, storage="prod", rules=list(rules), holds=holds)
        values: dict[str, Any] = {
            "id": f"orders-{self.runs}",
            "policy": "keep",
            "mode": mode,
            "at": NOW,
            "order": order,
        }
        return LifecycleTask(**{**values, **more})

    def look(self, *rules: RuleOrder, **more: Any) -> LifecycleResult:
        """A dry run."""
        self.runs += 1
        return result_of(self.place.run(self.task(*rules, **more), database=self.database))

    def enforce(self, *rules: RuleOrder, approved: str | None = None, attempt: int = 1, **more: Any) -> Ran:
        """A dry run, its approval, and the run."""
        hash_of = approved or self.look(*rules, holds=more.get("holds", [])).plan_hash
        if attempt == 1:
            self.runs += 1
        task = self.task(*rules, mode=LifecycleMode.ENFORCE, approved=hash_of, **more)
        return self.place.run(task, database=self.database, attempt=attempt)

    def carry_out(self, *rules: RuleOrder, **more: Any) -> dict[str, RuleOutcome]:
        """The outcomes of an enforced run, whatever came of it."""
        return {one.name: one for one in result_of(self.enforce(*rules, **more)).outcomes}

    def archive(self) -> Archive:
        """What lies in the store of the last run."""
        store = self.store or VolumeStore(self.place.paths.volume)
        prefix = f"{'prod/' if self.place.s3 else ''}{NAMESPACE}/orders/lifecycle/orders-{self.runs}"
        return Archive(store, prefix, self.age)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """As the owner of the table."""
        return self.server.sql(statement, DATABASE)

    def ids(self) -> set[int]:
        """The rows that are there."""
        return {int(row[0]) for row in self.sql("SELECT id FROM orders")}


def result_of(ran: Ran) -> LifecycleResult:
    """The part of the result that is a lifecycle's."""
    assert ran.result.lifecycle is not None, ran.output[-4000:]
    return ran.result.lifecycle


@dataclass
class Archive:
    """Reads an archive as the documentation says a person does."""

    store: ObjectStore
    root: str
    age: AgeKey | None

    def links(self) -> list[dict[str, Any]]:
        """The audit, in order; its chain is whole."""
        keys = sorted(one.key for one in self.store.list(f"{self.root}/audit") if one.key.endswith(".json"))
        return [json.loads(self.store.get(key, limit=1 << 26)) for key in keys]

    def read(self, artefact: dict[str, Any]) -> bytes:
        """The plaintext of one artefact."""
        data = b"".join(bytes(piece) for key in artefact["objects"] for piece in self.store.stream(key))
        if artefact["recipients"]:
            assert self.age is not None
            data = self.age.decrypt(data)
        return self.unpack(data)

    @staticmethod
    def unpack(data: bytes) -> bytes:
        """Of zstd."""
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)

    def parts(self, form: str = "jsonl") -> Iterator[tuple[int, bytes]]:
        """Number of the link and text of every part that a link vouches for."""
        for link in self.links():
            for artefact in link.get("artefacts", []) if link.get("event") == "Archived" else []:
                if f".{form}.zst" in artefact["name"]:
                    yield link["number"], self.read(artefact)

    def rows(self) -> dict[int, dict[str, Any]]:
        """Rows by id, without those that stayed in the table; of a key that comes twice, the later."""
        kept: dict[int, set[int]] = {}
        for link in self.links():
            for artefact in link.get("kept", []):
                kept[link["of"]] = {int(json.loads(line)[0]) for line in self.read(artefact).splitlines()}
        found: dict[int, dict[str, Any]] = {}
        for number, text in self.parts():
            for line in text.splitlines():
                row = json.loads(line)
                if row["id"] not in kept.get(number, set()):
                    found[row["id"]] = row
        return found


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


def cutoff(days: int = 90) -> datetime:
    """Rows before this are older."""
    return NOW - timedelta(days=days)


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
