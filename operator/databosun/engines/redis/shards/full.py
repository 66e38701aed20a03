"""A full backup of a cluster: the RDB of every shard, all begun together, each slot once.

The copies go to scratch first: all of them are read at once, so that their instants lie close together, and no server
is kept waiting for the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from databosun.api.quantities import humanize_bytes
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Captured, Plan, Sink, Target
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.full import STAGE, demand_fresh, reached_by
from databosun.engines.redis.rdb import RdbCheck
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.shards.look import Shards, Source
from databosun.engines.redis.shards.record import Copied, Stored, captured_of
from databosun.engines.redis.sync import full_sync

_LOOK_SECONDS = 0.5
_READ_BYTES = 1024 * 1024


class _Ended(Exception):
    """Another copy failed: this one is of no use any more."""


@dataclass
class _Copying:
    """All copies of one attempt, each in a thread of its own; the first that fails ends the others."""

    target: Target
    plan: Plan
    folder: Path
    gate: threading.Barrier
    errors: list[BaseException] = field(default_factory=list)
    written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def copy(self, source: Source) -> Copied | None:
        """One shard; None where it failed, or another one did."""
        try:
            return self._copy(source)
        except BaseException as error:  # carried to whoever waits: this is a thread
            with self._lock:
                self.errors.append(error)
            self.gate.abort()
            return None

    def fail(self, error: BaseException) -> None:
        """From outside."""
        with self._lock:
            self.errors.append(error)
        self.gate.abort()

    def _copy(self, source: Source) -> Copied:
        target, facts = self.target, source.facts
        demand_fresh(facts)
        master = reached_by(target, facts, self._pulse)
        file = self.folder / source.artefact.partition("/")[0]
        with open_wire(target, facts.endpoint, self._pulse) as wire, file.open("wb") as out, guarded("copying a shard"):
            self._together()
            keep = self._keeper(out)
            synced = full_sync(wire, facts, target.credentials.username, self.plan.deadline, keep)
        return Copied(source, file, synced, master)

    def _together(self) -> None:
        """Wait until all are ready to be copied."""
        left = (self.plan.deadline - datetime.now(UTC)).total_seconds()
        try:
            self.gate.wait(timeout=max(0.0, left))
        except threading.BrokenBarrierError as error:
            self._pulse()
            message = "the shards were not ready to be copied together in time"
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message) from error

    def _keeper(self, out: BinaryIO) -> Callable[[memoryview], object]:
        def keep(data: memoryview) -> None:
            self._pulse()  # bytes that never stop leave no time in which it would be called
            with self._lock:
                self.written += len(data)
                written = self.written
            limit = self.plan.scratch_bytes
            if limit is not None and written > limit:
                message = (
                    f"the copies of the shards have outgrown the scratch volume ({humanize_bytes(limit)}); the backup "
                    "of a cluster needs about as much as its data: raise podTemplate.scratch.size"
                )
                raise UserFault(Reason.SCRATCH_TOO_SMALL, message)
            out.write(data)

        return keep

    def _pulse(self) -> None:
        if self.errors:
            raise _Ended
        if datetime.now(UTC) >= self.plan.deadline:
            message = f"the run's deadline {self.plan.deadline.isoformat()} has passed; raise spec.deadline"
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message)


def back_up_shards(target: Target, shards: Shards, plan: Plan, sink: Sink) -> Captured:
    """Copy from the nodes that were chosen, which must be fit for it. WorldFault(ClusterChanged) and others."""
    with guarded("writing to scratch"), TemporaryDirectory(prefix="shards-", dir=plan.scratch) as folder:
        copied = _copy_all(target, shards, plan, sink, Path(folder))
        shards.demand_unchanged(lambda: sink.progress(STAGE))
        stored = [_store(one, plan, sink) for one in copied]
    return captured_of(target, plan, stored)


def _copy_all(target: Target, shards: Shards, plan: Plan, sink: Sink, folder: Path) -> list[Copied]:
    sources = shards.sources
    copying = _Copying(target, plan, folder, threading.Barrier(len(sources)))
    with ThreadPoolExecutor(len(sources)) as pool:
        waiting: set[Future[Copied | None]] = {pool.submit(copying.copy, one) for one in sources}
        futures = set(waiting)
        try:
            while waiting:
                sink.progress(STAGE)
                waiting = wait(waiting, timeout=_LOOK_SECONDS).not_done
        except BaseException as error:
            copying.fail(error)  # the threads end by it within a second
            raise
    if copying.errors:
        raise copying.errors[0]
    found = [one for one in (future.result() for future in futures) if one is not None]
    return sorted(found, key=lambda one: one.source.shard.master.slots[0])


def _store(copied: Copied, plan: Plan, sink: Sink) -> Stored:
    """Check it and hand it on; its place on scratch is free then."""
    source = copied.source
    check = RdbCheck(source.artefact, names=plan.fingerprints, slots=source.shard.master.slots)
    writer = sink.open(source.artefact, compress=True, check=lambda: check)
    with guarded("reading back from scratch"), copied.file.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            sink.progress(STAGE)
            writer.write(piece)
    writer.finish()
    os.unlink(copied.file)
    return Stored(copied, check.facts)
