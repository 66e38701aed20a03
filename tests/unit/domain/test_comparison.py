"""What the digests of two sides say is what their rows say."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.comparison import TableDifference, TableState
from databosun.domain.comparison import as_bags, by_key, differing, rows_of, summarise

ROWS = st.dictionaries(st.integers(0, 60), st.integers(0, 5), max_size=40)
BAGS = st.lists(st.integers(0, 9), max_size=30)
PARTS = 8


def parts(rows: dict[int, int]) -> dict[int, tuple[int, int]]:
    """As a server sums them up."""
    found: dict[int, tuple[int, int]] = {}
    for key, row in rows.items():
        count, total = found.get(key % PARTS, (0, 0))
        found[key % PARTS] = (count + 1, total + hash((key, row)))
    return found


@given(copy=ROWS, live=ROWS)
def test_rows_in_parts_that_are_the_same_change_no_count(copy: dict[int, int], live: dict[int, int]) -> None:
    wanted = differing(parts(copy), parts(live))
    left = {key: row for key, row in copy.items() if key % PARTS in wanted}
    right = {key: row for key, row in live.items() if key % PARTS in wanted}
    assert by_key(left, right) == by_key(copy, live)
    assert (rows_of(parts(copy)), rows_of(parts(live))) == (len(copy), len(live))


@given(copy=ROWS, live=ROWS)
def test_counts_add_up(copy: dict[int, int], live: dict[int, int]) -> None:
    found = by_key(copy, live)
    assert len(copy) - found.lost == len(live) - found.added
    assert (found.lost, found.added, found.changed) == (0, 0, 0) or copy != live
    assert found.changed == by_key(live, copy).changed


@given(copy=BAGS, live=BAGS)
def test_equal_rows_count_as_often_as_they_are_there(copy: list[int], live: list[int]) -> None:
    found = as_bags(Counter(copy), Counter(live))
    assert len(copy) - found.lost == len(live) - found.added
    assert (found.lost == 0 and found.added == 0) == (sorted(copy) == sorted(live))


def test_what_is_lost_comes_first_and_all_are_counted() -> None:
    states = [TableState.SAME] * 600 + [TableState.NEW, TableState.LOST, TableState.DIFFERS]
    counts, listed = summarise(TableDifference(table=f"t{n:03}", state=one) for n, one in enumerate(states))
    assert counts == {"Same": 600, "New": 1, "Lost": 1, "Differs": 1}
    assert [one.state for one in listed[:3]] == [TableState.LOST, TableState.DIFFERS, TableState.NEW]
    assert len(listed) == 500
