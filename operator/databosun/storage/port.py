"""The object-store port: what Databosun asks of a bucket or of a folder, and the errors it gets.

Errors say who must act: `UserFault` (credentials, grants, bucket, certificate authority; the message names endpoint,
bucket and Secret), `WorldFault` (unreachable, throttled, broken; the adapter's library has retried already, within
bounds), `AlreadyExists` and `ObjectMissing` where the caller has to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from databosun.domain.errors import SafetyStop, WorldFault
from databosun.storage.reasons import StorageReason
from databosun.storage.tiering import Tiered

PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 10_000  # of one multipart upload: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
UPLOADS_IN_FLIGHT = 6
# Below this, reading an object back costs less than loading the library that asks the server for its checksums.
DOWNLOAD_BELOW = 64 * 1024 * 1024

Buffer = bytes | bytearray | memoryview


class AlreadyExists(SafetyStop):
    """A conditional write found an object in its place."""

    def __init__(self, key: str, where: str) -> None:
        super().__init__(
            StorageReason.ALREADY_EXISTS, f"{key} exists already in {where}, and was to be written only if absent"
        )
        self.key = key


class ObjectMissing(WorldFault):
    """An object is not there."""

    def __init__(self, key: str, where: str) -> None:
        super().__init__(StorageReason.MISSING, f"{key} is not there in {where}")
        self.key = key


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """One object without its bytes."""

    key: str
    size: int
    modified: datetime
    etag: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checksums:
    """What the server itself computed. `composite`: `<hex SHA-256 over the parts' digests>-<count of parts>`."""

    sha256: str | None = None
    composite: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """Object lock: nobody deletes the object before `until` (Governance: nobody without a special grant)."""

    mode: Literal["Governance", "Compliance"]
    until: datetime


@dataclass(frozen=True, slots=True)
class Undeleted:
    """An object that the store would not delete."""

    key: str
    message: str
    locked_until: datetime | None = None


class ObjectWriter(Protocol):
    """One object on its way, visible only after `close`. `write` keeps what it is given: never change it afterwards."""

    @property
    def part_bytes(self) -> int:
        """Size of one uploaded part; the last one may be smaller. An object within one part is sent as a whole."""
        ...

    def write(self, data: Buffer) -> None:
        """Take the next bytes; blocks while `UPLOADS_IN_FLIGHT` parts are under way."""
        ...

    def close(self) -> None:
        """Send the rest and make the object appear, whole. On an error nothing appears and the upload is aborted."""
        ...

    def abort(self) -> None:
        """Throw away what was sent. Harmless after `close` or a second time."""
        ...


class ObjectStore(Protocol):
    """A bucket or a folder. Keys are relative paths with `/`; safe to use from several threads."""

    def describe(self) -> str:
        """Where this is, for messages: endpoint and bucket, or folder."""
        ...

    def url(self, key: str) -> str:
        """The key as people write it: `s3://bucket/key` or `file:///path`."""
        ...

    def put(
        self,
        key: str,
        data: bytes | bytearray,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        retention: Retention | None = None,
    ) -> None:
        """Write a small object in one step. AlreadyExists where `if_absent` and something is there."""
        ...

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """Overwrite an object only if it is still the one that was read. AlreadyExists where it is another by now."""
        ...

    def open_writer(self, key: str, *, max_bytes: int, metadata: Mapping[str, str] | None = None) -> ObjectWriter:
        """Start to stream one object of at most `max_bytes`; parts grow where 10,000 of the usual size would not do."""
        ...

    def get(self, key: str, *, limit: int) -> bytes:
        """A small object whole. ObjectMissing; WorldFault(ObjectTooLarge) above `limit` bytes."""
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[Buffer]:
        """The bytes from `start` to before `end`, in order, in bounded pieces. ObjectMissing."""
        ...

    def head(self, key: str) -> Head:
        """Size, time, etag and user metadata. ObjectMissing."""
        ...

    def checksums(self, key: str) -> Checksums:
        """The checksums that the server keeps; both absent where it keeps none."""
        ...

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects below a folder, page by page, in no order to rely on; only keys that sort after `after`."""
        ...

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders right below a folder, sorted."""
        ...

    def delete(self, keys: Iterable[str]) -> tuple[Undeleted, ...]:
        """Delete objects with all their versions; a missing one is no error. Says which were refused, and why."""
        ...

    def retain(self, key: str, retention: Retention) -> None:
        """Lock an object until an instant; a longer lock stays. UserFault where the store cannot."""
        ...

    def locked_until(self, key: str) -> datetime | None:
        """Until when an object is locked; None where it is not, or where the store knows no locks. ObjectMissing."""
        ...

    @property
    def tiered(self) -> Tiered | None:
        """The same store with its classes of storage; None where it has none."""
        ...

    def abort_uploads(self, prefix: str, *, before: datetime, sparing: Sequence[str] = ()) -> tuple[str, ...]:
        """Throw away unfinished uploads from before an instant, none below the folders `sparing`; says which."""
        ...


def part_bytes_for(max_bytes: int) -> int:
    """The part size that keeps an object of `max_bytes` within 10,000 parts: 16 MiB, or more in whole MiB."""
    mebibyte = 1024 * 1024
    needed = -(-max_bytes // MAX_PARTS)
    return max(PART_BYTES, -(-needed // mebibyte) * mebibyte)
