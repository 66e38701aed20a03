"""Whatever backups and erasures there are: who was erased is repeated in all that is older, and in nothing younger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.remains import RemainsResult
from databosun.api.v1alpha1.erasurerequest import StoreSearch
from databosun.domain.erasure import MARGIN, subject_hash, to_repeat
from databosun.domain.remains import Kept, proven, remains
from databosun.domain.searching import (
    Store,
    next_search,
    not_searched,
    ordered,
    searched,
    searches_condition,
    seen_stores,
)
from unit.domain.test_erasure import erased

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLEAN = (StoreSearch(place="bucket b", storage="prod", validated=True, tried=NOW, at=NOW),)
THERE = frozenset({"bucket b"})
instants = st.integers(-10_000, 10_000).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(st.lists(st.none() | instants, max_size=8), instants)
def test_what_is_repeated_is_exactly_what_the_data_may_hold(ends: list[datetime | None], data: datetime) -> None:
    ledger = [erased(str(number), verified=end) for number, end in enumerate(ends)]
    repeated = {one.entry.id for one in to_repeat(ledger, data)}
    assert repeated == {str(number) for number, end in enumerate(ends) if end is None or data <= end + MARGIN}


@given(st.lists(st.tuples(instants, st.none() | instants, st.booleans()), max_size=8), instants)
def test_cleared_is_never_said_while_a_backup_holds_the_person(
    backups: list[tuple[datetime, datetime | None, bool]], verified: datetime
) -> None:
    kept = [
        Kept(str(number), at, expires, "held" if held else None) for number, (at, expires, held) in enumerate(backups)
    ]
    found = remains(kept, verified, NOW, CLEAN, THERE)
    holding = [one for one in kept if one.at <= verified + MARGIN]
    assert found.backups == len(holding)
    assert (found.cleared_after == "Cleared") == (not holding)
    if any(one.for_ever for one in holding):
        assert found.cleared_after == "Never"
    elif any(one.expires is None for one in holding):
        assert found.cleared_after == "Unknown"
    for one in holding:
        if found.cleared_after[:1].isdigit() and one.expires is not None:
            assert one.expires <= datetime.fromisoformat(found.cleared_after)


counts = st.integers(0, 2)
store_searches = st.builds(
    StoreSearch,
    place=st.sampled_from(["bucket a", "bucket b", "bucket c"]),
    storage=st.just("prod"),
    validated=st.booleans(),
    under_way=st.booleans(),
    tried=st.none() | instants,
    asked=counts,
    tries=counts,
    error=st.none() | st.just("AccessDenied"),
    at=st.none() | instants,
    known=counts,
    copies=counts,
    leftovers=counts,
    logs=st.lists(st.just("a log"), max_size=1),
)
many_searches = st.lists(store_searches, max_size=3, unique_by=lambda one: one.place)
places = st.frozensets(st.sampled_from(["bucket a", "bucket b", "bucket c"]))


@given(many_searches, places)
def test_cleared_is_never_said_unless_every_store_is_proven_clean(
    searches: list[StoreSearch], there: frozenset[str]
) -> None:
    found = remains([], NOW, NOW, searches, there)
    clean = [
        one.place in there
        and one.error is None
        and one.at is not None
        and not (one.known or one.copies or one.leftovers or one.logs)
        for one in searches
    ]
    assert (found.cleared_after == "Cleared") == (bool(clean) and all(clean))
    assert proven(found) == (found.cleared_after == "Cleared")
    said = searches_condition(searches, there, 0)
    if said.status is not True:
        assert not proven(found)


@given(many_searches, places, st.integers(0, 2))
def test_a_store_that_is_not_clean_is_looked_through_again_and_never_forgotten(
    searches: list[StoreSearch], there: frozenset[str], holding: int
) -> None:
    stores = [Store(place, "prod", validated=True) for place in there]
    seen = seen_stores(searches, stores, ())
    assert there <= {one.place for one in seen}
    for one in searches:
        lies = one.at is not None and (one.known or one.copies or one.leftovers or one.logs)
        if lies or (one.at is None and one.validated):
            assert one.place in {each.place for each in seen}
    due = next_search(seen, there, holding, NOW)
    assert due.search is None or due.search.place in there
    open_ones = [
        one for one in seen if one.place in there and (one.at is None or one.known or one.copies or one.leftovers)
    ]
    if open_ones:
        assert due.search is not None or due.at is not None
        if due.at is not None:
            assert NOW < due.at <= NOW + timedelta(days=30)


@given(store_searches, instants)
def test_a_look_that_fails_keeps_what_an_earlier_one_found(one: StoreSearch, now: datetime) -> None:
    failed = not_searched(ordered(one, 1, now), "AccessDenied: no", now)
    assert (failed.at, failed.known, failed.copies, failed.logs) == (one.at, one.known, one.copies, one.logs)
    assert (failed.tries, failed.under_way, failed.error) == (one.tries + 1, False, "AccessDenied: no")
    assert remains([], NOW, NOW, [failed], {one.place}).cleared_after != "Cleared"
    looked = searched(ordered(one, 2, now), RemainsResult())
    assert (looked.at, looked.known, looked.tries, looked.error) == (now.replace(microsecond=0), 2, 0, None)


@given(st.binary(min_size=32, max_size=64), st.text(max_size=40), st.text(max_size=40))
def test_two_people_have_two_hashes(key: bytes, one: str, other: str) -> None:
    assert (subject_hash(key, one) == subject_hash(key, other)) == (one == other)
