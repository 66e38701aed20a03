"""Which entries change data, in which order, and where transactions of several entries end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop

Entry = Mapping[str, Any]
# Nothing happens, or only in the original's own affairs.
_NOTHING = frozenset({"startIndexBuild", "abortIndexBuild", "dbCheck"})
_TRANSACTIONS = frozenset({"applyOps", "commitTransaction", "abortTransaction"})
DEFINING = frozenset({
    "create", "drop", "dropDatabase", "renameCollection", "createIndexes", "commitIndexBuild", "dropIndexes",
    "deleteIndexes", "collMod", "emptycapped", "convertToCapped",
})  # fmt: skip
REPLAYED = _NOTHING | _TRANSACTIONS | DEFINING
_LEFT_DATABASES = frozenset({"config", "local"})
_LEFT = frozenset({"admin.system.version", "admin.system.keys"})


@dataclass
class Transactions:
    """Gives the operations of each entry once they count: those of a transaction at its commit. Kept across backups."""

    open: dict[bytes, list[Entry]] = field(default_factory=dict)

    def operations(self, entry: Entry) -> Iterator[Entry]:
        """What happens at this entry. SafetyStop where it commits what was never seen."""
        if entry["op"] != "c":
            yield entry
            return
        command = entry["o"]
        match next(iter(command), ""):
            case "applyOps":
                yield from self._apply(entry, command)
            case "commitTransaction":
                yield from self._flat(self._taken(entry))
            case "abortTransaction":
                self.open.pop(_session(entry), None)
            case _:
                yield entry

    def _apply(self, entry: Entry, command: Entry) -> Iterator[Entry]:
        """Part of a transaction, a prepared one, or operations that count at once."""
        inner = list(command["applyOps"])
        key = _session(entry)
        if command.get("partialTxn") or command.get("prepare"):
            self.open.setdefault(key, []).extend(inner)
            return
        earlier = self.open.pop(key, []) if key else []
        yield from self._flat([*earlier, *inner])

    def _taken(self, entry: Entry) -> list[Entry]:
        key = _session(entry)
        if key not in self.open:
            message = f"entry {entry['ts']} commits a transaction whose operations are not in the backup"
            raise SafetyStop(Reason.RECOVERY_FAILED, message)
        return self.open.pop(key)

    def _flat(self, operations: list[Entry]) -> Iterator[Entry]:
        for one in operations:
            if one["op"] == "c" and "applyOps" in one["o"]:
                yield from self._flat(list(one["o"]["applyOps"]))
            else:
                yield one


def left_out(operation: Entry) -> bool:
    """No-ops, and what is the original's own affair."""
    space = str(operation.get("ns", ""))
    if operation["op"] not in ("i", "u", "d", "c"):
        return True
    if operation["op"] == "c" and next(iter(operation["o"]), "") in _NOTHING:
        return True
    return space in _LEFT or space.partition(".")[0] in _LEFT_DATABASES


def wall_of(entry: Entry) -> datetime:
    """When it was written: to the millisecond where it says so, else to the second."""
    wall = entry.get("wall")
    if isinstance(wall, datetime):
        return wall if wall.tzinfo else wall.replace(tzinfo=UTC)
    return datetime.fromtimestamp(entry["ts"].time, UTC)


def _session(entry: Entry) -> bytes:
    """Names a transaction; empty where the entry is of none."""
    if "lsid" not in entry or "txnNumber" not in entry:
        return b""
    lsid = entry["lsid"]
    name = lsid.raw if isinstance(lsid, RawBSONDocument) else bson.encode(lsid)
    return bytes(name) + b"/" + str(entry["txnNumber"]).encode()
