"""Prove that a storage does what backups rely on, and claim this namespace's part of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from databosun.agent.context import Context
from databosun.agent.encode import Age
from databosun.agent.reasons import AgentReason
from databosun.api.result import Outcome, Result, StorageResult
from databosun.api.targets import Immutable
from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.layout import BackupId, Layout
from databosun.storage.owner import claim
from databosun.storage.port import AlreadyExists, ObjectMissing, ObjectStore, Retention
from databosun.storage.reasons import StorageReason

LOCK_SECONDS = 60
COUNT_SECONDS = 60.0
LEFTOVERS_AFTER = timedelta(minutes=10)


def run(ctx: Context) -> Result:
    """Exercise the store, lock an object where asked; then count what is there, for a minute at most."""
    with ctx.phase("keys"):
        _ = ctx.signing_key
        _check_recipients(ctx)
    with ctx.phase("claim"):
        claimed = claim(ctx.store, ctx.layout, ctx.claimant, ctx.clock())
    ctx.started = True
    token = BackupId(secrets.token_hex(8))
    with ctx.phase("check"):
        _remove_leftovers(ctx)
        check_store(ctx.store, ctx.layout, token)
        if ctx.storage.immutable:
            _check_lock(ctx, ctx.storage.immutable, f"lock-{token}")
    with ctx.phase("count"):
        objects, size, whole = count(ctx.store, ctx.layout.root)
    message = "" if whole else f"usage is of the first {objects} objects: counting them took a minute"
    found = StorageResult(owner=claimed.cluster_id, adopted=claimed.adopted, objects=objects, bytes=size)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, message=message, storage=found)


def check_store(store: ObjectStore, layout: Layout, token: str) -> None:
    """Exercise every operation that backups rely on, on one small object. UserFault, WorldFault."""
    key, data = layout.check(token), token.encode()
    store.put(key, data, if_absent=True, metadata={"databosun-check": token})
    try:
        _demand_condition(store, key)
        if store.get(key, limit=len(data)) != data:
            raise _strange(store, f"{key} read back other than it was written")
        if store.head(key).metadata.get("databosun-check") != token:
            raise _strange(store, f"{key} lost its user metadata")
        if key not in {one.key for one in store.list(layout.check(token).rpartition("/")[0])}:
            raise _strange(store, f"{key} is not listed right after it was written")
    finally:
        refused = store.delete([key])
    for one in refused:
        message = f"{one.message}; grant delete, or retention and clean-up cannot work"
        raise UserFault(StorageReason.ACCESS_DENIED, message)
    try:
        store.head(key)
    except ObjectMissing:
        return
    raise _strange(store, f"{key} is still there after it was deleted")


def count(
    store: ObjectStore, root: str, *, seconds: float = COUNT_SECONDS, monotonic: Callable[[], float] = time.monotonic
) -> tuple[int, int, bool]:
    """Number and bytes of the objects below a folder, and whether that is all of them."""
    objects = size = 0
    until = monotonic() + seconds
    for one in store.list(root):
        objects += 1
        size += one.size
        if objects % 1000 == 0 and monotonic() > until:
            return objects, size, False
    return objects, size, True


def _demand_condition(store: ObjectStore, key: str) -> None:
    try:
        store.put(key, b"overwritten", if_absent=True)
    except AlreadyExists:
        return
    message = (
        f"{store.describe()} overwrites an object that was to be written only if absent: it ignores "
        "`If-None-Match: *`, so that two agents could overwrite each other's backups; use a store that honours it"
    )
    raise UserFault(StorageReason.UNSAFE, message)


def _check_lock(ctx: Context, immutable: Immutable, name: str) -> None:
    """A minute's lock must refuse a delete; the object goes at a later validation."""
    key = ctx.layout.check(name)
    until = ctx.clock() + timedelta(seconds=LOCK_SECONDS)
    ctx.store.put(key, b"locked", retention=Retention(immutable.mode, until))
    if ctx.store.locked_until(key) is None or not ctx.store.delete([key]):
        message = (
            f"{ctx.store.describe()} deletes an object that is locked until {until.isoformat()}: object lock is not in "
            "force; create the bucket with it, and do not let this user bypass governance"
        )
        raise UserFault(StorageReason.LOCK_UNSUPPORTED, message)


def _remove_leftovers(ctx: Context) -> None:
    folder = ctx.layout.check("x").rpartition("/")[0]
    old = ctx.clock() - LEFTOVERS_AFTER
    ctx.store.delete([one.key for one in ctx.store.list(folder) if one.modified < old])


def _check_recipients(ctx: Context) -> None:
    """age must accept every recipient before a backup relies on it."""
    if not ctx.storage.age_recipients:
        return
    age = Age(ctx.children, ctx.storage.age_recipients)
    try:
        age.feed(b"databosun")
        age.close()
        size = sum(len(chunk) for chunk in age.read())
        age.ended()
    finally:
        age.dispose()
    if not size:
        raise WorldFault(AgentReason.ENCRYPTION_FAILED, "age wrote nothing")


def _strange(store: ObjectStore, what: str) -> WorldFault:
    return WorldFault(StorageReason.FAILED, f"{store.describe()} does not keep what it is given: {what}")
