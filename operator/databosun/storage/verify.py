"""Compare what a store holds with what was hashed on the way there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from databosun.domain.errors import WorldFault
from databosun.storage.port import DOWNLOAD_BELOW, PART_BYTES, ObjectStore
from databosun.storage.reasons import StorageReason


@dataclass(frozen=True, slots=True)
class Written:
    """What was sent: size, SHA-256 of the whole and, for an upload in parts, the digest over the parts' digests."""

    key: str
    bytes: int
    sha256: str
    composite: str


def verify_object(store: ObjectStore, written: Written, *, download_below: int = DOWNLOAD_BELOW) -> None:
    """Read an object back and compare size and digest. WorldFault(UploadCorrupt) where they differ.

    Small objects are downloaded and hashed. Of larger ones the server's own checksums are compared, where it keeps them
    (S3 checks `x-amz-checksum-sha256` of every part on arrival and keeps the digest of the digests); else they are
    downloaded too.
    """
    if written.bytes <= PART_BYTES:
        found = store.get(written.key, limit=PART_BYTES)
        _compare(store, written, "bytes", len(found), written.bytes)
        _compare(store, written, "SHA-256", hashlib.sha256(found).hexdigest(), written.sha256)
        return
    _compare(store, written, "bytes", store.head(written.key).size, written.bytes)
    if written.bytes >= download_below:
        known = store.checksums(written.key)
        if known.sha256:
            _compare(store, written, "SHA-256", known.sha256, written.sha256)
            return
        if known.composite:
            _compare(store, written, "SHA-256 over parts", known.composite, written.composite)
            return
    digest = hashlib.sha256()
    for piece in store.stream(written.key):
        digest.update(piece)
    _compare(store, written, "SHA-256", digest.hexdigest(), written.sha256)


def _compare(store: ObjectStore, written: Written, what: str, found: object, expected: object) -> None:
    if found != expected:
        where = f"{written.key} in {store.describe()}"
        message = f"{where} reads back with {what} {found}, but {expected} was written; the upload is not used"
        raise WorldFault(StorageReason.UPLOAD_CORRUPT, message)
