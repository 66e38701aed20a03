"""Room on the scratch volume: counted before it is needed, and while it is used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from databosun.api.quantities import humanize_bytes
from databosun.domain.errors import UserFault
from databosun.engines.postgresql.reasons import Reason


def available(scratch: Path, limit: int | None) -> int:
    """Bytes that may still be written: what the file system has free, and what is left of the volume's own limit."""
    free = shutil.disk_usage(scratch).free
    return free if limit is None else max(0, min(free, limit - used(scratch)))


def used(folder: Path) -> int:
    """Bytes of the files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total


def demand(scratch: Path, limit: int | None, needed: int, why: str) -> None:
    """UserFault(ScratchTooSmall) where there is less than `needed`."""
    free = available(scratch, limit)
    if free < needed:
        raise too_small(
            scratch, f"{humanize_bytes(free)} of scratch is free at {scratch}, but {why} needs {humanize_bytes(needed)}"
        )


def too_small(scratch: Path, said: str) -> UserFault:
    """The refusal, with what to do."""
    return UserFault(
        Reason.SCRATCH_TOO_SMALL,
        f"{said}; raise podTemplate.scratch.size, or name a storage class with room for {scratch}",
    )
