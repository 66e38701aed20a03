"""The oplog of the member that is read: where it stands, what is settled by a majority, whether it still goes back far
enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bson.timestamp import Timestamp
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.positions import Mark
from databosun.engines.mongodb.reading import Cursor
from databosun.engines.mongodb.server import OPLOG_COLLECTION, OPLOG_DATABASE

_SETTLE_SECONDS = 120.0
_LOOK_SECONDS = 0.25
_OPEN = {"state": {"$in": ["prepared", "inProgress"]}}


def settles(hello: Mapping[str, Any]) -> bool:
    """Whether the member knows what a majority has."""
    return "majorityOpTime" in (hello.get("lastWrite") or {})


def concern(hello: Mapping[str, Any]) -> ReadConcern:
    """Only what no election takes back, where the member knows that."""
    return ReadConcern("majority") if settles(hello) else ReadConcern()


def newest(client: Client) -> Mark:
    """The newest entry that no election takes back. WorldFault(NoOplog) where there is none at all."""
    return newest_of(client, client.admin.command("hello"))


def newest_of(client: Client, hello: Mapping[str, Any]) -> Mark:
    """The same, as the member has just said it."""
    if settles(hello):
        return _mark(hello["lastWrite"]["majorityOpTime"])
    last = next(iter(_oplog(client).find().sort("$natural", -1).limit(1)), None)
    if last is None:
        raise WorldFault(Reason.NO_OPLOG, "the oplog has no entry yet; the next attempt looks anew")
    return _mark(last)


def beginning(client: Client) -> Timestamp:
    """What a dump that begins now needs of the oplog: from here, or from where the oldest open transaction began."""
    mark = newest(client)
    try:
        found = client["config"]["transactions"].find(_OPEN).sort("startOpTime", 1).limit(1)
        oldest = next(iter(found), None)
    except OperationFailure:
        oldest = None  # a server without transactions; one with them lets the role `backup` look
    began = ((oldest or {}).get("startOpTime") or {}).get("ts")
    return min(mark.ts, began) if isinstance(began, Timestamp) else mark.ts


def settled(client: Client, pulse: Callable[[], None]) -> Mark:
    """A mark behind all that this member has by now. WorldFault(ReplicaUnfit) where no majority follows."""
    hello = client.admin.command("hello")
    if not settles(hello):
        return newest(client)
    wanted = _mark(hello["lastWrite"]["opTime"])
    limit = time.monotonic() + _SETTLE_SECONDS
    while True:
        found = newest(client)
        if found.ts >= wanted.ts:
            return found
        pulse()
        if time.monotonic() > limit:
            message = (
                f"no majority of the replica set had {wanted} within {_SETTLE_SECONDS:.0f} s (it has {found}); see "
                "rs.status() for members that do not follow"
            )
            raise WorldFault(Reason.REPLICA_UNFIT, message)
        time.sleep(_LOOK_SECONDS)


def oldest(client: Client) -> Timestamp | None:
    """The first entry that is still there."""
    first = next(iter(_oplog(client).find().sort("$natural", 1).limit(1)), None)
    return first["ts"] if first else None


def demand_reach(client: Client, begin: Timestamp) -> None:
    """WorldFault(OplogOverrun) where entries behind `begin` may have gone while they were read."""
    first = oldest(client)
    if first is None or first > begin:
        message = (
            f"the oplog was overrun while it was read: it begins at {first} now, and {begin} is needed; make it larger "
            "(replSetResizeOplog), or back up while less is written"
        )
        raise WorldFault(Reason.OPLOG_OVERRUN, message)


def term_of(client: Client, ts: Timestamp) -> int | None:
    """The term of the entry of that time; None where there is none."""
    found = _oplog(client).find_one({"ts": ts})
    return int(found.get("t") or 0) if found else None


def slice_of(client: Client, hello: Mapping[str, Any], begin: Timestamp, end: Timestamp) -> Cursor:
    """The entries from one to the other, both with it."""
    oplog = _oplog(client).with_options(read_concern=concern(hello))
    return oplog.find_raw_batches({"ts": {"$gte": begin, "$lte": end}}, batch_size=0)


def first_from(client: Client, hello: Mapping[str, Any], begin: Timestamp) -> Mark | None:
    """The first entry from a time on; None where there is none yet."""
    settled_oplog = _oplog(client).with_options(read_concern=concern(hello))
    found = next(iter(settled_oplog.find({"ts": {"$gte": begin}}).sort("$natural", 1).limit(1)), None)
    return _mark(found) if found else None


def _oplog(client: Client) -> Collection[Document]:
    return client[OPLOG_DATABASE][OPLOG_COLLECTION]


def _mark(entry: Mapping[str, Any]) -> Mark:
    return Mark(entry["ts"], int(entry.get("t") or 0))
