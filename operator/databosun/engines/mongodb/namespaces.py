"""What of a server is dumped, and under which names, as mongodump does it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote_plus

from bson import json_util
from bson.binary import Binary
from bson.json_util import CANONICAL_JSON_OPTIONS

FOLDER = "dump/"
METADATA = "metadata.tar.zst"
DATA_SUFFIX = ".bson.zst"
USERS, ROLES = "system.users", "system.roles"
BUCKETS = "system.buckets."
# A node's own; and what a router keeps, which no replica set has.
LEFT_DATABASES = frozenset({"local", "config"})
_LONGEST_NAME, _KEPT_NAME = 238, 208
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-")


class Kind(StrEnum):
    """What a name in a database stands for."""

    COLLECTION = "collection"
    VIEW = "view"
    TIMESERIES = "timeseries"


@dataclass(frozen=True, slots=True)
class Collection:
    """One name in a database. `options`: as the server gives them, types kept."""

    database: str
    name: str
    kind: Kind = Kind.COLLECTION
    options: Mapping[str, Any] = field(default_factory=dict)
    uuid: str | None = None

    @property
    def full_name(self) -> str:
        """As it stands in a backup's record."""
        return f"{self.database}.{self.name}"

    @property
    def data_name(self) -> str:
        """Where its documents lie; of a view nowhere."""
        return BUCKETS + self.name if self.kind is Kind.TIMESERIES else self.name

    @property
    def has_data(self) -> bool:
        """A view has none of its own."""
        return self.kind is not Kind.VIEW


def wanted(database: str, listed: Iterable[Mapping[str, Any]]) -> tuple[Collection, ...]:
    """Of what listCollections gives, what is dumped; sorted by name."""
    found = []
    for entry in listed:
        name = str(entry["name"])
        if _left(database, name):
            continue
        said = str(entry.get("type", ""))
        kind = Kind(said) if said in frozenset(Kind) else Kind.COLLECTION
        uuid = (entry.get("info") or {}).get("uuid")
        shown = bytes(uuid).hex() if isinstance(uuid, Binary) else uuid.hex if uuid is not None else None
        found.append(Collection(database, name, kind, entry.get("options") or {}, shown))
    return tuple(sorted(found, key=lambda one: one.name))


def _left(database: str, name: str) -> bool:
    """The server's own, which it makes anew: views lie in their definitions, buckets in their time series."""
    if database == "admin":
        return name == "system.keys"
    return (name.startswith("system.") and name != "system.js") or "$" in name


def file_name(name: str) -> str:
    """The name of a collection's files, without what comes behind the dot, as mongodump gives them."""
    escaped = quote_plus(name, safe="")
    if len(escaped) <= _LONGEST_NAME:
        return escaped
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).digest()
    return escaped[:_KEPT_NAME] + "%24" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def artefact_of(collection: Collection) -> str:
    """Its documents' artefact: mongodump's path, with `_` and two digits for each sign that a store may not like."""
    return FOLDER + f"{plain(collection.database)}/{plain(file_name(collection.data_name))}{DATA_SUFFIX}"


def plain(name: str) -> str:
    """Only signs that every store takes; `printf %b "${name//_/\\x}"` turns it back."""
    kept = [at > 0 or chr(one) not in ".-" for at, one in enumerate(name.encode())]
    signs = zip(name.encode(), kept, strict=True)
    return "".join(chr(one) if chr(one) in _PLAIN and fit else f"_{one:02X}" for one, fit in signs)


def metadata_path(collection: Collection) -> str:
    """Its place below the folder of a dump."""
    return f"{collection.database}/{file_name(collection.name)}.metadata.json"


def metadata_json(collection: Collection, indexes: Iterable[Mapping[str, Any]]) -> bytes:
    """The file that mongodump writes beside the documents: canonical Extended JSON."""
    document: dict[str, Any] = {"options": dict(collection.options)} if collection.options else {}
    document["indexes"] = [dict(one) for one in indexes]
    if collection.uuid:
        document["uuid"] = collection.uuid
    document |= {"collectionName": collection.name, "type": collection.kind.value}
    text = json_util.dumps(document, json_options=CANONICAL_JSON_OPTIONS, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


@dataclass(frozen=True, slots=True)
class Described:
    """A collection with its indexes, as read back from its file."""

    collection: Collection
    indexes: tuple[Mapping[str, Any], ...]


def read_metadata(path: str, data: bytes) -> Described:
    """What `metadata_json` wrote at `metadata_path`. ValueError where it is none."""
    document = json_util.loads(data, json_options=CANONICAL_JSON_OPTIONS)
    database, _, _ = path.partition("/")
    collection = Collection(
        database, str(document["collectionName"]), Kind(document["type"]), document.get("options") or {},
        document.get("uuid"),
    )  # fmt: skip
    return Described(collection, tuple(document["indexes"]))
