"""Which store is looked through next for copies from before an erasure, and when; and what is said of it.

A look counts from the instant at which it was ordered. `Cleared` rests on looks that left nothing out: those that were
ordered when no Backup object held the person any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.remains import RemainsResult
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.erasurerequest import StoreSearch
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted

AGAIN = timedelta(days=1)
"""How often a store is looked through that holds copies, once no Backup object does."""
WHILE_DATED = timedelta(days=30)
"""How often while Backup objects hold the person anyway: for the date alone."""
MOST_STORES = 32
AFTER_FAILURES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Store:
    """A place that a BackupStorage of the namespace names. `root`: how locations in it begin, where they tell."""

    place: str
    storage: str
    validated: bool
    root: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """The store to be looked through, or when one is."""

    search: StoreSearch | None = None
    at: datetime | None = None


def seen_stores(known: Sequence[StoreSearch], there: Iterable[Store], strayed: Iterable[Store]) -> list[StoreSearch]:
    """What is known of each place: of those there are, and of those that are gone and may still hold copies.

    `strayed`: places that backups with objects lie in and no BackupStorage names any more.
    """
    now = {store.place: store for store in there}
    roots = {store.root for store in now.values()} - {None}
    by_place = {one.place: one for one in known}
    gone = [one for one in known if one.place not in now and one.place not in roots and _may_hold(one)]
    for store in strayed:
        if store.place not in by_place and store.place not in roots and store.place not in now:
            gone.append(StoreSearch(place=store.place, storage=store.storage, validated=True))
            by_place[store.place] = gone[-1]
    found = [
        by_place.get(store.place, StoreSearch(place=store.place, storage=store.storage)).model_copy(
            update={"storage": store.storage, "validated": store.validated or _validated(by_place.get(store.place))}
        )
        for store in now.values()
    ]
    gone = [one.model_copy(update={"under_way": False}) for one in gone]
    return [_within(number, one) for number, one in enumerate(sorted([*found, *gone], key=_order))]


def strayed(
    locations: Iterable[tuple[str, str]], namespace: str, there: Collection[Store], storages: Collection[str]
) -> list[Store]:
    """The places of these locations that no BackupStorage names any more; a location that tells no place is left out.

    `locations`: a BackupStorage's name, and where something lies that was written through it.
    """
    roots = {store.root for store in there}
    found: dict[str, Store] = {}
    for storage, location in locations:
        root, inside, _ = location.partition(f"/{namespace}/")
        if not inside or "://" not in root or root in roots:
            continue
        # The path of a volume is the pod's own: it tells no claim from another.
        if root.startswith("s3://") or storage not in storages:
            found[root] = Store(root, storage, validated=True)
    return list(found.values())


def next_search(searches: Sequence[StoreSearch], there: Collection[str], holding: int, now: datetime) -> Due:
    """One store at a time. `holding`: Backup objects that hold the person."""
    present = [one for one in searches[:MOST_STORES] if one.place in there]
    for one in present:
        if one.under_way:
            return Due(one)
    waiting = sorted(
        ((at, number) for number, one in enumerate(present) if (at := _due(one, holding, now)) is not None),
        key=lambda pair: pair[0],
    )
    if not waiting:
        return Due()
    at, number = waiting[0]
    return Due(present[number]) if at <= now else Due(at=at)


def ordered(search: StoreSearch, excluded: int, now: datetime) -> StoreSearch:
    """As it is once a Job is told to look. The last error stays until there is another word."""
    update = {"under_way": True, "tried": now.replace(microsecond=0), "asked": excluded, "tries": search.tries + 1}
    return search.model_copy(update=update)


def searched(search: StoreSearch, found: RemainsResult) -> StoreSearch:
    """As it is once a Job has looked."""
    return StoreSearch(
        place=search.place,
        storage=search.storage,
        validated=search.validated,
        tried=search.tried,
        at=search.tried,
        known=search.asked,
        copies=found.copies,
        leftovers=found.leftovers,
        named=found.named,
        logs=found.logs,
    )


def not_searched(search: StoreSearch, why: str, now: datetime) -> StoreSearch:
    """As it is once a look has come to nothing; what an earlier one found still counts."""
    update = {"under_way": False, "error": why[:4096]}
    if not search.under_way:
        update |= {"tried": now.replace(microsecond=0), "tries": search.tries + 1}
    return search.model_copy(update=update)


def searches_condition(searches: Sequence[StoreSearch], there: Collection[str], holding: int) -> Wanted:
    """Whether the stores were looked through; where one was not, why, and what is to be done."""
    kind = ConditionType.STORES_SEARCHED
    gone = [one for one in searches if one.place not in there]
    if gone:
        one = gone[0]
        message = (
            f"copies that hold the person may lie in {one.place}, which BackupStorage {one.storage} named and none"
            " names now; create a BackupStorage for it, so that it can be looked through"
        )
        return Wanted(kind, False, str(Reason.STORE_GONE), message)
    failed = [one for one in searches if one.error is not None]
    if failed:
        one = failed[0]
        message = f"BackupStorage {one.storage} could not be looked through: {one.error}; it is tried again by itself"
        return Wanted(kind, False, str(Reason.STORE_NOT_SEARCHED), message)
    left = [one for one in searches if one.at is None or (one.known and not holding)]
    if left or not searches:
        named = f"BackupStorage {left[0].storage}" if left else "every BackupStorage"
        return Wanted(kind, None, str(Reason.SEARCHING), f"{named} is looked through next")
    message = f"{len(searches)} stores were looked through, the first at {min(_at(one) for one in searches)}"
    return Wanted(kind, True, str(Reason.STORES_SEARCHED), message)


def _due(one: StoreSearch, holding: int, now: datetime) -> datetime | None:
    """When it is looked through next; None: never again."""
    if one.tries and one.tried is not None:
        return _after(one.tried, AFTER_FAILURES[min(one.tries, len(AFTER_FAILURES)) - 1], now)
    if one.at is None:
        return now
    if holding:
        return _after(one.at, WHILE_DATED, now)
    if one.known:
        return now
    return _after(one.at, AGAIN, now) if one.copies or one.leftovers or one.logs else None


def _after(then: datetime, wait: timedelta, now: datetime) -> datetime:
    """A clock that was set back must not put it off."""
    return then + wait if then <= now else now


def _order(one: StoreSearch) -> tuple[str, str]:
    return one.storage, one.place


def _within(number: int, one: StoreSearch) -> StoreSearch:
    if number < MOST_STORES:
        return one
    error = f"the namespace has more than {MOST_STORES} stores, and no more are looked through"
    return one.model_copy(update={"error": error})


def _may_hold(one: StoreSearch) -> bool:
    """Whether something from before may lie where nobody can look any more."""
    if one.at is None:
        return one.validated
    return bool(one.known or one.copies or one.leftovers or one.logs)


def _validated(one: StoreSearch | None) -> bool:
    return one is not None and one.validated


def _at(one: StoreSearch) -> str:
    return one.at.strftime("%Y-%m-%dT%H:%M:%SZ") if one.at is not None else ""
