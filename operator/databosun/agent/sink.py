"""The agent's Sink: all artefacts of one attempt, two of them under way at most."""

from __future__ import annotations

import threading
from collections.abc import Callable

from databosun.agent.pipeline import Lane, PipelineWriter, Stored
from databosun.agent.reasons import AgentReason
from databosun.agent.upload import put_verified
from databosun.domain.errors import WorldFault
from databosun.engines.base import StreamCheck
from databosun.storage.names import artefact_name

OPEN_ARTEFACTS = 2


class PipelineSink:
    """`Sink` of `engines/base.py`. A thread has one artefact open at a time; a third thread waits while two are."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(OPEN_ARTEFACTS)
        self._heavy = threading.Lock()
        self._open: dict[int, PipelineWriter] = {}
        self._names: set[str] = set()
        self._stored: list[Stored] = []

    def open(self, name: str, *, compress: bool, check: Callable[[], StreamCheck] | None = None) -> PipelineWriter:
        """Start an artefact. WorldFault, UserFault; Stopped once the agent stops."""
        self._lane.stop.check()
        me = threading.get_ident()
        with self._lock:
            if me in self._open:
                msg = f"{self._open[me].name} must be finished before the same thread opens {name}"
                raise RuntimeError(msg)
        self._claim(name)
        self._slots.acquire()
        try:
            writer = PipelineWriter(self._lane, name, self._heavy, compress=compress, check=check, done=self._done)
        except BaseException:  # also an interrupt: the slot must be given back
            self._slots.release()
            raise
        with self._lock:
            self._open[me] = writer
        writer.start()
        return writer

    def put_plain(self, name: str, data: bytes) -> None:
        """Store a small file unencrypted, in one object of its own name."""
        self._lane.stop.check()
        self._claim(name)
        written = put_verified(self._lane.store, f"{self._lane.folder}/{name}", data)
        with self._lock:
            self._stored.append(
                Stored(
                    name,
                    len(data),
                    len(data),
                    written.sha256,
                    (written,),
                    encrypted=False,
                    plain=True,
                    folder=self._lane.folder,
                )
            )

    def progress(self, stage: str, *, total_bytes: int | None = None) -> None:
        """Say what is being done. Stopped once the agent stops: engines call this while they wait for the database."""
        self._lane.stop.check()
        self._lane.progress.stage(stage, total_bytes=total_bytes)

    def close(self) -> tuple[Stored, ...]:
        """All artefacts, in the order of their completion. RuntimeError where the engine left one unfinished."""
        with self._lock:
            if self._open:
                msg = f"never finished: {', '.join(sorted(writer.name for writer in self._open.values()))}"
                raise RuntimeError(msg)
            return tuple(self._stored)

    def abort(self) -> None:
        """Throw away whatever is under way; harmless where nothing is."""
        with self._lock:
            writers = list(self._open.values())
        for writer in writers:
            writer.abort(WorldFault(AgentReason.ABORTED, f"{writer.name} was given up because the backup failed"))

    def _claim(self, name: str) -> None:
        with self._lock:
            if artefact_name(name) in self._names:
                msg = f"{name} was stored already in this attempt"
                raise RuntimeError(msg)
            self._names.add(name)

    def _done(self, writer: PipelineWriter, stored: Stored | None) -> None:
        with self._lock:
            owner = next((thread for thread, known in self._open.items() if known is writer), None)
            if owner is None:
                return
            del self._open[owner]
            if stored:
                self._stored.append(stored)
        self._slots.release()
