"""What applications are: sessions that insert numbered documents with majority, where a client is sent.

Nothing is tried twice by the driver, so that what a client is told is what the server said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any

from bson import Int64
from pymongo.errors import PyMongoError

from databosun.api.failoverprobe import ErrorName, ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Bits, Fate
from databosun.engines.failover import FailoverFault, ProbeError, Site, probe_error
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.failover.members import Members
from databosun.engines.mongodb.failover.words import Hello, parse_hello

ADMIN_SECONDS = 30.0
TIMEOUT, LOST = "Timeout", "ConnectionLost"
WATCHED = -1
_CLIENT_SHIFT = 32
_MAJORITY = {"w": "majority"}
_EXISTS = 48
_MISSING = 26
_NAMES: Mapping[int, ErrorName] = {
    10107: ErrorName.READ_ONLY,
    13435: ErrorName.READ_ONLY,
    13436: ErrorName.STARTING,
    64: ErrorName.NOT_CONFIRMED,
    50: ErrorName.TIMEOUT,
    91: ErrorName.SHUTTING_DOWN,
    11600: ErrorName.SHUTTING_DOWN,
    189: ErrorName.NO_PRIMARY,
    11602: ErrorName.NO_PRIMARY,
    112: ErrorName.CONFLICT,
}
# Not the primary: it says so before it does anything. The client looks for another one.
_ELSEWHERE = (10107, 13435, 13436)
# Broken off in the midst of it: whether it is done nobody says.
_IN_DOUBT = (6, 7, 50, 64, 79, 89, 91, 100, 189, 262, 9001, 11600, 11601, 11602)


@dataclass(frozen=True, slots=True)
class Space:
    """The collection of one run, in the database of the probe."""

    database: str
    collection: str

    @classmethod
    def of(cls, site: Site) -> Space:
        """That of a site."""
        run = "".join(letter for letter in site.run if letter.isalnum())[:48]
        return cls(site.table, f"writes_{run}")

    def make(self, client: Client) -> None:
        """Harmless where it is there."""
        self._run(client, {"create": self.collection, "writeConcern": _MAJORITY}, _EXISTS)

    def remove(self, client: Client) -> None:
        """Harmless where it is not there. The database goes with its last collection."""
        self._run(client, {"drop": self.collection, "writeConcern": _MAJORITY}, _MISSING)

    def barrier(self, client: Client) -> None:
        """A write that a majority has: what was acknowledged before is in what a majority read sees from now on, and
        who answers is no primary of yesterday."""
        concern = {**_MAJORITY, "wtimeout": int(ADMIN_SECONDS * 500)}
        document = {"_id": _key(WATCHED, randbits(_CLIENT_SHIFT))}
        insert = {"insert": self.collection, "documents": [document], "writeConcern": concern}
        try:
            told(client[self.database].command(insert))
        except ProbeError as error:
            message = f"a write with majority at the primary: {error}"
            raise WorldFault(FailoverFault.NO_PRIMARY, message) from error

    def rows(self, client: Client, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What a majority holds."""
        self.barrier(client)
        found = {one: Bits() for one in clients}
        for key in self._keys(client):
            number, seq = key >> _CLIENT_SHIFT, key & (1 << _CLIENT_SHIFT) - 1
            if number != WATCHED:
                found.setdefault(number, Bits()).add(seq)
        return found

    def _keys(self, client: Client) -> Iterator[int]:
        database = client[self.database]
        asked: dict[str, Any] = {
            "find": self.collection, "projection": {"_id": 1}, "readConcern": {"level": "majority"},
        }  # fmt: skip
        batch = "firstBatch"
        while True:
            cursor = database.command(asked)["cursor"]
            yield from (int(one["_id"]) for one in cursor[batch])
            if not cursor["id"]:
                return
            asked, batch = {"getMore": cursor["id"], "collection": self.collection}, "nextBatch"

    def _run(self, client: Client, command: dict[str, Any], harmless: int) -> None:
        client[self.database].command(command, allowable_errors=[harmless])


class Session:
    """One connection of one client, or of a watcher."""

    def __init__(self, client: Client, space: Space, number: int, node: str | None, seconds: float) -> None:
        self.node = node
        self._client = client
        self._space = space
        self._number = number
        self._last = 0
        self._millis = int(seconds * 1000)

    def write(self, seq: int) -> None:
        """Insert one document; acknowledged once a majority has it."""
        self._command(
            {
                "insert": self._space.collection,
                "documents": [{"_id": _key(self._number, seq)}],
                "writeConcern": {**_MAJORITY, "wtimeout": self._millis},
            }
        )
        self._last = seq

    def read(self) -> None:
        """Read one of its documents."""
        self._command({"find": self._space.collection, "filter": {"_id": _key(self._number, self._last)}, "limit": 1})

    def takes_writes(self) -> bool:
        """By its word."""
        return parse_hello(self._command({"hello": 1}, "admin"), "").writable

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _command(self, command: dict[str, Any], database: str | None = None) -> Mapping[str, Any]:
        try:
            return told(self._client[database or self._space.database].command(command))
        except (PyMongoError, OSError) as error:
            raise refused(error) from error


def told(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer that says of no error. ProbeError."""
    for one in said.get("writeErrors") or ():
        raise _error(one, Fate.FAILED, said)
    if concern := said.get("writeConcernError"):
        # It is done at the primary; whether a majority has it nobody says.
        raise _error(concern, Fate.UNKNOWN, said)
    return said


def refused(error: Exception) -> ProbeError:
    """What a client is told, and what that means for its write."""
    details = getattr(error, "details", None)
    if isinstance(details, Mapping) and details.get("code"):
        if concern := details.get("writeConcernError"):
            return _error(concern, Fate.UNKNOWN, details)
        return _error(details, Fate.FAILED, details)
    timed = "timed out" in str(error) or "timeout" in type(error).__name__.lower()
    return ProbeError(TIMEOUT if timed else LOST, _one_line(str(error)), Fate.UNKNOWN, broken=True)


def _error(one: Mapping[str, Any], fate: Fate, said: Mapping[str, Any]) -> ProbeError:
    code = int(one.get("code") or 0)
    unknown = fate is Fate.UNKNOWN or code in _IN_DOUBT or not code
    again = " (the driver would try it again)" if "RetryableWriteError" in (said.get("errorLabels") or ()) else ""
    return ProbeError(
        str(one.get("codeName") or code or LOST), _one_line(str(one.get("errmsg") or "")) + again,
        Fate.UNKNOWN if unknown else Fate.FAILED, broken=unknown or code in _ELSEWHERE, name=_NAMES.get(code),
    )  # fmt: skip


@dataclass(slots=True)
class Clients:
    """How clients get in. `known`: where each member is. Whoever took writes last is asked first, by all clients, as
    the monitor of a driver would have it."""

    members: Members
    space: Space
    known: dict[str, tuple[str, int]] = field(default_factory=dict)
    _hint: tuple[str, int] | None = None

    def connect(self, path: ProbePath | None, number: int, seconds: float) -> Session:
        """A session with the primary, as a driver finds it: any member names it. By a path, with whom that leads to.
        ProbeError."""
        if path is not None:
            client, said = self._ask((path.host, path.port), seconds)
            return Session(client, self.space, number, said.name, seconds)
        fault = probe_error(WorldFault(FailoverFault.NO_PRIMARY, "no member takes writes"))
        places = [*filter(None, [self._hint]), *self.members.seeds(), *self.known.values()]
        asked = set[tuple[str, int]]()
        while places:
            place = places.pop(0)
            if place in asked:
                continue
            asked.add(place)
            try:
                client, said = self._ask(place, seconds)
            except ProbeError as error:
                fault, self._hint = error, None if self._hint == place else self._hint
                continue
            if said.writable:
                self._hint = place
                return Session(client, self.space, number, said.name, seconds)
            client.close()
            if said.primary in self.known:
                places.insert(0, self.known[said.primary or ""])
        raise fault

    def watch(self, place: tuple[str, int], name: str, seconds: float) -> Session:
        """A session with a member itself. ProbeError."""
        return Session(self._connect(place, seconds), self.space, WATCHED, name, seconds)

    def _ask(self, place: tuple[str, int], seconds: float) -> tuple[Client, Hello]:
        client = self._connect(place, seconds)
        try:
            return client, parse_hello(client.admin.command("hello"), f"{place[0]}:{place[1]}")
        except (PyMongoError, OSError) as error:
            client.close()
            # Nothing was sent that could have been done.
            raise ProbeError(LOST, _one_line(str(error)), Fate.FAILED, broken=True) from error

    def _connect(self, place: tuple[str, int], seconds: float) -> Client:
        try:
            return self.members.connect(place, seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault


def _key(number: int, seq: int) -> Int64:
    return Int64((number << _CLIENT_SHIFT) | seq)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
