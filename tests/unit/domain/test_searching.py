"""Stores are looked through one at a time, no more often than is useful; what cannot be looked at is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.erasurerequest import StoreSearch
from databosun.domain.searching import (
    MOST_STORES,
    Due,
    Store,
    next_search,
    not_searched,
    searches_condition,
    seen_stores,
    strayed,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PROD = Store("bucket b", "prod", validated=True, root="s3://b/prod")


def search(**more: Any) -> StoreSearch:
    return StoreSearch(**{"place": "bucket b", "storage": "prod", "validated": True, **more})


def due(one: StoreSearch, holding: int = 0) -> Due:
    return next_search([one], {"bucket b"}, holding, NOW)


@pytest.mark.parametrize(
    ("known", "holding", "at"),
    [
        ({}, 0, NOW),
        ({}, 3, NOW),
        ({"at": NOW - DAY}, 0, None),
        ({"at": NOW - HOUR, "known": 3}, 3, NOW - HOUR + 30 * DAY),
        ({"at": NOW - 30 * DAY, "known": 3}, 3, NOW),
        ({"at": NOW - HOUR, "known": 3}, 0, NOW),
        ({"at": NOW - HOUR, "copies": 1}, 0, NOW + 23 * HOUR),
        ({"at": NOW - DAY, "leftovers": 1}, 0, NOW),
        ({"at": NOW - HOUR, "logs": ["a log"]}, 0, NOW + 23 * HOUR),
        ({"tried": NOW, "tries": 1, "error": "no"}, 0, NOW + 10 * MINUTE),
        ({"tried": NOW, "tries": 2, "error": "no"}, 0, NOW + HOUR),
        ({"tried": NOW, "tries": 99, "error": "no"}, 3, NOW + DAY),
        ({"tried": NOW + 90 * DAY, "tries": 1, "error": "no"}, 0, NOW),  # the clock was set back
        ({"at": NOW + 90 * DAY, "copies": 1}, 0, NOW),
    ],
)
def test_when_a_store_is_looked_through(known: dict[str, Any], holding: int, at: datetime | None) -> None:
    found, one = due(search(**known), holding), search(**known)
    expected = Due() if at is None else Due(one) if at <= NOW else Due(at=at)
    assert found == expected


def test_one_store_at_a_time_and_the_one_that_is_being_looked_through_first() -> None:
    searches = [search(place="a"), search(place="b", under_way=True, tried=NOW, tries=1), search(place="c")]
    assert next_search(searches, {"a", "b", "c"}, 0, NOW) == Due(searches[1])
    assert next_search(searches, {"a", "c"}, 0, NOW) == Due(searches[0])
    assert next_search(searches, set(), 0, NOW) == Due()


def test_two_storages_of_one_place_are_one_store_and_another_bucket_is_another() -> None:
    known = [search(at=NOW, known=1)]
    same = seen_stores(known, [PROD, Store("bucket b", "again", validated=False)], ())
    assert [(one.place, one.at, one.validated) for one in same] == [("bucket b", NOW, True)]
    moved = seen_stores(known, [Store("bucket c", "prod", validated=True)], ())
    assert [(one.place, one.at) for one in moved] == [("bucket b", NOW), ("bucket c", None)]
    said = searches_condition(moved, {"bucket c"}, 0)
    assert (said.status, said.reason) == (False, "StoreGone")
    assert "bucket b, which BackupStorage prod named" in said.message


def test_a_store_that_is_gone_is_forgotten_only_where_nothing_can_lie_there() -> None:
    clean, never = search(place="a", at=NOW), search(place="b", validated=False, error="no")
    assert seen_stores([clean, never, search(place="c"), search(place="d", at=NOW, copies=1)], (), ()) == [
        search(place="c"),
        search(place="d", at=NOW, copies=1),
    ]


def test_what_lies_where_no_storage_leads_any_more_is_a_place_of_its_own_until_one_does_again() -> None:
    locations = [
        ("prod", "s3://b/prod/shop/orders/backups/x"),
        ("prod", "s3://old/prod/shop/orders/backups/y"),
        ("gone", "file:///storage/shop/orders/backups/z"),
        ("prod", "file:///storage/shop/orders/backups/z"),
        ("prod", "orders/backups/x"),
    ]
    found = strayed(locations, "shop", [PROD], {"prod"})
    assert [(one.place, one.storage) for one in found] == [("s3://old/prod", "prod"), ("file:///storage", "gone")]
    seen = seen_stores((), [PROD], found)
    assert [one.place for one in seen] == ["file:///storage", "bucket b", "s3://old/prod"]
    back = Store("bucket old", "back", validated=True, root="s3://old/prod")
    assert "s3://old/prod" not in {one.place for one in seen_stores(seen, [PROD, back], ())}


def test_more_stores_than_a_status_holds_are_said_to_be_too_many() -> None:
    stores = [Store(f"bucket {number:03}", f"s{number:03}", validated=True) for number in range(MOST_STORES + 2)]
    seen = seen_stores((), stores, ())
    assert [one.error is None for one in seen] == [True] * MOST_STORES + [False] * 2
    clean = [one.model_copy(update={"at": NOW}) for one in seen]
    assert next_search(clean, {one.place for one in clean}, 0, NOW) == Due()
    assert "more than 32 stores" in searches_condition(clean, {one.place for one in clean}, 0).message


def test_the_condition_says_what_was_looked_through() -> None:
    assert searches_condition([search()], {"bucket b"}, 0).reason == "Searching"
    assert searches_condition([], (), 0).status is None
    assert searches_condition([search(at=NOW, known=2)], {"bucket b"}, 2).status is True
    assert searches_condition([search(at=NOW, known=2)], {"bucket b"}, 0).status is None
    failed = searches_condition([not_searched(search(at=NOW), "AccessDenied: no", NOW)], {"bucket b"}, 0)
    assert (failed.status, failed.reason) == (False, "StoreNotSearched")
    assert "BackupStorage prod could not be looked through: AccessDenied: no" in failed.message
