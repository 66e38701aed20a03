"""Unpacks the archives of a physical backup: decompression in a thread, files written in the caller's.

Decompressed bytes go from one buffer straight into the file, without a pipe in between; both sides let go of the
interpreter lock. An archive may only hold folders and regular files below its own root: what else it names is refused.
"""

from __future__ import annotations

import queue
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.files import FileWriter
from databosun.engines.postgresql.tarstream import TarWalk

BUFFER_BYTES = 1024 * 1024
BUFFERS = 6
READ_BYTES = 1024 * 1024
_TABLESPACES = "pg_tblspc"


class Readable(Protocol):
    """Where compressed bytes come from."""

    name: str

    def read(self, size: int = 0) -> bytes | bytearray | memoryview:
        """The next bytes; empty at the end."""
        ...


class Unpacking:
    """Writes the members of one archive below a folder that is empty or holds other archives' files.

    `walk` is fed the uncompressed archive. SafetyStop(UnsafeArchive) for paths that lead elsewhere, links and devices.
    """

    def __init__(self, what: str, root: Path) -> None:
        self._what = what
        self._root = root
        self._file = FileWriter()
        self._folders: set[str] = {""}
        self.walk = TarWalk(what, self._content, self._begin)

    def close(self) -> None:
        """Demand that the archive was whole."""
        self._file.close()
        self.walk.close()

    def dispose(self) -> None:
        """Close what is open."""
        self._file.dispose()

    def _begin(self, member: tarfile.TarInfo) -> None:
        self._file.close()
        path = self._safe(member.name)
        if member.isdir():
            self._folder(path)
        elif member.isreg():
            self._folder(path.rpartition("/")[0])
            self._file.open(self._root / path, member.size)
        elif not (member.issym() and path.startswith(f"{_TABLESPACES}/")):
            # Links of tablespaces are made anew, to places of ours; nothing else in a data directory is a link.
            raise self._refuse(member.name, "is no plain file or folder")

    def _content(self, _name: str, data: memoryview) -> None:
        self._file.write(data)

    def _folder(self, path: str) -> None:
        if path not in self._folders:
            self._folder(path.rpartition("/")[0])
            (self._root / path).mkdir(mode=0o700, exist_ok=True)
            self._folders.add(path)

    def _safe(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts or "\0" in name or (not parts and name.strip("./")):
            raise self._refuse(name, "leads out of the folder that it is unpacked in")
        return "/".join(parts)

    def _refuse(self, name: str, why: str) -> SafetyStop:
        message = f"{self._what}: member {name!r} {why}; the server never writes such archives, so somebody else did"
        return SafetyStop(Reason.UNSAFE_ARCHIVE, message)


def unpack(source: Readable, root: Path, pulse: Callable[[], None] = lambda: None) -> int:
    """Unpack one `.tar.zst`, or `.tar` by its name, below `root`; returns the bytes of the uncompressed archive.

    `pulse` is called now and then, and may raise. SafetyStop (UnsafeArchive, ArtefactCorrupt) and what `source` raises.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    unpacking = Unpacking(source.name, root)
    inflating = _Plain(source) if source.name.endswith(".tar") else _Inflating(source)
    try:
        while (buffer := inflating.next()) is not None:
            unpacking.walk.write(buffer)
            inflating.give_back(buffer)
            pulse()
        unpacking.close()
        return unpacking.walk.bytes
    except WorldFault as fault:
        # What cannot be read today was read when the backup was taken; trying again does not mend it.
        if fault.reason != Reason.FORMAT_CHECK_FAILED:
            raise
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, fault.message) from fault
    finally:
        unpacking.dispose()
        inflating.end()


def inflate(source: Readable, limit: int = 1024**3) -> bytes:
    """A small compressed artefact whole. SafetyStop(ArtefactCorrupt) where it is none, or larger than `limit`."""
    inflating = _Inflating(source)
    out = bytearray()
    try:
        while (buffer := inflating.next()) is not None:
            out += buffer
            inflating.give_back(buffer)
            if len(out) > limit:
                raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"{source.name} is larger than {limit} bytes")
    finally:
        inflating.end()
    return bytes(out)


class _Plain:
    """An archive that is not compressed as a whole."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    def next(self) -> memoryview | None:
        """The next bytes, None at the end."""
        return memoryview(data) if (data := self._source.read()) else None

    def give_back(self, view: memoryview) -> None:
        """Nothing is kept."""

    def end(self) -> None:
        """Nothing runs."""


class _Inflating:
    """Decompresses in a thread into a ring of buffers."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._free: queue.Queue[bytearray | None] = queue.Queue()
        self._full: queue.Queue[memoryview | BaseException | None] = queue.Queue()
        for _ in range(BUFFERS):
            self._free.put(bytearray(BUFFER_BYTES))
        self._thread = threading.Thread(target=self._work, name=f"unpack {source.name}", daemon=True)
        self._thread.start()

    def next(self) -> memoryview | None:
        """The next decompressed bytes, None at the end. Raises what the thread ran into."""
        item = self._full.get()
        if isinstance(item, zstandard.ZstdError):
            message = f"{self._source.name}: the zstd stream cannot be read: {item}"
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, message) from item
        if isinstance(item, BaseException):
            raise item
        return item

    def give_back(self, view: memoryview) -> None:
        """Say that a buffer may be filled again."""
        self._free.put(cast("bytearray", view.obj))

    def end(self) -> None:
        """Have the thread stop; it may still wait for the source, whose end wakes it."""
        self._free.put(None)

    def _work(self) -> None:
        try:
            source = cast("IO[bytes]", self._source)
            reader = zstandard.ZstdDecompressor().stream_reader(
                source, read_size=READ_BYTES, read_across_frames=True, closefd=False
            )
            while (buffer := self._free.get()) is not None:
                count = _fill(reader, buffer)
                if count:
                    self._full.put(memoryview(buffer)[:count])
                if count < BUFFER_BYTES:
                    self._full.put(None)
                    return
        except BaseException as error:
            self._full.put(error)


def _fill(reader: zstandard.ZstdDecompressionReader, buffer: bytearray) -> int:
    filled = 0
    view = memoryview(buffer)
    while filled < len(buffer) and (count := reader.readinto(view[filled:])):
        filled += count
    return filled
