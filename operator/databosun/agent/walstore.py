"""What an archiver writes into the bucket: segments, history files, gaps, and the pairs of clock and position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from databosun.agent.children import Children
from databosun.agent.walencode import Encoded, Known, encrypt
from databosun.api.archive import LogGap, TimePair
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import WalPoint, history_name, parse_lsn, segment_name
from databosun.storage.port import PART_BYTES, AlreadyExists, ObjectMissing, ObjectStore, Retention
from databosun.storage.reasons import StorageReason
from databosun.storage.walnames import WalFolder, parse_wal
from databosun.storage.walog import (
    DIGEST,
    INSTANT,
    LENGTH,
    MARK,
    MAX_SMALL_BYTES,
    LogDescription,
    StoredSegment,
    read_description,
    read_gaps,
)
from databosun.storage.waltail import timeline_tail
from databosun.storage.waltimes import newest_pair_up_to, read_pairs, write_pairs

WINDOW_BYTES = 4 * 1024 * 1024
# S3 takes 2 KB of metadata and refuses the object beyond; without a mark the log is stored, and a restart finds a gap.
LONGEST_MARK = 1024
PARTS_KEPT = 2  # the newest, and the one before it: a reader that has just listed must find what it saw


@dataclass
class Tail:
    """The end of a timeline in the store: where, what of the open segment is known, and which parts are there.

    `replaced`: parts whose full segment is there too. `mark`: where a stream that goes on from `end` may be resumed.
    """

    end: WalPoint | None = None
    known: dict[int, Known] = field(default_factory=dict)
    parts: dict[int, list[str]] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    newest: TimePair | None = None
    mark: str | None = None


@dataclass
class WalBucket:
    """The log of one server in the store. Used by one thread; every method raises the store's faults."""

    store: ObjectStore
    folder: WalFolder
    children: Children
    recipients: Sequence[str]
    lock_until: Callable[[], Retention | None]
    segment_bytes: int = 0
    stored_bytes: int = 0

    def describe(self, description: LogDescription) -> None:
        """Claim the log for this server. SafetyStop(LogConflict) where it was archived with another segment size."""
        self.segment_bytes = description.segment_bytes
        try:
            self.store.put(self.folder.description, description.encode(), if_absent=True)
        except AlreadyExists as error:
            found = read_description(self.store, self.folder)
            if (found.segment_bytes, found.system_identifier) != (
                description.segment_bytes,
                description.system_identifier,
            ):
                message = (
                    f"{self.folder.description} in {self.store.describe()} says segments of {found.segment_bytes} "
                    f"bytes of server {found.system_identifier}, and this is {description.system_identifier} with "
                    f"{description.segment_bytes}: pg_resetwal was used; move that folder away, and take a full backup"
                )
                raise SafetyStop(StorageReason.LOG_CONFLICT, message) from error

    def tail(self, timeline: int) -> Tail:
        """Where a timeline ends; parts that a full segment has replaced are listed for the sweep."""
        tail = Tail()
        full: set[int] = set()
        newest: StoredSegment | None = None
        for one in timeline_tail(self.store, self.folder, self.segment_bytes, timeline):
            newest = one if newest is None or (one.end, one.full) > (newest.end, newest.full) else newest
            if one.full:
                full.add(one.number)
            else:
                tail.parts.setdefault(one.number, []).append(one.key)
        for number in full & tail.parts.keys():
            tail.replaced += tail.parts.pop(number)
        if newest is None:
            return tail
        tail.end = WalPoint(timeline, newest.end)
        tail.newest = newest_pair_up_to(self.store, self.folder, newest)
        said = self.store.head(newest.key).metadata
        tail.mark = said.get(MARK)
        if not newest.full and (digest := said.get(DIGEST)):
            tail.known[newest.number] = Known(tail.end.lsn, digest)
        return tail

    def put_segment(self, encoded: Encoded, at: datetime | None) -> str:
        """Store a segment or an open part; its key. SafetyStop(LogConflict) where another plaintext is there."""
        name = segment_name(encoded.timeline, encoded.number, self.segment_bytes)
        encrypted = bool(self.recipients)
        end, following = encoded.data_end, encoded.next_file
        key = self.folder.segment(name, end=end, encrypted=encrypted, last=encoded.last, following=following)
        metadata = {DIGEST: encoded.sha256, LENGTH: str(encoded.length)}
        if at is not None:
            metadata[INSTANT] = at.isoformat()
        if encoded.mark is not None and len(encoded.mark) <= LONGEST_MARK:
            metadata[MARK] = encoded.mark
        try:
            digest = self._put_encrypted(key, encoded, metadata)
            size = len(encoded.data)
        except AlreadyExists:
            self._demand_same(key, encoded)
            return key
        if encoded.full:
            try:
                self._verify(key, size, digest)
            except WorldFault:
                # Nobody was told that it is there; left in place, it would be taken for good by the next try.
                self.store.delete([key])
                raise
        return key

    def _put_encrypted(self, key: str, encoded: Encoded, metadata: dict[str, str]) -> str:
        """The digest of what was stored. Encrypts once, in place: two copies of a segment would be one too many."""
        if self.recipients and not encoded.sealed:
            encoded.data = encrypt(self.children, self.recipients, encoded.data)
            encoded.sealed = True
        self._put_new(key, encoded.data, metadata, self.lock_until() if encoded.full else None)
        self.stored_bytes += len(encoded.data)
        return hashlib.sha256(encoded.data).hexdigest()

    def put_history(self, timeline: int, text: bytes) -> None:
        """Store a history file. SafetyStop(LogConflict) where the store has another one of that timeline."""
        key = self.folder.history(timeline)
        try:
            self.store.put(key, text, if_absent=True, retention=self.lock_until())
        except AlreadyExists as error:
            if self.store.get(key, limit=MAX_SMALL_BYTES) != text:
                message = (
                    f"{history_name(timeline)} in {self.store.describe()} differs from the server's: two servers were "
                    f"promoted to timeline {timeline} apart from each other. Nothing is overwritten; promote the one "
                    "that is to live once more, to a timeline of its own"
                )
                raise SafetyStop(StorageReason.LOG_CONFLICT, message) from error

    def put_gap(self, gap: LogGap) -> None:
        """Record a gap; one that is recorded already is fine."""
        key = self.folder.gap(gap.timeline, parse_lsn(gap.begin), parse_lsn(gap.end))
        try:
            self.store.put(key, (json.dumps(gap.dump(), sort_keys=True) + "\n").encode(), if_absent=True)
        except AlreadyExists:
            return

    def gaps(self) -> tuple[LogGap, ...]:
        """The gaps on record."""
        return read_gaps(self.store, self.folder)

    def put_pairs(self, timeline: int, hour: str, pairs: Sequence[TimePair]) -> None:
        """Write the pairs of an hour anew."""
        self.store.put(self.folder.hour(timeline, hour), write_pairs(pairs))

    def pairs(self, timeline: int, hour: str) -> tuple[TimePair, ...]:
        """The pairs of an hour that an archiver before this one may have written."""
        try:
            return read_pairs(self.store, self.folder.hour(timeline, hour))
        except ObjectMissing:
            return ()

    def sweep(self, keys: Sequence[str]) -> None:
        """Delete open parts that a longer or full one has replaced."""
        strange = [key for key in keys if (name := parse_wal(key)) is None or not name.open]
        if strange:
            msg = f"{strange[0]} is no open part; only those are ever swept"
            raise ValueError(msg)
        for refused in self.store.delete(keys):
            raise WorldFault(StorageReason.FAILED, refused.message)

    def _put_new(
        self, key: str, data: bytes | bytearray, metadata: dict[str, str], retention: Retention | None
    ) -> None:
        if len(data) <= 2 * PART_BYTES:
            self.store.put(key, data, if_absent=True, metadata=metadata, retention=retention)
            return
        # Too large for one request (segments of 64 MiB and more): one writer a log, and a look beforehand, must do.
        try:
            self.store.head(key)
        except ObjectMissing:
            writer = self.store.open_writer(key, max_bytes=len(data), metadata=metadata)
            try:
                writer.write(data)
                writer.close()
            finally:
                writer.abort()
            if retention:
                self.store.retain(key, retention)
            return
        raise AlreadyExists(key, self.store.describe())

    def _demand_same(self, key: str, encoded: Encoded) -> None:
        found = self.store.head(key).metadata
        if (found.get(DIGEST), found.get(LENGTH)) != (encoded.sha256, str(encoded.length)):
            message = (
                f"{key} in {self.store.describe()} holds other log (SHA-256 {found.get(DIGEST)}) than the server sends "
                f"({encoded.sha256}); nothing is overwritten. Another server writes the same timeline, or this one was "
                "set back: promote it to a new timeline"
            )
            raise SafetyStop(StorageReason.LOG_CONFLICT, message)

    def _verify(self, key: str, size: int, digest: str) -> None:
        found = hashlib.sha256()
        for start in range(0, size, WINDOW_BYTES):  # one after the other: memory matters more than speed here
            for piece in self.store.stream(key, start=start, end=min(start + WINDOW_BYTES, size)):
                found.update(piece)
        if found.hexdigest() != digest:
            message = f"{key} in {self.store.describe()} reads back otherwise than it was written"
            raise WorldFault(StorageReason.UPLOAD_CORRUPT, message)
