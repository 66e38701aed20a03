"""What still holds a person after an erasure: the backups that were taken before, and when the last of them goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.v1alpha1.erasurerequest import ErasureRemains
from databosun.domain.erasure import MARGIN

NEVER, UNKNOWN, CLEARED = "Never", "Unknown", "Cleared"


@dataclass(frozen=True, slots=True)
class Kept:
    """One backup whose data lie in a store. `at`: the instant that it shows; `for_ever`: why it never expires."""

    name: str
    at: datetime
    expires: datetime | None = None
    for_ever: str | None = None
    newest: bool = False


def not_looked(now: datetime) -> ErasureRemains:
    """What is said until somebody has looked: never that nothing is left."""
    return ErasureRemains(at=now.replace(microsecond=0), cleared_after=UNKNOWN, backups=0, lasting=[])


def remains(kept: Sequence[Kept], verified: datetime, now: datetime) -> ErasureRemains:
    """Total and deterministic. One for ever outweighs all; one without a date outweighs those that have one."""
    holding = sorted((one for one in kept if one.at <= verified + MARGIN), key=lambda one: (one.at, one.name))
    lasting = [f"{one.name}: {one.for_ever}" for one in holding if one.for_ever]
    undated = [
        f"{one.name}: {'it is the newest; the next one lets it go' if one.newest else 'no date is known yet'}"
        for one in holding
        if not one.for_ever and one.expires is None
    ]
    dates = [one.expires for one in holding if one.expires is not None]
    if lasting:
        cleared = NEVER
    elif undated:
        cleared = UNKNOWN
    else:
        cleared = max(dates).isoformat().replace("+00:00", "Z") if dates else CLEARED
    return ErasureRemains(
        at=now.replace(microsecond=0), cleared_after=cleared, backups=len(holding), lasting=[*lasting, *undated]
    )
