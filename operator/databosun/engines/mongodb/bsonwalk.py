"""Walks a stream of BSON documents, as mongodump writes them: each is whole, how many there are, and what they sum to.

Format: https://bsonspec.org/spec.html. A document begins with its length and ends with a zero byte.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault

# The largest document is 16 MiB; an entry of the oplog wraps one.
LONGEST = 17 * 1024 * 1024
_LENGTH = struct.Struct("<i")
_SHORTEST = 5
_HASH_BYTES = 16
_ALGORITHM = "b1"
_SHALLOW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class Splitter:
    """Cuts pieces of any size into documents. WorldFault(FormatCheckFailed) where they cannot be any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self.bytes = 0
        self.count = 0

    def push(self, data: memoryview) -> list[memoryview]:
        """The documents that are whole by now."""
        self.bytes += len(data)
        if self._rest:
            data = memoryview(self._rest + bytes(data))
        found: list[memoryview] = []
        at, size, read = 0, len(data), _LENGTH.unpack_from
        while size - at >= _LENGTH.size:
            (length,) = read(data, at)
            if not _SHORTEST <= length <= LONGEST:
                message = f"says that document {self.count + len(found) + 1} has {length} bytes"
                raise self.wrong(message)
            end = at + length
            if end > size:
                break
            if data[end - 1]:
                message = f"has a document {self.count + len(found) + 1} that does not end as one"
                raise self.wrong(message)
            found.append(data[at:end])
            at = end
        self._rest = bytes(data[at:])
        self.count += len(found)
        return found

    def finish(self) -> None:
        """Demand that nothing is left over."""
        if self._rest:
            message = f"is cut in the middle of a document, {len(self._rest)} bytes after document {self.count}"
            raise self.wrong(message)

    def wrong(self, what: str) -> WorldFault:
        """The error for a stream that is not what it should be."""
        return WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._name} {what}")


class BsonWalk:
    """A StreamCheck. `count`, `fingerprint`: of all documents, whatever their order; complete once it is closed."""

    def __init__(self, name: str, *, hashes: bool = True) -> None:
        self._splitter = Splitter(name)
        self._hashes = hashes
        self._sum = 0

    @property
    def count(self) -> int:
        """Documents so far."""
        return self._splitter.count

    @property
    def fingerprint(self) -> str | None:
        """None where nothing was hashed."""
        return fingerprint_of(self._sum) if self._hashes else None

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        documents = self._splitter.push(data)
        if self._hashes:
            self._sum += sum_of(documents)

    def close(self) -> int:
        """Demand that the last document is whole."""
        self._splitter.finish()
        return self._splitter.bytes


class OplogWalk:
    """A StreamCheck: entries in the order of their times, the first at `begin` where that is given.

    `namespaces`: whose documents or definitions change behind the first entry, which happened before a dump began,
    unless it is a part of a transaction that is open. `commands`: names of all.
    """

    def __init__(self, name: str, begin: Timestamp | None = None) -> None:
        self._splitter = Splitter(name)
        self._begin = begin
        self.first: Timestamp | None = None
        self.last: Timestamp | None = None
        self.namespaces: set[str] = set()
        self.commands: set[str] = set()

    @property
    def count(self) -> int:
        """Entries so far."""
        return self._splitter.count

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        for document in self._splitter.push(data):
            self._entry(document)

    def close(self) -> int:
        """Demand that the last entry is whole."""
        self._splitter.finish()
        return self._splitter.bytes

    def _entry(self, document: memoryview) -> None:
        try:
            entry = bson.decode(document, _SHALLOW)
            when = entry["ts"]
        except (BSONError, KeyError) as error:
            message = f"has an entry {self.count} that is none: {error}"
            raise self._splitter.wrong(message) from error
        if self.first is None and self._begin not in (None, when):
            message = f"begins at {when}, not at {self._begin}"
            raise self._splitter.wrong(message)
        if self.last is not None and when <= self.last:
            message = f"has an entry of {when} behind one of {self.last}"
            raise self._splitter.wrong(message)
        happened = self.first is None and not _is_open(entry)
        self.first, self.last = self.first or when, when
        self._note(entry)
        if happened:
            self.namespaces.clear()

    def _note(self, entry: RawBSONDocument) -> None:
        kind, space = entry.get("op"), str(entry.get("ns", ""))
        if kind in ("i", "u", "d"):
            self.namespaces.add(space)
        elif kind == "c":
            command = entry["o"]
            name = next(iter(command), "")
            self.commands.add(name)
            database = space.partition(".")[0]
            for inner in command["applyOps"] if name == "applyOps" else ():
                self._note(inner)
            if isinstance(command.get(name), str):
                self.namespaces.add(f"{database}.{command[name]}")
            if name == "dropDatabase":
                self.namespaces.add(f"{database}.")


def _is_open(entry: RawBSONDocument) -> bool:
    """Whether it is a part of a transaction whose end lies behind it."""
    what = entry.get("o") if entry.get("op") == "c" else None
    return what is not None and bool(what.get("partialTxn") or what.get("prepare"))


def sum_of(documents: list[memoryview]) -> int:
    """The sum of the hashes of documents."""
    number = int.from_bytes
    return sum(number(blake2b(document, digest_size=_HASH_BYTES).digest(), "little") for document in documents)


def fingerprint_of(total: int) -> str:
    """As it stands in a backup's record."""
    return f"{_ALGORITHM}:{total % (1 << (8 * _HASH_BYTES)):0{2 * _HASH_BYTES}x}"
