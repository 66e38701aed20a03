"""What holds for every run that a person made: it says until when it may start, and not for long."""

from __future__ import annotations

from datetime import datetime, timedelta

from databosun.controllers.seen import Meta
from databosun.domain.run import Doomed

LONGEST_NOT_AFTER = timedelta(days=1)


def hand_made(kind: str, meta: Meta, not_after: datetime | None, *, tried: bool, now: datetime) -> Doomed | None:
    """Why a run made by hand can never start; None where it may."""
    if not_after is None:
        return Doomed("InvalidSpec", f"spec.notAfter is missing; a {kind} made by hand needs it, at most a day ahead")
    if not tried and now >= not_after:
        return Doomed("NotStarted", f"its notAfter {not_after.isoformat()} is over; nothing was started")
    if not_after > meta.created + LONGEST_NOT_AFTER:
        message = f"spec.notAfter is {not_after.isoformat()}; expected at most a day after the object's creation"
        return Doomed("InvalidSpec", message)
    return None
