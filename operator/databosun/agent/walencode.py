"""The open WAL segment on its way: hashed and compressed as it arrives, so that shipping it costs only the last bytes.

What is stored is a row of zstd frames, one for each time the segment was shipped: `zstd -d` reads them as one stream.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from databosun.agent.children import Children
from databosun.agent.encode import ZSTD_LEVEL, Age
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import WalPoint, next_file, segment_name
from databosun.storage.reasons import StorageReason


@dataclass(frozen=True, slots=True)
class Known:
    """A part of a segment that the store has: up to `end`, with that digest of the plaintext."""

    end: int
    sha256: str


@dataclass(slots=True)
class Encoded:
    """A segment, or its open part. `sha256` and `length`: of the plaintext. `sealed`: encrypted in place by now.

    `last`: the server's file ends in it, after `length` bytes. `mark`: where a stream behind it may be resumed.
    """

    timeline: int
    number: int
    begin: int
    end: WalPoint
    full: bool
    sha256: str
    length: int
    data: bytes | bytearray
    sealed: bool = False
    last: bool = False
    mark: str | None = None

    @property
    def data_end(self) -> int | None:
        """What its name says beside the segment: where its data ends, unless it is filled."""
        return self.end.lsn if not self.full else self.begin + self.length if self.last else None

    @property
    def next_file(self) -> int | None:
        """What its name says besides: where the next file begins, unless that is the one of the next number."""
        return self.end.lsn if self.last and self.end.lsn != next_file(self.begin) else None


class OpenSegment:
    """One segment being filled. Used by one thread at a time."""

    def __init__(self, at: WalPoint, segment_bytes: int, known: Known | None = None, mark: str | None = None) -> None:
        self._begin = at
        self._mark = mark
        self._size = segment_bytes
        self._known = known
        self._digest = hashlib.sha256()
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._frame: zstandard.ZstdCompressionObj | None = None
        self._stored = bytearray()
        self.end = at.lsn

    @property
    def encoded_bytes(self) -> int:
        """Bytes held for it."""
        return len(self._stored)

    @property
    def begin(self) -> int:
        """Its first position."""
        return self._begin.lsn

    @property
    def number(self) -> int:
        """Which segment it is."""
        return self._begin.lsn // self._size

    @property
    def room(self) -> int:
        """Bytes until it is full."""
        return self._begin.lsn + self._size - self.end

    def write(self, data: memoryview) -> None:
        """Take the next bytes. SafetyStop where they contradict what the store has of this segment."""
        known = self._known
        if known and self.end < known.end <= self.end + len(data):
            self._digest.update(data[: known.end - self.end])
            self._compare(known)
            self._digest.update(data[known.end - self.end :])
        else:
            self._digest.update(data)
        self.end += len(data)
        self._frame = self._frame or self._compressor.compressobj()
        self._stored += self._frame.compress(data)

    def encode(self, *, next_at: WalPoint | None = None, mark: str | None = None) -> Encoded:
        """All of it so far. A full segment is handed over as it is: nothing is written to it any more.

        `next_at`: the server's file ends here, and the log goes on there. `mark`: of a full one, where it may be
        resumed behind it; an open one has to be sent anew from its beginning.
        """
        if next_at is not None and self._frame is None and not self._stored:
            self._frame = self._compressor.compressobj()  # a file that ended with the segment before: no bytes, framed
        if self._frame:
            self._stored += self._frame.flush()
            self._frame = None
        full = self.room == 0 or next_at is not None
        return Encoded(
            timeline=self._begin.timeline,
            number=self.number,
            begin=self._begin.lsn,
            end=next_at or WalPoint(self._begin.timeline, self.end),
            full=full,
            sha256=self._digest.hexdigest(),
            length=self.end - self._begin.lsn,
            data=self._stored if full else bytes(self._stored),
            last=next_at is not None,
            mark=mark if full else self._mark,
        )

    def _compare(self, known: Known) -> None:
        if self._digest.hexdigest() != known.sha256:
            name = segment_name(self._begin.timeline, self.number, self._size)
            message = (
                f"the server's segment {name} differs from what the store has of it: the server was set back, or "
                "another one writes the same timeline; nothing is overwritten. Promote the server to a new timeline"
            )
            raise SafetyStop(StorageReason.LOG_CONFLICT, message)


def encrypt(children: Children, recipients: Sequence[str], data: bytes | bytearray) -> bytearray:
    """Through the `age` program."""
    age = Age(children, recipients)
    fault: list[BaseException] = []

    def feed() -> None:
        try:
            age.feed(data)
            age.close()
        except BaseException as error:  # carried to the thread that waits
            fault.append(error)

    feeder = threading.Thread(target=feed, name="age-feed", daemon=True)
    feeder.start()
    try:
        encrypted = bytearray()  # grows in place; joining pieces would take twice the memory
        for piece in age.read():
            encrypted += piece
        age.ended()
        feeder.join()
        if fault:
            raise fault[0]
        return encrypted
    finally:
        age.kill()
        feeder.join()
        age.dispose()
