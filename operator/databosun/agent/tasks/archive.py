"""Ship a database's log, for as long as the pod lives.

Three threads: the receiver (this one), the shipper, and the one that says every half of `maxLag` how far the store is,
whatever the other two wait for. Only a SafetyStop ends it by itself: someone must look before anything is written.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from databosun.agent.children import Children
from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.agent.stop import Stop
from databosun.agent.stores import open_store
from databosun.agent.walretry import Drained
from databosun.agent.walship import Shipper, ShipPlan
from databosun.agent.walstore import WalBucket
from databosun.api.archive import POSITION_EVENT, PositionLine
from databosun.api.backuptasks import ArchiveTask
from databosun.api.result import Outcome, Result
from databosun.domain.wal import parse_lsn
from databosun.engines.archiving import ArchivePlan, ArchiveState
from databosun.engines.base import Target
from databosun.engines.registry import load_archiver
from databosun.storage.owner import demand_ownership
from databosun.storage.port import Retention

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
NEWS_SECONDS = 5.0
SHIP_SECONDS = 10.0  # of the grace that `main` gives a task to unwind


def run(ctx: Context) -> Result:
    """Archive until the agent is told to stop; then ship what is open, and say how far that went."""
    task = ctx.request.job
    if not isinstance(task, ArchiveTask):
        raise TypeError(task)
    archiver = load_archiver(ctx.database.engine)
    return_freed_memory()
    ctx.started = True
    ending = Stop()  # the programs of the last shipment must outlive the signal that asks for it
    children = Children(ending, ctx.log.redactor)
    stop = threading.Event()
    ctx.stop.subscribe(lambda _: stop.set())
    state = ArchiveState(PositionLine(database_uid=task.database_uid), ctx.clock)
    interval = 0.0 if task.synchronous else task.max_lag_seconds / 2
    shipper = Shipper(
        ShipPlan(interval, lambda system: _open_bucket(ctx, children, system)),
        state,
        ctx.log,
        stop,
        lambda _: stop.set(),
    )
    plan = ArchivePlan(
        target=lambda: _target(ctx),
        stop=stop,
        cluster_id=ctx.storage.cluster_id,
        namespace=ctx.storage.namespace,
        max_lag=task.max_lag_seconds,
        max_retained=task.max_retained_bytes,
        allow_unbounded_slot=task.allow_unbounded_slot,
        synchronous=task.synchronous,
        heartbeat=task.heartbeat_seconds,
    )
    try:
        with _reporting(ctx, state, task.max_lag_seconds / 2):
            try:
                archiver.archive(plan, shipper, state)
            except Drained:
                ctx.log.warning("stopped", message="the agent was told to stop while the store did not answer")
            whole = shipper.finish(SHIP_SECONDS)
        if shipper.failure is not None:
            raise shipper.failure
    finally:
        ending.set(AgentReason.INTERRUPTED, "the archiver has ended")
    message = "" if whole else "what the store did not take in time is kept by the server"
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, message=message)


def return_freed_memory() -> None:
    """Have the C library give large blocks back at once: by default it keeps up to 32 MiB each for later, by thread.

    A segment passes through several such blocks in several threads, and an archiver lives for months.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
        mallopt(_M_ARENA_MAX, 2)


def _open_bucket(ctx: Context, children: Children, system_identifier: str) -> WalBucket:
    ctx.log.redactor.learn(ctx.secrets.values())
    store = open_store(ctx.storage, ctx.secrets, ctx.paths.volume, hasty=True)
    demand_ownership(store, ctx.layout, ctx.claimant)
    folder = ctx.layout.wal(system_identifier, ctx.database.engine)
    return WalBucket(store, folder, children, ctx.storage.age_recipients, _lock_until(ctx))


def _lock_until(ctx: Context) -> Callable[[], Retention | None]:
    def until() -> Retention | None:
        lock = ctx.storage.immutable
        return Retention(lock.mode, ctx.clock() + timedelta(seconds=lock.seconds)) if lock else None

    return until


def _target(ctx: Context) -> Target:
    ctx.log.redactor.learn(ctx.secrets.values())
    return ctx.read_target()


@contextmanager
def _reporting(ctx: Context, state: ArchiveState, every: float) -> Iterator[None]:
    """Say the position every so often, at once where what it says is news, and a last time at the end."""
    done = threading.Event()

    def say() -> None:
        told, at = None, time.monotonic()
        while not done.wait(min(every, NEWS_SECONDS)):
            line = position(state)
            news = _news(line)
            if news != told or time.monotonic() - at >= every - NEWS_SECONDS / 10:
                told, at = news, time.monotonic()
                ctx.log.document(POSITION_EVENT, line.dump())

    thread = threading.Thread(target=say, name="position", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        ctx.log.document(POSITION_EVENT, position(state).dump())


def _news(line: PositionLine) -> tuple[object, ...]:
    """What the operator should not have to wait for."""
    trouble = line.trouble.reason if line.trouble else None
    return trouble, line.gaps, line.system_identifier, line.host, line.recoverable_at is None


def position(state: ArchiveState) -> PositionLine:
    """The line as it is said: what lies between the server's end and the store's is worked out here."""
    line = state.snapshot()
    if line.server_lsn is None or line.lsn is None or line.behind_bytes is not None:
        return line
    return line.model_copy(update={"behind_bytes": max(0, parse_lsn(line.server_lsn) - parse_lsn(line.lsn))})
