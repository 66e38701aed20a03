"""What still holds a person after an erasure: backups from before, what the stores hold besides, and until when."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.v1alpha1.erasurerequest import ErasureRemains, StoreSearch
from databosun.domain.erasure import MARGIN

NEVER, UNKNOWN, CLEARED = "Never", "Unknown", "Cleared"
NEWEST = "it is the newest; the next one lets it go"
UNDER_WAY = "it is being taken since before the erasure"
_NO_DATE = "no date is known yet"


@dataclass(frozen=True, slots=True)
class Kept:
    """One backup whose data lie in a store, or are on their way there. `at`: the instant that they were begun to be
    taken; `for_ever`: why it never expires; `undated`: why it has no date."""

    name: str
    at: datetime
    expires: datetime | None = None
    for_ever: str | None = None
    undated: str | None = None


def copy_mark(database: str, backup_id: str) -> str:
    """What stands for one backup where there are too many to name. Of 48 bits: that one of 12,000 stands for another
    backup, too, has a chance of one in 10 to the power of 10."""
    return hashlib.sha256(f"{database}/{backup_id}".encode()).hexdigest()[:12]


def holds(at: datetime, verified: datetime) -> bool:
    """Whether data that somebody began to take at `at` may hold a person whose erasure was verified at `verified`."""
    return at <= verified + MARGIN


def not_looked(now: datetime) -> ErasureRemains:
    """What is said until somebody has looked: never that nothing is left."""
    return ErasureRemains(at=now.replace(microsecond=0), cleared_after=UNKNOWN, backups=0, lasting=[])


def remains(
    kept: Sequence[Kept],
    verified: datetime,
    now: datetime,
    searches: Sequence[StoreSearch] = (),
    there: Collection[str] = (),
) -> ErasureRemains:
    """Total and deterministic. One for ever outweighs all; one without a date outweighs those that have one.

    `searches`: what is known of the stores; none: no store was looked through. `there`: the places that a BackupStorage
    names.
    """
    holding = sorted((one for one in kept if holds(one.at, verified)), key=lambda one: (one.at, one.name))
    lasting = [f"{one.name}: {one.for_ever}" for one in holding if one.for_ever]
    lasting += [text for one in searches if (text := _lasting(one))]
    undated = [f"{one.name}: {one.undated or _NO_DATE}" for one in holding if not one.for_ever and one.expires is None]
    for one in searches:
        undated += _undated(one, there, objects=bool(holding))
    if not searches:
        undated.append("no BackupStorage was looked through yet for what no Backup object stands for")
    dates = [one.expires for one in holding if one.expires is not None]
    if lasting:
        cleared = NEVER
    elif undated:
        cleared = UNKNOWN
    else:
        cleared = max(dates).isoformat().replace("+00:00", "Z") if dates else CLEARED
    return ErasureRemains(
        at=now.replace(microsecond=0),
        cleared_after=cleared,
        backups=len(holding),
        unrecorded=sum(one.copies for one in searches),
        lasting=[*lasting, *undated],
        stores=list(searches),
    )


def proven(found: ErasureRemains) -> bool:
    """Whether it was proven that nothing holds the person: an earlier release counted objects alone."""
    return found.cleared_after == CLEARED and bool(found.stores)


def _lasting(search: StoreSearch) -> str | None:
    if not search.copies:
        return None
    named = f" ({', '.join(search.named)})" if search.named else ""
    return f"BackupStorage {search.storage}: {search.copies} backups that no Backup object stands for{named}"


def _undated(search: StoreSearch, there: Collection[str], *, objects: bool) -> Iterator[str]:
    where = f"BackupStorage {search.storage}"
    if search.place not in there:
        yield f"{where}: it does not name {search.place} any more, and what lies there cannot be looked at"
    elif search.error is not None:
        yield f"{where}: not looked through: {search.error}"
    elif search.at is None or (search.known and not objects):
        yield f"{where}: it is still to be looked through"
    if search.leftovers:
        named = f" ({', '.join(search.named)})" if search.named and not search.copies else ""
        yield f"{where}: data of {search.leftovers} failed or half-deleted runs{named}, which the sweep takes away"
    for log in search.logs:
        yield f"{where}: {log}"
