"""A folder (a mounted volume) as object store, with a bucket's semantics: whole objects or none, conditional writes.

An object appears by `link` (conditional) or `rename` (not), once its bytes were flushed to disk; the folder is flushed
after it. User metadata lies in a sidecar file that is written first, both under one lock, so that no object appears
with none or another's; a sidecar without its object is what a crash may leave, and means nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from databosun.domain.errors import WorldFault
from databosun.storage.port import (
    PART_BYTES,
    AlreadyExists,
    Buffer,
    Checksums,
    Head,
    ObjectInfo,
    ObjectMissing,
    Retention,
    Undeleted,
)
from databosun.storage.reasons import StorageReason
from databosun.storage.volume_errors import fault_of, no_folder, no_locks
from databosun.storage.volume_files import SIDECAR, TemporaryFile, flush_folder, locked, sidecar

TEMPORARY = ".databosun-tmp"
LOCK = ".databosun-lock"
WINDOW_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which an object may appear: nothing there, or still that one."""

    absent: bool = False
    etag: str | None = None


class VolumeStore:
    """`ObjectStore` on a folder. `root` must exist; keys become paths below it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def describe(self) -> str:
        """The folder."""
        return f"volume folder {self._root}"

    def url(self, key: str) -> str:
        """`file:///path`."""
        return self._path(key).as_uri()

    def put(
        self,
        key: str,
        data: bytes | bytearray,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        retention: Retention | None = None,
    ) -> None:
        """Write a small object in one step."""
        if retention:
            raise no_locks(self.describe())
        self._put(key, data, metadata, Condition(absent=if_absent))

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """Overwrite an object only if it is still the one that was read."""
        self._put(key, data, None, Condition(etag=etag))

    def open_writer(self, key: str, *, max_bytes: int, metadata: Mapping[str, str] | None = None) -> VolumeWriter:
        """Start to write one object beside its place."""
        return self._start(key, metadata, Condition())

    def get(self, key: str, *, limit: int) -> bytes:
        """A small object whole."""
        with self._faults(key), self._path(key).open("rb") as file:
            # Never `limit` itself: Python allocates what it is asked to read before it looks at the file.
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        if len(data) > limit:
            message = f"{key} in {self.describe()} is larger than the {limit} bytes that were expected"
            raise WorldFault(StorageReason.TOO_LARGE, message)
        return data

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[Buffer]:
        """The bytes as the disk has them: cached pages are dropped first, so that a read-back proves something."""
        with self._faults(key), self._path(key).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(start)
            left = (os.fstat(file.fileno()).st_size if end is None else end) - start
            while left > 0 and (data := file.read(min(WINDOW_BYTES, left))):
                left -= len(data)
                yield data
        if left > 0:
            message = f"{key} in {self.describe()} ended {left} bytes early"
            raise WorldFault(StorageReason.UPLOAD_CORRUPT, message)

    def head(self, key: str) -> Head:
        """Size, time, etag and user metadata."""
        path = self._path(key)
        with self._faults(key):
            found = path.stat()
            metadata: dict[str, str] = {}
            with contextlib.suppress(FileNotFoundError):
                metadata = json.loads(sidecar(path).read_text())
        etag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
        return Head(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), etag, metadata)

    def checksums(self, key: str) -> Checksums:
        """A folder keeps none."""
        return Checksums()

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects below a folder."""
        top = self._path(prefix)
        for folder, below, names in os.walk(top, onerror=self._listing_failed):
            below[:] = sorted(name for name in below if name != TEMPORARY)
            for name in sorted(names):
                if name == LOCK or name.endswith(SIDECAR):
                    continue
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                if after is not None and key <= after:
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted while we list
                    found = path.stat()
                    yield ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders right below."""
        try:
            with self._faults(prefix), os.scandir(self._path(prefix)) as found:
                return tuple(sorted(entry.name for entry in found if entry.is_dir() and entry.name != TEMPORARY))
        except ObjectMissing:
            return ()

    def delete(self, keys: Iterable[str]) -> tuple[Undeleted, ...]:
        """Delete objects, then the folders that are empty after it."""
        refused = []
        for key in keys:
            path = self._path(key)
            try:
                path.unlink(missing_ok=True)
                sidecar(path).unlink(missing_ok=True)
                self._prune(path.parent)
            except OSError as error:
                refused.append(Undeleted(key, f"{self.describe()} does not delete {key}: {error.strerror}"))
        return tuple(refused)

    def retain(self, key: str, retention: Retention) -> None:
        """A folder cannot lock."""
        raise no_locks(self.describe())

    def locked_until(self, key: str) -> datetime | None:
        """Never locked."""
        self.head(key)
        return None

    @property
    def tiered(self) -> None:
        """A folder has no classes of storage."""
        return None

    def abort_uploads(self, prefix: str, *, before: datetime, sparing: Sequence[str] = ()) -> tuple[str, ...]:
        """Remove what writers that died have left in the temporary folder; their keys are not known any more."""
        gone = []
        folder = self._root / TEMPORARY
        for path in folder.glob("*") if folder.is_dir() else ():
            with self._faults(prefix), contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    gone.append(f"{TEMPORARY}/{path.name}")
        return tuple(gone)

    def _put(self, key: str, data: bytes | bytearray, metadata: Mapping[str, str] | None, condition: Condition) -> None:
        writer = self._start(key, metadata, condition)
        try:
            writer.write(data)
            writer.close()
        finally:
            writer.abort()

    def _start(self, key: str, metadata: Mapping[str, str] | None, condition: Condition) -> VolumeWriter:
        with self._faults(key):
            file = TemporaryFile.create(self._root / TEMPORARY)
        return VolumeWriter(self, key, file, dict(metadata or {}), condition)

    def publish(self, key: str, file: TemporaryFile, metadata: Mapping[str, str], condition: Condition) -> None:
        """Make a finished file appear under its key; for writers."""
        path = self._path(key)
        with self._faults(key):
            file.flush()
            self._make_folder(path.parent)
            with locked(self._root / LOCK):
                if condition.absent and path.exists():
                    raise AlreadyExists(key, self.describe())
                if condition.etag and self.head(key).etag != condition.etag:
                    raise AlreadyExists(key, self.describe())
                self._write_sidecar(sidecar(path), metadata)
                try:
                    file.appear(path, exclusively=condition.absent)
                except FileExistsError as error:  # by someone who does not know our lock
                    raise AlreadyExists(key, self.describe()) from error
            flush_folder(path.parent)

    def _write_sidecar(self, path: Path, metadata: Mapping[str, str]) -> None:
        if not metadata:
            path.unlink(missing_ok=True)
            return
        file = TemporaryFile.create(self._root / TEMPORARY)
        try:
            file.write(json.dumps(dict(metadata), sort_keys=True).encode())
            file.flush()
            file.appear(path, exclusively=False)
        finally:
            file.discard()
        flush_folder(path.parent)

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and those above it so that a crash does not lose them."""
        missing = [folder, *folder.parents]
        missing = missing[: missing.index(self._root)]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                flush_folder(path.parent)

    def _prune(self, folder: Path) -> None:
        while folder not in {self._root, self._root.parent}:
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY}:
                    return
                raise
            folder = folder.parent

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self._root.is_dir():
                raise no_folder(self.describe()) from error
            raise ObjectMissing(key, self.describe()) from error
        except OSError as error:
            raise fault_of(self.describe(), key, error) from error

    def _listing_failed(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise fault_of(self.describe(), str(error.filename), error) from error

    def _path(self, key: str) -> Path:
        if not key or any(part in {"", ".", "..", TEMPORARY} for part in key.split("/")) or key.endswith(SIDECAR):
            msg = f"{key!r} is no key; expected a relative path of plain names"
            raise ValueError(msg)
        return self._root / key


class VolumeWriter:
    """`ObjectWriter` on a temporary file of the same file system."""

    part_bytes = PART_BYTES

    def __init__(
        self, store: VolumeStore, key: str, file: TemporaryFile, metadata: dict[str, str], condition: Condition
    ) -> None:
        self._store = store
        self._key = key
        self._file = file
        self._metadata = metadata
        self._condition = condition

    def write(self, data: Buffer) -> None:
        """Append."""
        try:
            self._file.write(data)
        except OSError as error:
            raise fault_of(self._store.describe(), self._key, error) from error

    def close(self) -> None:
        """Flush to disk and appear."""
        try:
            self._store.publish(self._key, self._file, self._metadata, self._condition)
        finally:
            self._file.discard()

    def abort(self) -> None:
        """Remove the temporary file."""
        self._file.discard()
