"""A small set of databases with a bit of everything that dumps get wrong, and a way to compare two of them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import bson
from bson import Binary, Int64, ObjectId, Regex
from bson.timestamp import Timestamp

from support.mongoserver import Client, MongoServer

ODD_DATABASE = "od-d"
ODD_NAME = "a b/ü%x-y~+"
ORDERS = 3000
_LEFT = frozenset({"local", "config"})


def fill(server: MongoServer) -> None:
    """Two databases, indexes, a capped collection, every type that the server knows, names that no file can have."""
    shop = server.client.shop
    shop.orders.insert_many(
        {"_id": n, "customer": n % 200, "total": n / 7, "note": f"note ä {n}", "tags": ["a", "b", {"c": n}]}
        for n in range(ORDERS)
    )
    shop.orders.create_index([("customer", 1), ("total", -1)], name="by customer")
    shop.customers.insert_many({"name": f"name {n}", "email": f"{n}@example.org"} for n in range(200))
    shop.customers.create_index("email", unique=True)
    shop.create_collection("events", capped=True, size=1 << 20, max=50)
    shop.events.insert_many({"n": n} for n in range(20))
    shop.create_collection("nothing")
    shop.odd.insert_many([
        {"_id": ObjectId("0123456789abcdef01234567"), "long": Int64(3), "int": 3, "double": 3.0, "huge": 1e300},
        {"_id": "text", "empty": "", "none": None, "yes": True, "bin": b"\x00\xff", "kind": Binary(b"x", 5)},
        {"_id": Int64(7), "at": datetime(2026, 1, 1, 0, 0, 0, 123000, UTC), "re": Regex("^a.*$", "i"),
         "ts": Timestamp(5, 6), "deep": {"a": {"b": [1, {}, {"c": []}]}}, "": "no name"},
        {"_id": {"compound": 1, "key": "x"}, "v": 1},
        {"_id": "large", "text": "x" * 300_000},
    ])  # fmt: skip
    server.client[ODD_DATABASE][ODD_NAME].insert_many({"_id": n} for n in range(5))
    server.noop()


def content(client: Client) -> dict[str, Any]:
    """Documents of each collection and its indexes, by the plainest means: independent of the engine's fingerprints."""
    found: dict[str, Any] = {}
    for database in sorted(set(client.list_database_names()) - _LEFT):
        for name in sorted(client[database].list_collection_names()):
            documents = sorted(bytes(bson.encode(one)) for one in client[database][name].find())
            digest = hashlib.sha256(b"".join(documents)).hexdigest()
            indexes = sorted(repr(sorted(one.items())) for one in client[database][name].list_indexes())
            found[f"{database}.{name}"] = (len(documents), digest, indexes)
    return found
