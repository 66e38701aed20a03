"""Room on the scratch volume, counted before it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault


def demand_room(scratch: Path, limit: int | None, needed: int, why: str) -> None:
    """UserFault(ScratchTooSmall) where there is less than `needed`."""
    free = shutil.disk_usage(scratch).free
    free = free if limit is None else min(free, limit)
    if free < needed:
        message = (
            f"{humanize_bytes(free)} of scratch is free at {scratch}, but {why} needs {humanize_bytes(needed)}; raise "
            "podTemplate.scratch.size"
        )
        raise UserFault(Reason.SCRATCH_TOO_SMALL, message)
