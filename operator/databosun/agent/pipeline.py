"""One artefact: plaintext -> format check -> zstd -> age -> hash -> volumes -> multipart upload -> read back.

Every stage hands on with back-pressure, so memory is bounded whatever the size: 8 MiB of plaintext, one pipe on each
side of age, and per upload at most `UPLOADS_IN_FLIGHT` parts plus the one being filled. Threads of an artefact: the
engine's own, which hands over chunks; `encode`, which checks, compresses and feeds age or the upload; `collect`, only
with age, which reads age and feeds the upload.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from databosun.agent.channel import Channel, Coalescer
from databosun.agent.children import Children
from databosun.agent.encode import Age, Identity, Zstd
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.stop import Stop, Stopped
from databosun.agent.upload import VolumeUpload
from databosun.domain.errors import WorldFault
from databosun.engines.base import StreamCheck
from databosun.storage.layout import VOLUME_BYTES
from databosun.storage.names import stored_name
from databosun.storage.port import Buffer, ObjectStore
from databosun.storage.verify import Written

CHUNKS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """One artefact, uploaded and read back. `parts`: its volumes in order; a plain file has one, under its own name."""

    name: str
    bytes: int
    stored_bytes: int
    sha256: str
    parts: tuple[Written, ...]
    encrypted: bool
    plain: bool = False
    folder: str = ""

    def part_name(self, part: Written) -> str:
        """A part's name within the attempt's folder."""
        return part.key.removeprefix(f"{self.folder}/")


@dataclass(frozen=True, slots=True)
class Lane:
    """What all artefacts of one attempt share. `folder` is the attempt's own."""

    store: ObjectStore
    folder: str
    recipients: Sequence[str]
    children: Children
    stop: Stop
    progress: Progress
    volume_bytes: int = VOLUME_BYTES


class PipelineWriter:
    """`ArtefactWriter` of `engines/base.py`: one artefact on its way."""

    def __init__(
        self,
        lane: Lane,
        name: str,
        heavy: threading.Lock,
        *,
        compress: bool,
        check: Callable[[], StreamCheck] | None,
        done: Callable[[PipelineWriter, Stored | None], None],
    ) -> None:
        self.name = name
        self._lane = lane
        self._done = done
        self._check = check() if check else None
        self._zip = Zstd() if compress else Identity()
        self._age = Age(lane.children, lane.recipients) if lane.recipients else None
        self._upload = VolumeUpload(
            lane.store,
            lane.folder,
            stored_name(name, encrypted=bool(lane.recipients)),
            heavy,
            volume_bytes=lane.volume_bytes,
        )
        self._coalescer = Coalescer()
        self._channel = Channel(CHUNKS_AHEAD)
        self._bytes = 0
        self._logical: int | None = None
        self._digest: str | None = None
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._guard, args=(self._encode,), name=f"{name}-encode", daemon=True)]
        if self._age:
            self._threads.append(
                threading.Thread(target=self._guard, args=(self._collect,), name=f"{name}-collect", daemon=True)
            )
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to move bytes."""
        for thread in self._threads:
            thread.start()
        self._unsubscribe = self._lane.stop.subscribe(self._stopped)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next plaintext bytes, which may be overwritten afterwards; blocks while storage is slower."""
        self._bytes += len(data)
        self._lane.progress.add(len(data))
        for chunk in self._coalescer.feed(data):
            self._hand_over(chunk)

    def finish(self, *, logical_bytes: int | None = None) -> None:
        """End the stream: format check, rest of the upload, read back. After a failure it is no artefact."""
        for chunk in self._coalescer.flush():
            self._hand_over(chunk)
        self._hand_over(None)
        for thread in self._threads:
            thread.join()
        try:
            self._raise()
            self._upload.verify(self._lane.stop.check)
        except BaseException as error:  # also an interrupt: the begun upload must not stay
            self.abort(error)
            raise
        self._let_go()
        self._done(self, self._record(logical_bytes))

    def abort(self, error: BaseException) -> None:
        """Give up: end the programs, wake and join the threads, throw away the upload."""
        self._fail(error)
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident:
                thread.join()
        self._let_go()
        try:
            self._upload.abort()
        finally:
            self._done(self, None)

    def _let_go(self) -> None:
        self._unsubscribe()
        if self._age:
            self._age.dispose()

    def _record(self, logical_bytes: int | None) -> Stored:
        if self._digest is None:
            msg = f"{self.name} ended without a digest"
            raise AssertionError(msg)
        logical = next((size for size in (logical_bytes, self._logical) if size is not None), self._bytes)
        volumes = tuple(self._upload.volumes)
        encrypted = self._age is not None
        return Stored(
            self.name, logical, self._upload.bytes, self._digest, volumes, encrypted, folder=self._lane.folder
        )

    def _hand_over(self, chunk: Buffer | None) -> None:
        try:
            self._channel.put(chunk)
        except BaseException as error:  # also an interrupt: the begun upload must not stay
            self.abort(error)
            self._raise()
            raise

    def _encode(self) -> None:
        send = self._age.feed if self._age else self._upload.feed
        while (chunk := self._channel.get()) is not None:
            if self._check:
                self._check.feed(memoryview(chunk))
            send(self._zip.feed(chunk))
        send(self._zip.flush())
        if self._check:
            self._logical = self._check.close()
        if self._age:
            self._age.close()
        else:
            self._digest = self._upload.finish()

    def _collect(self) -> None:
        age = self._age
        if age is None:
            return
        for chunk in age.read():
            self._upload.feed(chunk)
        age.ended()
        # Ciphertext is longer than its plaintext: a program that ended well with less did not encrypt all of it.
        if not age.closed or self._upload.bytes_fed < age.bytes:
            message = f"age ended after {self._upload.bytes_fed} bytes, without having read all of the plaintext"
            raise WorldFault(AgentReason.ENCRYPTION_FAILED, message)
        if self._failure is None:
            self._digest = self._upload.finish()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # carried to the writer: this is a thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._channel.fail(error)
        if self._age:
            self._age.kill()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _stopped(self, error: Stopped) -> None:
        self._fail(error)
