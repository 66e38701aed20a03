"""Lifecycle rules on the stand-in of mongod, and on one that can do besides what FerretDB lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import bson
import pymongo
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from databosun.api.lifecycle import RuleOrder
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.lifecycle import Batch
from databosun.engines.mongodb.lifecycle.rows import MongoRows
from support import rulekeeping
from support.mongopeer import Document, MongoPeer, Refused
from support.mongoserver import MongoServer
from support.pgserver import PASSWORD
from support.rulekeeping import DATABASE, NOW, ROLE

ROWS = 200
CLOSED = '{"status": "closed"}'
SMALL = {"rows": 10, "target_milliseconds": 10, "pause_milliseconds": 0}
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_OWN = frozenset({"hello", "ismaster", "ping", "endsessions"})
_OF_INDEXES = frozenset({"createIndexes", "collMod", "listIndexes", "dropIndexes"})
# What drivers add to a command.
_DRIVERS = frozenset({"$db", "lsid", "$readPreference", "$clusterTime", "txnNumber"})


def rule(name: str = "old-orders", **more: Any) -> RuleOrder:
    """Closed orders older than 90 days."""
    return rulekeeping.rule(name, **{"where": CLOSED, **more})


def order(number: int) -> dict[str, Any]:
    """One of ROWS."""
    return {
        "_id": number,
        "created_at": NOW - timedelta(days=number % 200, hours=1),
        "status": "open" if number % 3 == 0 else "closed",
        "customer": number % 50,
        "address": {"zip": f"{10000 + number}", "lines": [number, f"flat {number}"]},
    }


class Listening(Protocol):
    """A server of the tests."""

    port: int


class MongoKeeper(rulekeeping.Keeper[Listening]):
    """Of MongoDB."""

    engine = EngineName.MONGODB
    within = DATABASE
    instant = "date"
    behind: MongoServer
    """That holds the data, whatever stands before it."""

    @property
    def orders(self) -> pymongo.collection.Collection[dict[str, Any]]:
        """As the application has them."""
        return self.behind.client[DATABASE].orders

    def ids(self) -> set[Any]:
        """The documents that are there."""
        return {one["_id"] for one in self.orders.find({}, {"_id": 1})}

    def archived(self) -> dict[Any, dict[str, Any]]:
        """By `_id`, of the last run; of one that comes twice, the later."""
        found = (one for _, text in self.archive().parts("bson") for one in bson.decode_all(text))
        return {one["_id"]: one for one in found}

    def refused(self, asked: RuleOrder, **more: Any) -> tuple[str, str]:
        """Reason and message of a rule that touches nothing."""
        before = list(self.orders.find())
        done = self.carry_out(asked, **more)[asked.name]
        assert done.state == "Refused", done
        assert list(self.orders.find()) == before
        assert done.failure is not None
        return done.failure.reason, done.failure.message


def prepare(server: MongoServer) -> None:
    """A database with a collection of orders."""
    server.client.drop_database(DATABASE)
    server.client[DATABASE].orders.insert_many(order(number) for number in range(1, ROWS + 1))


def add_keeper(server: MongoServer) -> None:
    """A login."""
    server.client.admin.command("createUser", ROLE, pwd=PASSWORD, roles=[])


class FullPeer(MongoPeer):
    """FerretDB with what it lacks, as mongod's manual has it: whole documents compared in `$expr`, and indexes that
    delete by age (`aging`), which are kept and delete nothing. Nobody has to log in. `before`: called with each command
    that writes, before it is carried out."""

    def __init__(self, behind: MongoServer) -> None:
        super().__init__()
        self.behind = behind
        self.before: Callable[[Document], None] = lambda _: None
        self.aging: list[Document] = []

    def answer(self, command: Document) -> Document:
        """Its own, or FerretDB's."""
        name = next(iter(command))
        if name in self.on or name in self.refused or name.lower() in _OWN or hasattr(self, f"_{name.lower()}_here"):
            return super().answer(command)
        self.calls.append(command)
        if name in ("delete", "update"):
            self.before(command)
        try:
            if name == "find":
                return self._found(command)
            if name in _OF_INDEXES and (said := self._of_age(name, command)):
                return said
            if name == "delete":
                command = {**command, "deletes": [one for one in command["deletes"] if self._is_still(command, one)]}
                for statement in command["deletes"]:
                    statement["q"]["$and"] = [one for one in statement["q"].get("$and", []) if "$expr" not in one]
                if not command["deletes"]:
                    return {"ok": 1.0, "n": 0}
            return self._forward(command)
        except OperationFailure as error:
            return {"ok": 0.0, "code": error.code, "errmsg": str(error), "codeName": "Refused"}

    def _forward(self, command: Document) -> Document:
        plain = {name: value for name, value in command.items() if name not in _DRIVERS}
        return dict(self.behind.client[command["$db"]].command(plain, codec_options=_RAW))

    def _of_age(self, name: str, command: Document) -> Document | None:
        if name == "listIndexes":
            said = self._forward(command)
            cursor = {**said["cursor"], "firstBatch": [*said["cursor"]["firstBatch"], *self.aging]}
            return {"ok": 1.0, "cursor": cursor}
        if name == "dropIndexes":
            self.aging = [one for one in self.aging if one["name"] != command["index"]]
        elif name == "createIndexes":
            self.aging += [{"v": 2, **one} for one in command["indexes"]]
        else:
            asked = command["index"]
            changed = next(one for one in self.aging if one["name"] == asked["name"])
            changed["expireAfterSeconds"] = asked["expireAfterSeconds"]
        return {"ok": 1.0}

    def _found(self, command: Document) -> Document:
        documents = self.behind.client[command["$db"]].get_collection(command["find"], codec_options=_RAW)
        asked = {name: value for name, value in (command.get("filter") or {}).items() if name != "$expr"}
        found = documents.find(asked, command.get("projection"))
        for name, direction in (command.get("sort") or {}).items():
            found = found.sort(name, direction)
        listed = list(found.skip(command.get("skip", 0)).limit(command.get("limit", 0)))
        space = f"{command['$db']}.{command['find']}"
        return {"ok": 1.0, "cursor": {"id": bson.Int64(0), "ns": space, "firstBatch": listed}}

    def _is_still(self, command: Document, statement: Document) -> bool:
        guards = [one["$expr"]["$and"] for one in statement["q"].get("$and", []) if "$expr" in one]
        if not guards:
            return True
        documents: Any = self.behind.client[command["$db"]].get_collection(command["delete"], codec_options=_RAW)
        there: RawBSONDocument | None = documents.find_one({"_id": statement["q"]["_id"]})
        ((whole, size),) = guards
        if whole["$eq"][0] != "$$ROOT" or size["$eq"][0] != {"$bsonSize": "$$ROOT"}:
            raise Refused(2, "it is asked otherwise")
        if there is None:
            return False
        same = bson.decode(there.raw) == whole["$eq"][1]["$literal"]  # by values, as the server does it
        return bool(same and len(there.raw) == size["$eq"][1])


def after_steps(monkeypatch: pytest.MonkeyPatch, method: str, do: Callable[[int], Any]) -> None:
    """Do something after each step."""
    original, count = getattr(MongoRows, method), [0]

    def stepped(self: MongoRows, *arguments: Any) -> Batch:
        batch: Batch = original(self, *arguments)
        count[0] += 1
        do(count[0])
        return batch

    monkeypatch.setattr(MongoRows, method, stepped)


@contextmanager
def peer_before(server: MongoServer) -> Iterator[FullPeer]:
    """Closed in the end."""
    peer = FullPeer(server)
    try:
        yield peer
    finally:
        peer.close()
