"""Commands of the oplog that define things. Indexes are only noted: they are built when all documents are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.errors import OperationFailure

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.faults import NAMESPACE_EXISTS

Spec = Mapping[str, Any]
_OF_THE_ORIGINAL = frozenset({"idIndex", "autoIndexId", "uuid", "recordIdsReplicated"})
_GONE = 26
VIEWS = "system.views"


@dataclass
class Catalogue:
    """Indexes by collection (`database.name`) and by their own names, without that of `_id`."""

    indexes: dict[str, dict[str, Spec]] = field(default_factory=dict)

    def add(self, space: str, specs: list[Spec]) -> None:
        """Note indexes; one of the same name is replaced."""
        for spec in specs:
            if spec.get("name") != "_id_":
                self.indexes.setdefault(space, {})[str(spec["name"])] = spec

    def drop(self, space: str) -> None:
        """Forget a collection."""
        self.indexes.pop(space, None)

    def drop_database(self, database: str) -> None:
        """Forget all of its collections."""
        for space in [one for one in self.indexes if one.partition(".")[0] == database]:
            del self.indexes[space]

    def rename(self, old: str, new: str) -> None:
        """They go with their collection."""
        self.indexes[new] = self.indexes.pop(old, {})


def create(client: Client, database: str, name: str, options: Mapping[str, Any]) -> None:
    """A collection, view or time series; harmless where it is there."""
    kept = {one: value for one, value in options.items() if one not in _OF_THE_ORIGINAL}
    try:
        client[database].command({"create": name, **kept})
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise


def define(client: Client, catalogue: Catalogue, space: str, command: Mapping[str, Any]) -> None:
    """Have one command happen again. SafetyStop where it is not known."""
    name = next(iter(command), "")
    database = space.partition(".")[0]
    action = _ACTIONS.get(name)
    if action is None:
        message = f"the oplog holds the command {name!r} at {space}, which this release cannot replay"
        raise SafetyStop(Reason.RECOVERY_FAILED, message)
    action(client, catalogue, database, dict(command))


def change_view(client: Client, space: str, kind: str, document: Mapping[str, Any]) -> None:
    """Views are kept as documents, and cannot be written as such."""
    database = space.partition(".")[0]
    name = str(document["_id"]).partition(".")[2]
    _drop(client, database, name)
    if kind != "d":
        create(client, database, name, {one: value for one, value in document.items() if one != "_id"})


def _create(client: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    name = str(command.pop("create"))
    if name != VIEWS:
        create(client, database, name, command)


def _drop_collection(client: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    name = str(command["drop"])
    catalogue.drop(f"{database}.{name}")
    _drop(client, database, name)


def _drop_database(client: Client, catalogue: Catalogue, database: str, _: dict[str, Any]) -> None:
    catalogue.drop_database(database)
    client.drop_database(database)


def _rename(client: Client, catalogue: Catalogue, _: str, command: dict[str, Any]) -> None:
    old, new = str(command["renameCollection"]), str(command["to"])
    client.admin.command({"renameCollection": old, "to": new, "dropTarget": bool(command.get("dropTarget"))})
    catalogue.rename(old, new)


def _create_index(_: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    name = str(command.pop("createIndexes"))
    catalogue.add(f"{database}.{name}", [command.get("spec") or command])


def _commit_index(_: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    catalogue.add(f"{database}.{command['commitIndexBuild']}", list(command["indexes"]))


def _drop_index(_: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    space = f"{database}.{command.get('dropIndexes') or command.get('deleteIndexes')}"
    known = catalogue.indexes.get(space, {})
    name = str(command.get("index"))
    if name == "*":
        known.clear()
    known.pop(name, None)


def _modify(client: Client, catalogue: Catalogue, database: str, command: dict[str, Any]) -> None:
    """Of an index, that is not there yet, only what was noted changes."""
    change = command.pop("index", None)
    if change:
        known = catalogue.indexes.get(f"{database}.{command['collMod']}", {})
        if change.get("name") in known:
            known[change["name"]] = {**known[change["name"]], **change}
    if len(command) > 1:
        client[database].command(command)


def _empty(client: Client, _: Catalogue, database: str, command: dict[str, Any]) -> None:
    client[database][str(command["emptycapped"])].delete_many({})


def _convert(client: Client, _: Catalogue, database: str, command: dict[str, Any]) -> None:
    client[database].command(command)


def _drop(client: Client, database: str, name: str) -> None:
    try:
        client[database].drop_collection(name)
    except OperationFailure as error:
        if error.code != _GONE:
            raise


_ACTIONS: Mapping[str, Callable[[Client, Catalogue, str, dict[str, Any]], None]] = {
    "create": _create,
    "drop": _drop_collection,
    "dropDatabase": _drop_database,
    "renameCollection": _rename,
    "createIndexes": _create_index,
    "commitIndexBuild": _commit_index,
    "dropIndexes": _drop_index,
    "deleteIndexes": _drop_index,
    "collMod": _modify,
    "emptycapped": _empty,
    "convertToCapped": _convert,
}
