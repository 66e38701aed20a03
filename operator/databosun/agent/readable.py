"""Whether a backup can be read now: what a bucket moved to an archive class cannot, before it is thawed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from databosun.agent.chain import Member
from databosun.agent.context import Context
from databosun.api.quantities import format_duration
from databosun.api.tiering import ThawOrder
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.tiering import thaw_time
from databosun.storage.locks import AT_ONCE
from databosun.storage.reasons import StorageReason
from databosun.storage.tiering import Tiered

SHOWN = 3
LOOK_EVERY = 60.0  # seconds
T = TypeVar("T")


def demand_readable(ctx: Context, members: Sequence[Member]) -> None:
    """UserFault(ObjectArchived) where one of the volumes cannot be read, named before the first byte is fetched."""
    have_readable(ctx, members, None)


def have_readable(ctx: Context, members: Sequence[Member], thaw: ThawOrder | None) -> Sequence[str]:
    """Thaw what lies in an archive class, where that was asked for, and wait until all can be read; a note of it.

    A volume is asked for its first byte: that is what a thawed one answers, and no listing tells. A thaw that is under
    way goes on without us: what another attempt asked for is not asked for twice. UserFault(ObjectArchived).
    """
    store = ctx.store.tiered
    if store is None:
        return ()
    keys = [key for member in members for key in _volumes(member)]
    cold = _cold(ctx, keys)
    if not cold:
        return ()
    ids = " ".join(member.manifest.id for member in members)
    shown = f"{', '.join(cold[:SHOWN])}{' …' if len(cold) > SHOWN else ''}"
    lying = f"{len(cold)} of {len(keys)} volumes of {ids} lie in an archive class in {ctx.store.describe()}"
    if thaw is None:
        message = (
            f"{lying} and cannot be read: {shown}; a Restore with spec.thaw thaws them (up to 5 h from GLACIER, 12 h"
            " from DEEP_ARCHIVE); or take a newer backup"
        )
        raise UserFault(StorageReason.ARCHIVED, message)
    _demand_time(ctx, store, members, thaw, lying)
    began = time.monotonic()
    _at_once(cold, lambda key: store.thaw(key, thaw.speed, thaw.days))
    ctx.log.info("thawing", volumes=len(cold), speed=str(thaw.speed), days=thaw.days)
    left = cold
    while left := _cold(ctx, left):
        ctx.progress.stage(f"waiting for the thaw of {len(left)} of {len(cold)} volumes")
        _rest(ctx, LOOK_EVERY)
    took = format_duration(timedelta(seconds=round(time.monotonic() - began)))
    return (f"{len(cold)} volumes were thawed first ({thaw.speed}), which took {took}",)


def _demand_time(ctx: Context, store: Tiered, members: Iterable[Member], thaw: ThawOrder, lying: str) -> None:
    """A thaw is paid for: none is begun that cannot end before the attempt does."""
    classes = {one for member in members for one in store.classes(member.folder.root).values()}
    longest, left = thaw_time(classes, thaw.speed), ctx.request.deadline - ctx.clock()
    if longest is None:
        message = f"{lying}, and DEEP_ARCHIVE knows no {thaw.speed}; set spec.thaw.speed to Standard or Bulk"
        raise UserFault(StorageReason.ARCHIVED, message)
    if longest > left:
        message = (
            f"{lying}; a thaw ({thaw.speed}) takes up to {format_duration(longest)}, and this attempt ends in"
            f" {format_duration(timedelta(seconds=int(left.total_seconds())))}: raise spec.deadline"
        )
        raise UserFault(StorageReason.ARCHIVED, message)


def _volumes(member: Member) -> list[str]:
    manifest = member.manifest
    return [
        member.folder.stored(manifest.attempt, part.name)
        for artefact in manifest.artefacts
        for part in artefact.parts
        if part.bytes
    ]


def _cold(ctx: Context, keys: Sequence[str]) -> list[str]:
    archived = _at_once(keys, lambda key: _archived(ctx, key))
    return [key for key, one in zip(keys, archived, strict=True) if one]


def _archived(ctx: Context, key: str) -> bool:
    """What else is wrong with it, reading it says better."""
    try:
        for _ in ctx.store.stream(key, start=0, end=1):
            pass
    except DatabosunError as error:
        return error.reason == StorageReason.ARCHIVED
    return False


def _at_once(keys: Sequence[str], do: Callable[[str], T]) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="readable") as pool:
        return list(pool.map(do, keys))


def _rest(ctx: Context, seconds: float) -> None:
    woken = threading.Event()
    ended = ctx.stop.subscribe(lambda _: woken.set())
    woken.wait(seconds)
    ended()
    ctx.stop.check()
