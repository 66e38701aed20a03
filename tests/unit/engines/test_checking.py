"""Counts and fingerprints of a copy, compared with those of the backup, in the words of each engine."""

from __future__ import annotations

from databosun.api.drill import Check, CheckOutcome, CheckType
from databosun.domain.drill import CheckReason
from databosun.engines.checking import ROWS, Unit, compare_counts, compare_fingerprints

COUNT = Check(name="rows", type=CheckType.ROW_COUNT)
HASH = Check(name="hashes", type=CheckType.ROW_HASH)
DOCUMENTS = Unit("documents", "collections", "nothing", "what the backup counted", "what was backed up")


def test_counts_as_the_backup_knows_them_pass() -> None:
    found = compare_counts(COUNT, {"shop.orders": 3, "shop.new": 2}, {"shop.orders": 3})
    assert (found.outcome, found.observed, found.expected) == (CheckOutcome.PASSED, "5 rows in 2 tables", "3 rows")


def test_what_the_backup_does_not_know_is_only_counted() -> None:
    found = compare_counts(COUNT, {"shop.orders": 3}, {}, DOCUMENTS)
    assert (found.outcome, found.observed) == (CheckOutcome.PASSED, "3 documents in 1 collections")
    assert found.expected is None


def test_a_count_that_differs_and_a_table_that_is_gone_are_named() -> None:
    found = compare_counts(COUNT, {"shop.orders": 2}, {"shop.orders": 3, "shop.gone": 1})
    assert (found.outcome, found.reason) == (CheckOutcome.FAILED, CheckReason.ROW_COUNT_WRONG)
    assert found.message == (
        "2 tables differ from the backup's snapshot: shop.orders has 2, not 3; shop.gone has no table, not 1"
    )


def test_no_more_than_five_are_named() -> None:
    found = compare_counts(COUNT, {}, {f"shop.t{number}": 1 for number in range(9)}, DOCUMENTS)
    assert found.message.startswith("9 collections differ from what the backup counted: shop.t0 has nothing, not 1")
    assert found.message.count("has nothing") == 5


def test_equal_fingerprints_pass_whatever_else_is_there() -> None:
    found = compare_fingerprints(HASH, {"shop.orders": (3, "ab"), "shop.new": (1, None)}, {"shop.orders": (3, "ab")})
    assert (found.outcome, found.observed) == (CheckOutcome.PASSED, "4 rows in 2 tables")
    assert found.expected == "1 fingerprints equal"


def test_another_fingerprint_of_as_many_rows_fails() -> None:
    found = compare_fingerprints(HASH, {"shop.orders": (3, "ab")}, {"shop.orders": (3, "cd"), "shop.gone": (1, "ef")})
    assert (found.outcome, found.reason) == (CheckOutcome.FAILED, CheckReason.ROWS_DIFFER)
    assert found.message == (
        f"2 {ROWS.tables} differ from the backup's snapshot: shop.orders: (3, 'ab'), not (3, 'cd');"
        " shop.gone: not there, not (1, 'ef')"
    )
