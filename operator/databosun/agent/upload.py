"""One artefact's stored stream on its way into volumes: hashed, split at 32 GiB, uploaded, read back."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from databosun.agent.channel import Coalescer
from databosun.storage.layout import VOLUME_BYTES
from databosun.storage.names import volume_name
from databosun.storage.port import PART_BYTES, Buffer, ObjectStore, ObjectWriter
from databosun.storage.verify import Written, verify_object


class _Volume:
    """One object being written, with the digests over all of it and over each uploaded part."""

    def __init__(self, key: str, writer: ObjectWriter) -> None:
        self.key = key
        self.writer = writer
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self._part = hashlib.sha256()
        self._part_bytes = 0
        self._digests: list[bytes] = []

    def write(self, data: memoryview) -> None:
        self.bytes += len(data)
        self.sha256.update(data)
        rest = data
        while len(rest):
            room = self.writer.part_bytes - self._part_bytes
            self._part.update(rest[:room])
            self._part_bytes += min(room, len(rest))
            rest = rest[room:]
            if self._part_bytes == self.writer.part_bytes:
                self._end_part()
        self.writer.write(data)

    def close(self) -> Written:
        if self._part_bytes or not self._digests:
            self._end_part()
        self.writer.close()
        composite = f"{hashlib.sha256(b''.join(self._digests)).hexdigest()}-{len(self._digests)}"
        return Written(self.key, self.bytes, self.sha256.hexdigest(), composite)

    def _end_part(self) -> None:
        self._digests.append(self._part.digest())
        self._part = hashlib.sha256()
        self._part_bytes = 0


class VolumeUpload:
    """Splits a stream into volumes. Use from one thread; `abort` from any thread once that one has ended.

    `heavy` is held from the moment the stream outgrows one part: small uploads beside a large one stay within the
    memory bound, and large ones take turns.
    """

    def __init__(
        self, store: ObjectStore, folder: str, stored: str, heavy: threading.Lock, *, volume_bytes: int = VOLUME_BYTES
    ) -> None:
        self._store = store
        self._folder = folder
        self._stored = stored
        self._heavy = heavy
        self._volume_bytes = volume_bytes
        self._coalescer = Coalescer()
        self._volume: _Volume | None = None
        self._whole = (
            hashlib.sha256()
        )  # of the whole stream; fed only from the second volume on, until then the volume's own
        self._holds_heavy = False
        self.volumes: list[Written] = []
        self.bytes = 0
        self.bytes_fed = 0

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the stored stream; blocks while storage is slower."""
        self.bytes_fed += len(data)
        for chunk in self._coalescer.feed(data):
            self._write(memoryview(chunk))

    def finish(self) -> str:
        """Send the rest; returns the SHA-256 over the whole stream."""
        for chunk in self._coalescer.flush():
            self._write(memoryview(chunk))
        volume = self._volume or (None if self.volumes else self._open())
        if volume:
            self._close(volume)
        self._release()
        return self._whole.hexdigest()

    def verify(self, check: Callable[[], None]) -> None:
        """Read every volume back; `check` is called before each and may raise."""
        for written in self.volumes:
            check()
            verify_object(self._store, written)

    def abort(self) -> None:
        """Throw the unfinished volume away."""
        volume, self._volume = self._volume, None
        try:
            if volume:
                volume.writer.abort()
        finally:
            self._release()

    def _write(self, data: memoryview) -> None:
        while len(data):
            volume = self._volume or self._open()
            piece = data[: self._volume_bytes - volume.bytes]
            if not self._holds_heavy and volume.bytes + len(piece) >= volume.writer.part_bytes:
                self._heavy.acquire()
                self._holds_heavy = True
            volume.write(piece)
            if self.volumes:
                self._whole.update(piece)
            self.bytes += len(piece)
            data = data[len(piece) :]
            if volume.bytes == self._volume_bytes:
                self._close(volume)

    def _open(self) -> _Volume:
        key = f"{self._folder}/{volume_name(self._stored, len(self.volumes))}"
        self._volume = _Volume(key, self._store.open_writer(key, max_bytes=self._volume_bytes))
        return self._volume

    def _close(self, volume: _Volume) -> None:
        written = volume.close()
        self._volume = None
        if not self.volumes:
            self._whole = volume.sha256.copy()
        self.volumes.append(written)

    def _release(self) -> None:
        if self._holds_heavy:
            self._holds_heavy = False
            self._heavy.release()


def put_verified(store: ObjectStore, key: str, data: bytes) -> Written:
    """Write a small file in one object and read it back."""
    digest = hashlib.sha256(data)
    if len(data) <= PART_BYTES:
        store.put(key, data)
        written = Written(key, len(data), digest.hexdigest(), "")
    else:
        volume = _Volume(key, store.open_writer(key, max_bytes=len(data)))
        try:
            volume.write(memoryview(data))
            written = volume.close()
        except BaseException:  # also an interrupt: the begun upload must not stay
            volume.writer.abort()
            raise
    verify_object(store, written)
    return written
