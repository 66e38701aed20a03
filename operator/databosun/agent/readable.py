"""Whether a backup can be read now: what a bucket moved to an archive class cannot, before it is thawed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from databosun.agent.chain import Member
from databosun.agent.context import Context
from databosun.domain.errors import DatabosunError, UserFault
from databosun.storage.locks import AT_ONCE
from databosun.storage.reasons import StorageReason

SHOWN = 3


def demand_readable(ctx: Context, members: Sequence[Member]) -> None:
    """UserFault(ObjectArchived) where one of the volumes cannot be read, named before the first byte is fetched.

    A volume is asked for its first byte: that is what a thawed one answers, and no listing tells.
    """
    if ctx.store.tiered is None:
        return
    keys = [key for member in members for key in _volumes(member)]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="readable") as pool:
        archived = list(pool.map(lambda key: _archived(ctx, key), keys))
    cold = [key for key, one in zip(keys, archived, strict=True) if one]
    if not cold:
        return
    ids = " ".join(member.manifest.id for member in members)
    shown = f"{', '.join(cold[:SHOWN])}{' …' if len(cold) > SHOWN else ''}"
    message = (
        f"{len(cold)} of {len(keys)} volumes of {ids} lie in an archive class in {ctx.store.describe()} and cannot be"
        f" read: {shown}; thaw them all (s3api restore-object: up to 5 h from GLACIER, 12 h from DEEP_ARCHIVE) and"
        " start again, or take a newer backup"
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


def _archived(ctx: Context, key: str) -> bool:
    """What else is wrong with it, reading it says better."""
    try:
        for _ in ctx.store.stream(key, start=0, end=1):
            pass
    except DatabosunError as error:
        return error.reason == StorageReason.ARCHIVED
    return False
