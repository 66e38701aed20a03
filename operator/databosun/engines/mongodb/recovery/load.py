"""Artefacts into a running server, in bounded memory: collections, documents, what the oplog adds, then indexes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.errors import PyMongoError

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.inflate import inflated
from databosun.engines.mongodb.bsonwalk import Splitter
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.namespaces import (
    METADATA,
    Collection,
    Described,
    Kind,
    artefact_of,
    read_metadata,
)
from databosun.engines.mongodb.positions import OPLOG
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.replay.apply import Replay
from databosun.engines.mongodb.replay.definitions import Catalogue, create
from databosun.engines.mongodb.replay.entries import wall_of
from databosun.engines.recovery import ArtefactReader, Source

_AT_ONCE = 1000
_AT_ONCE_BYTES = 8 * 1024 * 1024
_LONGEST_METADATA = 64 * 1024 * 1024
_ENTRY: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
# The copy's own, made when it starts: those of the original speak of the original's files.
_OWN = frozenset({"admin.system.version"})
Pulse = Callable[[], None]


@dataclass
class Until:
    """Where a replay ends: None is the end of the backup. `last`: the newest entry that was applied."""

    time: datetime | None = None
    last: Timestamp | None = None
    last_wall: datetime | None = None
    reached: bool = False


def read_described(reader: ArtefactReader, pulse: Pulse) -> tuple[Described, ...]:
    """Collections with options and indexes. SafetyStop(ArtefactCorrupt) where they cannot be understood."""
    data = bytearray()
    for piece in inflated(reader):
        data += piece
        pulse()
        if len(data) > _LONGEST_METADATA:
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"{METADATA} is longer than {_LONGEST_METADATA} bytes")
    found: list[Described] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(data)), mode="r:") as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                if file is not None:
                    found.append(read_metadata(entry.name, file.read()))
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"{METADATA} cannot be understood: {error}") from error
    return tuple(found)


def load(client: Client, base: Backup, source: Source, pulse: Pulse) -> Catalogue:
    """Collections and their documents; views last, indexes only noted. SafetyStop(RecoveryFailed)."""
    with source.open(base.id, METADATA) as reader:
        described = read_described(reader, pulse)
    catalogue = Catalogue()
    with recovering(f"restoring {base.id}"):
        for one in sorted(described, key=lambda found: found.collection.kind is Kind.VIEW):
            collection = one.collection
            if collection.full_name in _OWN:
                continue
            create(client, collection.database, collection.name, collection.options)
            catalogue.add(collection.full_name, list(one.indexes))
            if collection.has_data:
                _documents(client, base, collection, source, pulse)
    return catalogue


def _documents(client: Client, base: Backup, collection: Collection, source: Source, pulse: Pulse) -> None:
    name = artefact_of(collection)
    if name not in base.artefacts:
        raise SafetyStop(Reason.ARTEFACT_MISSING, f"backup {base.id} has no {name}")
    target: Any = client[collection.database][collection.data_name]
    with source.open(base.id, name) as reader:
        for batch in _batched(documents(reader, name)):
            target.insert_many(batch, ordered=False, bypass_document_validation=True)
            pulse()


def documents(reader: ArtefactReader, name: str) -> Iterator[RawBSONDocument]:
    """Each document of a stream. SafetyStop(ArtefactCorrupt) where it is not one."""
    splitter = Splitter(name)
    try:
        for piece in inflated(reader):
            for document in splitter.push(piece):
                yield RawBSONDocument(bytes(document), _ENTRY)
        splitter.finish()
    except WorldFault as fault:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, fault.message) from fault


def _batched(found: Iterator[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    size = 0
    for document in found:
        batch.append(document)
        size += len(document.raw)
        if len(batch) >= _AT_ONCE or size >= _AT_ONCE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def replay(work: Replay, backups: Sequence[Backup], source: Source, until: Until) -> None:
    """The oplog of each backup of a chain, as one. SafetyStop(LogCorrupt, …)."""
    with recovering("replaying the oplog"):
        for backup in backups:
            if backup.begin is None or until.reached:
                break
            _demand_goes_on(backup, until)
            with source.open(backup.id, OPLOG) as reader:
                _entries(work, documents(reader, f"{OPLOG} of {backup.id}"), until)
        work.flush()


def _demand_goes_on(backup: Backup, until: Until) -> None:
    if until.last is not None and backup.begin != until.last:
        message = f"the oplog of {backup.id} begins at {backup.begin}, and what is there ends at {until.last}"
        raise SafetyStop(Reason.LOG_CORRUPT, message)


def _entries(work: Replay, entries: Iterator[RawBSONDocument], until: Until) -> None:
    """Read to the end also where the point was reached: only then is the digest known to be right."""
    for number, entry in enumerate(entries):
        if number % 1000 == 0:
            work.pulse()
        when = entry["ts"]
        # The first entry of an Incremental is the last of what it stands on, which happened already.
        if until.reached or (until.last is not None and when <= until.last):
            continue
        wall = wall_of(entry)
        if until.time is not None and wall > until.time:
            until.reached = True
            continue
        work.entry(entry)
        until.last, until.last_wall = when, wall


def build_indexes(client: Client, catalogue: Catalogue, pulse: Pulse) -> None:
    """All indexes of all collections. SafetyStop(RecoveryFailed) names the one that cannot be built."""
    for space, indexes in sorted(catalogue.indexes.items()):
        database, _, name = space.partition(".")
        for index in indexes.values():
            pulse()
            # Its version is the server's affair, as mongorestore leaves it to it.
            spec = {one: value for one, value in index.items() if one not in ("ns", "v")}
            with recovering(f"building index {index.get('name')} of {space}"):
                client[database].command({"createIndexes": name, "indexes": [spec]})


@contextmanager
def recovering(doing: str) -> Iterator[None]:
    """What the copy refuses is a fault of the backup, or of the server: no other attempt would mend it."""
    try:
        yield
    except PyMongoError as error:
        said = " ".join(str(error).split())[:600]
        raise SafetyStop(Reason.RECOVERY_FAILED, f"{doing}: the copy answers: {said}") from error
