"""A full backup: every collection as it is read, and the oplog of that time, which makes one instant of it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from bson import json_util
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.timestamp import Timestamp

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.base import Captured, Plan, Sink
from databosun.engines.mongodb import oplog
from databosun.engines.mongodb.bsonwalk import BsonWalk, OplogWalk
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.namespaces import (
    LEFT_DATABASES,
    METADATA,
    USERS,
    Collection,
    artefact_of,
    metadata_json,
    metadata_path,
    wanted,
)
from databosun.engines.mongodb.positions import BASE_FILE, OPLOG, Mark, backup_position, format_ts
from databosun.engines.mongodb.reading import batches
from databosun.engines.mongodb.server import ServerFacts

Indexes = Sequence[Mapping[str, Any]]
# An entry that says so is true of the state before it only: a dump across it is of neither.
_NOT_ACROSS = frozenset({"renameCollection", "importCollection"})
_VERSIONS = "admin.system.version"


@dataclass
class Run:
    """One backup at work."""

    client: Client
    facts: ServerFacts
    plan: Plan
    sink: Sink
    stage: str = "connect"
    counted: dict[str, ObjectCount] = field(default_factory=dict)

    def say(self, stage: str) -> None:
        """What is being done from here on."""
        self.stage = stage
        self.sink.progress(stage)

    def pulse(self) -> None:
        """Where a stop or a deadline is raised."""
        self.sink.progress(self.stage)


def back_up_full(run: Run) -> Captured:
    """Take it."""
    run.say("prepare")
    begin = oplog.beginning(run.client) if run.facts.oplog else None
    began = run.facts.now
    collections = list_collections(run)
    for collection in collections:
        if collection.has_data:
            _dump(run, collection)
    described = _describe(run, collections)
    end, walk = _take_oplog(run, begin)
    run.sink.put_plain(BASE_FILE, end.document() if end else b"{}\n")
    touched = walk.namespaces if walk else set()
    return Captured(
        type=BackupType.FULL,
        method=Method.LOGICAL,
        engine_version=run.facts.version,
        system_identifier=run.facts.identity,
        position=backup_position(end, identified=run.facts.identity is not None),
        snapshot_time=end.at if end else began,
        parent=None,
        base=None,
        chain_length=0,
        environment=_environment(run, described, begin, end),
        objects=tuple(_object(one, touched) for one in run.counted.values()),
        schema_hash=None if walk and walk.commands - {"applyOps"} else schema_hash(described),
        notes=_notes(run, begin, touched),
    )


def list_collections(run: Run) -> tuple[Collection, ...]:
    """All that is dumped, whatever the databases are called."""
    found: list[Collection] = []
    listed = run.client.admin.command("listDatabases", nameOnly=True, authorizedDatabases=False)["databases"]
    for name in sorted(str(one["name"]) for one in listed):
        if name not in LEFT_DATABASES:
            found += wanted(name, run.client[name].list_collections())
            run.pulse()
    return tuple(found)


def _dump(run: Run, collection: Collection) -> None:
    """Documents as the server sends them, which is what mongodump writes."""
    run.say(f"dump {collection.full_name}")
    name = artefact_of(collection)
    check = BsonWalk(name, hashes=run.plan.fingerprints)
    source = run.client[collection.database].get_collection(
        collection.data_name, read_concern=oplog.concern(run.facts.hello)
    )
    writer = run.sink.open(name, compress=True, check=lambda: check)
    with batches(lambda: source.find_raw_batches({}, batch_size=0), run.pulse) as given:
        for batch in given:
            writer.write(batch)
    writer.finish()
    shown = f"{collection.database}.{collection.data_name}"
    run.counted[shown] = ObjectCount(name=shown, rows=check.count, fingerprint=check.fingerprint)


def _describe(run: Run, collections: Iterable[Collection]) -> tuple[tuple[Collection, Indexes], ...]:
    """Options and indexes of each, in one artefact: a tar of the files that mongodump writes."""
    run.say("describe")
    described: list[tuple[Collection, Indexes]] = []
    for collection in collections:
        indexes: list[Document] = []
        if collection.has_data:
            indexes = [dict(one) for one in run.client[collection.database][collection.name].list_indexes()]
        described.append((collection, indexes))
        run.pulse()
    writer = run.sink.open(METADATA, compress=True)
    file = cast("IO[bytes]", _Writing(writer.write))
    with tarfile.open(fileobj=file, mode="w|") as archive:
        for collection, known in described:
            data = metadata_json(collection, known)
            entry = tarfile.TarInfo(metadata_path(collection))
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    writer.finish()
    return tuple(described)


def _take_oplog(run: Run, begin: Timestamp | None) -> tuple[Mark | None, OplogWalk | None]:
    if begin is None:
        return None, None
    run.say("oplog")
    end = oplog.settled(run.client, run.pulse)
    walk = store_slice(run, begin, end)
    oplog.demand_reach(run.client, begin)
    across = walk.commands & _NOT_ACROSS
    if across or _VERSIONS in walk.namespaces:
        what = ", ".join(sorted(across)) or f"a change of {_VERSIONS}"
        message = f"no dump is of one instant across {what}, which happened meanwhile; the next attempt starts anew"
        raise WorldFault(Reason.SCHEMA_CHANGED, message)
    return end, walk


def store_slice(run: Run, begin: Timestamp, end: Mark, *, exact: bool = False) -> OplogWalk:
    """The oplog from `begin` (`exact`: that very entry) to `end`. WorldFault where it does not reach so far."""
    walk = OplogWalk(OPLOG, begin if exact else None)
    writer = run.sink.open(OPLOG, compress=True, check=lambda: walk)
    with batches(lambda: oplog.slice_of(run.client, run.facts.hello, begin, end.ts), run.pulse) as given:
        for batch in given:
            writer.write(batch)
    writer.finish()
    if walk.last != end.ts:
        message = (
            f"{OPLOG} ends at {walk.last}, not at {end}: the member does not have it all; the next attempt looks anew"
        )
        raise WorldFault(Reason.REPLICA_UNFIT, message)
    return walk


def schema_hash(described: Iterable[tuple[Collection, Indexes]]) -> str:
    """Of names, kinds, options and indexes; nothing that a restore changes."""
    lines = []
    for collection, indexes in described:
        if collection.name.startswith("system."):
            continue
        kept = [{name: value for name, value in one.items() if name not in ("ns", "v")} for one in indexes]
        kept.sort(key=lambda one: str(one.get("name")))
        found = {"options": dict(collection.options), "indexes": kept}
        text = json_util.dumps(found, json_options=CANONICAL_JSON_OPTIONS, sort_keys=False)
        lines.append(f"{collection.full_name}\x1f{collection.kind}\x1f{text}\x1e")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _environment(
    run: Run, described: Iterable[tuple[Collection, Indexes]], begin: Timestamp | None, end: Mark | None
) -> dict[str, Any]:
    kinds: dict[str, int] = {}
    for collection, _ in described:
        kinds[collection.kind.value] = kinds.get(collection.kind.value, 0) + 1
    users = any(one.full_name == f"admin.{USERS}" for one, _ in described)
    return {
        **server_environment(run.facts),
        "kinds": kinds,
        "users": users,
        "oplog": {"begin": format_ts(begin), "end": str(end), "term": end.term} if begin and end else None,
    }


def server_environment(facts: ServerFacts) -> dict[str, Any]:
    """Of the server, whatever was taken of it."""
    role = "primary" if facts.primary else "secondary"
    return {
        "product": facts.product,
        "replicaSet": facts.set_name,
        "source": {"node": str(facts.endpoint), "role": role if facts.set_name else "standalone"},
    }


def _object(found: ObjectCount, touched: set[str]) -> ObjectCount:
    """A collection that was written to while it was read has at the end what nobody counted."""
    database = found.name.partition(".")[0]
    if found.name in touched or f"{database}." in touched:
        return ObjectCount(name=found.name)
    return found


def _notes(run: Run, begin: Timestamp | None, touched: set[str]) -> tuple[str, ...]:
    notes = []
    if begin is None:
        said = "the server has no oplog: each collection is of another instant"
        notes.append(f"{Reason.NO_OPLOG}: {said}")
    if not run.plan.fingerprints:
        said = "no documents were hashed (fingerprints: false in the policy), so that a copy is compared by counts only"
        notes.append(f"{Reason.FINGERPRINTS_OFF}: {said}")
    busy = sorted(touched & run.counted.keys())
    if busy:
        more = f" and {len(busy) - 5} more" if len(busy) > 5 else ""
        said = f"written to while they were read, so not counted: {', '.join(busy[:5])}{more}"
        notes.append(f"{Reason.NOT_COUNTED}: {said}")
    return tuple(notes)


class _Writing:
    """An artefact as tarfile writes one."""

    def __init__(self, write: Any) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        """Pass on."""
        self._write(data)
        return len(data)
