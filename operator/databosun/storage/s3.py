"""An S3 bucket as object store, through obstore; what obstore lacks is in `s3_extra`."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.storage.port import (
    DOWNLOAD_BELOW,
    UPLOADS_IN_FLIGHT,
    AlreadyExists,
    Buffer,
    Checksums,
    Head,
    ObjectInfo,
    ObjectMissing,
    Retention,
    Undeleted,
    part_bytes_for,
)
from databosun.storage.reasons import StorageReason
from databosun.storage.s3_errors import Place, fault_of, refusal_of
from databosun.storage.s3_extra import S3Extra
from databosun.storage.s3_tiers import S3Tiers
from databosun.storage.tiering import Tiered

if TYPE_CHECKING:
    pass
from databosun.storage.s3_access import S3Access, open_store

WINDOW_BYTES = 8 * 1024 * 1024
WINDOWS_AHEAD = 6
# Known attributes that obstore returns beside the user's own metadata.
_ATTRIBUTES = {
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Cache-Control",
    "Storage-Class",
}


class S3ObjectStore:
    """`ObjectStore` on an S3 bucket. Every upload carries SHA-256 checksums that the server verifies on arrival."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._place = access.place
        self._store = open_store(access)
        self._extra = S3Extra(access)
        self._tiers = S3Tiers(self._extra)

    def describe(self) -> str:
        """Bucket and endpoint."""
        return str(self._place)

    def url(self, key: str) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self._access.target.bucket}/{key}"

    def put(
        self,
        key: str,
        data: bytes | bytearray,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        retention: Retention | None = None,
    ) -> None:
        """Write a small object in one request."""
        if retention:
            self._extra.put_locked(key, data, if_absent=if_absent, metadata=metadata or {}, retention=retention)
            return
        with self._faults(key):
            obstore.put(
                self._store,
                key,
                data,
                mode="create" if if_absent else "overwrite",
                attributes=dict(metadata or {}),
                use_multipart=False,
            )

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """Overwrite an object only if its etag is still this one."""
        with self._faults(key):
            obstore.put(self._store, key, data, mode={"e_tag": etag}, use_multipart=False)

    def open_writer(self, key: str, *, max_bytes: int, metadata: Mapping[str, str] | None = None) -> S3Writer:
        """Start a multipart upload; within one part it becomes a single request."""
        part = self._access.part_bytes or part_bytes_for(max_bytes)
        raw = obstore.open_writer(
            self._store, key, buffer_size=part, max_concurrency=UPLOADS_IN_FLIGHT, attributes=dict(metadata or {})
        )
        return S3Writer(raw, part, self._faults(key), self._extra)

    def get(self, key: str, *, limit: int) -> bytes:
        """A small object whole."""
        with self._faults(key):
            found = obstore.get(self._store, key)
            if found.meta["size"] > limit:
                message = f"{key} in {self._place} has {found.meta['size']} bytes; at most {limit} were expected"
                raise WorldFault(StorageReason.TOO_LARGE, message)
            return found.bytes().to_bytes()

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[Buffer]:
        """The bytes in ranges of 8 MiB, a few of them read ahead."""
        stop = self.head(key).size if end is None else end
        ahead: deque[Future[memoryview]] = deque()
        with ThreadPoolExecutor(WINDOWS_AHEAD, thread_name_prefix="s3-read") as pool:
            try:
                for at in range(start, stop, WINDOW_BYTES):
                    ahead.append(pool.submit(self._range, key, at, min(at + WINDOW_BYTES, stop)))
                    if len(ahead) >= WINDOWS_AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def head(self, key: str) -> Head:
        """Size, time, etag and user metadata."""
        with self._faults(key):
            found = obstore.get(self._store, key, options={"head": True})
            own = {str(name): value for name, value in found.attributes.items() if name not in _ATTRIBUTES}
            meta = found.meta
        return Head(key, meta["size"], meta["last_modified"], meta["e_tag"], own)

    def checksums(self, key: str) -> Checksums:
        """SHA-256 as the server keeps it."""
        return self._extra.checksums(key)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects below a folder; those before `after` are not even asked for."""
        with self._faults(prefix):
            for page in obstore.list(self._store, prefix, offset=after, chunk_size=1000):
                for meta in page:
                    yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders right below."""
        with self._faults(prefix):
            found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return tuple(sorted(path.rstrip("/").rpartition("/")[2] for path in found))

    def delete(self, keys: Iterable[str]) -> tuple[Undeleted, ...]:
        """Delete objects with all their versions."""
        return self._extra.delete(tuple(keys))

    def retain(self, key: str, retention: Retention) -> None:
        """Lock an object, or lengthen its lock."""
        self._extra.retain(key, retention)

    def locked_until(self, key: str) -> datetime | None:
        """Until when an object is locked."""
        return self._extra.locked_until(key)

    @property
    def tiered(self) -> Tiered:
        """A bucket has classes of storage; whether a server knows them, its own answers say."""
        return self._tiers

    def abort_uploads(self, prefix: str, *, before: datetime, sparing: Sequence[str] = ()) -> tuple[str, ...]:
        """Throw away unfinished multipart uploads."""
        return self._extra.abort_uploads(prefix, before=before, sparing=sparing)

    def _range(self, key: str, start: int, end: int) -> memoryview:
        with self._faults(key):
            found = memoryview(obstore.get_range(self._store, key, start=start, end=end))
        if len(found) != end - start:
            message = f"{key} in {self._place} ended at byte {start + len(found)}; {end} were expected"
            raise WorldFault(StorageReason.UPLOAD_CORRUPT, message)
        return found

    def _faults(self, key: str) -> _Faults:
        return _Faults(self._place, key)


class S3Writer:
    """`ObjectWriter` on an S3 multipart upload."""

    def __init__(self, raw: Any, part_bytes: int, faults: _Faults, extra: S3Extra) -> None:
        self._raw = raw
        self._extra = extra
        self._bytes = 0
        self._part_bytes = part_bytes
        self._faults = faults
        self._open = True

    @property
    def part_bytes(self) -> int:
        """Size of one part."""
        return self._part_bytes

    def write(self, data: Buffer) -> None:
        """Take the next bytes without copying them."""
        with self._faults:
            self._raw.write(data)
        small = self._bytes < DOWNLOAD_BELOW
        self._bytes += len(data)
        if small and self._bytes >= DOWNLOAD_BELOW:
            self._extra.warm()  # its checksums will be asked for

    def close(self) -> None:
        """Complete the upload; the library aborts it where that fails."""
        self._open = False
        with self._faults:
            self._raw.close()

    def abort(self) -> None:
        """Abort the upload. Where even that fails, the sweep finds what is left."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(BaseError, OSError):
            self._raw.__exit__(RuntimeError, RuntimeError("aborted"), None)


class _Faults(contextlib.AbstractContextManager[None]):
    """Turns the library's errors into ours; may be entered again and again, and by several threads."""

    def __init__(self, place: Place, key: str) -> None:
        self._place = place
        self._key = key

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BaseError | OSError) and not isinstance(error, DatabosunError):
            raise self._fault(error) from error

    def _fault(self, error: BaseException) -> DatabosunError:
        if isinstance(error, AlreadyExistsError | PreconditionError):
            return AlreadyExists(self._key, str(self._place))
        refusal = refusal_of(str(error))
        if isinstance(error, FileNotFoundError) and refusal.code != "NoSuchBucket":
            return ObjectMissing(self._key, str(self._place))
        return fault_of(refusal, self._place, self._key)
