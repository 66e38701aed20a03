"""Documents as they are archived, and the filter that fits one only while it is still what was archived.

A document is compared twice before it goes: here, by the hash of its very bytes, read anew; and by the server, in the
command that deletes it, whole and with its size. The server takes numbers of several types for equal where their values
are; so what it alone would miss is a change of nothing but the type of a number, of one size, between the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.lifecycle import Feed, RuleFault, Trouble
from databosun.engines.mongodb.connect import CODEC, Client, Document
from databosun.engines.mongodb.lifecycle.filters import OPTIONS
from databosun.engines.mongodb.lifecycle.statements import Place

PART_BYTES = 32 * 1024 * 1024  # of documents that are held in memory at once
LARGEST = 15 * 1024 * 1024  # a command repeats the document, and holds 16 MiB
PIECE_BYTES = 256 * 1024
COMMAND_BYTES, COMMAND_DOCUMENTS = 6 * 1024 * 1024, 1000
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True, tzinfo=CODEC.tzinfo)
Kind = TypeVar("Kind")
NO_DOCUMENT = RawBSONDocument(bson.encode({}))


def documents_of(client: Client, place: Place) -> Any:
    """A collection whose documents are read as the bytes that they are."""
    return client[place.database][place.name].with_options(codec_options=RAW)


def identity_of(document: RawBSONDocument) -> object:
    """Its `_id`."""
    return values_of(document)["_id"]


def digest_of(document: RawBSONDocument) -> str:
    """Of all its bytes."""
    return hashlib.sha256(document.raw).hexdigest()


def still(document: RawBSONDocument) -> Document:
    """A filter that fits this very document as it is, and none that was changed."""
    whole = {"$eq": ["$$ROOT", {"$literal": document}]}
    return {"$expr": {"$and": [whole, {"$eq": [{"$bsonSize": "$$ROOT"}, len(document.raw)]}]}}


def held(found: Iterable[RawBSONDocument], place: Place) -> list[RawBSONDocument]:
    """The first of them, as many as are to be in memory. RuleFault for one that no command has room for."""
    taken: list[RawBSONDocument] = []
    size = 0
    for one in found:
        if len(one.raw) > LARGEST:
            message = (
                f"a document of {place.full} has {len(one.raw)} bytes; no more than {LARGEST} can be compared when it"
                " is to go: make it smaller, or delete it by hand"
            )
            raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.PERMANENT)
        taken.append(one)
        size += len(one.raw)
        if size >= PART_BYTES:
            break
    return taken


def sized(documents: Iterable[Kind], size_of: Callable[[Kind], int]) -> Iterator[list[Kind]]:
    """As many at once as a command has room for, each with a filter around it."""
    group: list[Kind] = []
    size = 0
    for one in documents:
        if group and (size + size_of(one) > COMMAND_BYTES or len(group) >= COMMAND_DOCUMENTS):
            yield group
            group, size = [], 0
        group.append(one)
        size += size_of(one)
    if group:
        yield group


def lines(documents: Sequence[RawBSONDocument], pulse: Callable[[], None]) -> Feed:
    """Canonical Extended JSON, a line for each."""

    def encode(one: RawBSONDocument) -> bytes:
        text = json_util.dumps(values_of(one), json_options=OPTIONS, ensure_ascii=False)
        return f"{text}\n".encode()

    return _feed(documents, encode, pulse)


def files(documents: Sequence[RawBSONDocument], pulse: Callable[[], None]) -> Feed:
    """BSON as a dump has it: the documents as they are, one behind the other."""
    return _feed(documents, lambda one: bytes(one.raw), pulse)


def _feed(
    documents: Sequence[RawBSONDocument], encode: Callable[[RawBSONDocument], bytes], pulse: Callable[[], None]
) -> Feed:
    def feed(sink: Callable[[bytes], None]) -> int:
        piece = bytearray()
        for one in documents:
            piece += encode(one)
            if len(piece) >= PIECE_BYTES:
                sink(bytes(piece))
                piece.clear()
                pulse()
        sink(bytes(piece))
        return len(documents)

    return feed


def values_of(document: RawBSONDocument) -> Document:
    """What it holds. RuleFault for what no reader of an archive could read either; nothing of it is repeated."""
    try:
        return bson.decode(document.raw, CODEC)
    except BSONError as error:
        message = (
            f"a document of {len(document.raw)} bytes is no valid BSON, such as one with a text that is not UTF-8, and"
            " cannot be archived: correct it, or leave it out with match.where"
        )
        raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.PERMANENT) from error
