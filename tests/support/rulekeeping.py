"""Lifecycle rules on real servers of any engine: orders, an agent that carries them out, a reader of its archives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import zstandard

from databosun.api.backuptasks import ValidateTask
from databosun.api.lifecycle import ActionType, LifecycleMode, LifecycleOrder, LimitsOrder, RuleOrder
from databosun.api.lifecycleresult import LifecycleResult, RuleOutcome
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.storage.port import ObjectStore
from databosun.storage.volume import VolumeStore
from support.agekeys import AgeKey
from support.agentrun import NAMESPACE, UID, Ran, Workplace
from support.pgserver import PASSWORD

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 86400
ROLE = "keeper"
DATABASE = "shop"
HASH_KEY = "a key to hash with, of some length"


class RuledServer(Protocol):
    """A server of any engine."""

    @property
    def port(self) -> int:
        """On loopback."""
        ...


AnyServer = TypeVar("AnyServer", bound=RuledServer)


def rule(name: str = "old-orders", **more: Any) -> RuleOrder:
    """Closed orders older than 90 days."""
    limits = LimitsOrder(**{"max_rows_per_run": 10_000_000, "max_percent": 100, **more.pop("limits", {})})
    values: dict[str, Any] = {
        "name": name,
        "table": "orders",
        "action": ActionType.DELETE,
        "column": "created_at",
        "older_than_seconds": 90 * DAY,
        "where": "status = 'closed'",
        "limits": limits,
    }
    return RuleOrder(**{**values, **more})


@dataclass
class Keeper(Generic[AnyServer]):
    """A pod beside one server, and the runs in it."""

    server: AnyServer
    place: Workplace
    age: AgeKey | None = None
    runs: int = 0
    store: ObjectStore | None = field(default=None)
    hosts: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    engine: ClassVar[EngineName]
    instant: ClassVar[str]
    """The type of a column for one."""
    within: ClassVar[str]
    """The schema of the orders."""

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
            engine=self.engine,
            hosts=self.hosts,
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
        raise NotImplementedError

    def at(self, instant: str) -> str:
        """An instant in UTC, as SQL."""
        raise NotImplementedError

    def numbers(self, last: int) -> str:
        """A table with the numbers from 1 on, in its column `seq`."""
        raise NotImplementedError

    def cut(self) -> None:
        """End the agent's sessions at the server."""
        raise NotImplementedError

    def writing(self) -> AbstractContextManager[Callable[[int, int], bool]]:
        """A session of an application that sets the customer of an order, and says whether the order was there."""
        raise NotImplementedError

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
