"""How many rows a step takes: within bounds whatever happens, and soon as many as take the time that is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.pacing import FASTER, SLOWER, Pace

paces = st.builds(
    Pace, rows=st.integers(1, 100_000), seconds=st.floats(0.001, 60), most=st.just(100_000), least=st.integers(0, 1000)
)


@given(paces, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e6)), max_size=50))
def test_a_pace_stays_within_its_bounds_and_changes_by_little(pace: Pace, steps: list[tuple[float, float]]) -> None:
    for part, took in steps:
        after = pace.after(round(pace.rows * part), took)
        assert 1 <= after.rows <= pace.most
        assert pace.rows * SLOWER - 1 <= after.rows <= pace.rows * FASTER + 1
        assert (after.seconds, after.most, after.least) == (pace.seconds, pace.most, pace.least)
        assert after.rows >= min(pace.rows, pace.least)
        pace = after


@given(st.floats(1e-6, 0.01), st.floats(0.01, 10), st.integers(1, 100_000))
def test_a_pace_comes_to_the_time_that_is_asked(per_row: float, seconds: float, rows: int) -> None:
    pace = Pace(rows, seconds, 10_000_000)
    for _ in range(40):
        pace = pace.after(pace.rows, pace.rows * per_row)
    assert abs(pace.rows * per_row - seconds) <= max(per_row, seconds * 0.05)


@given(paces, st.integers(0, 99_999), st.floats(0, 1000))
def test_a_short_step_never_makes_the_next_one_larger(pace: Pace, looked: int, took: float) -> None:
    if looked < pace.rows:
        assert pace.after(looked, took).rows <= pace.rows


def test_where_each_step_costs_too_much_rows_do_not_become_ever_fewer() -> None:
    pace = Pace(1000, 0.2, 100_000, least=100)
    for _ in range(20):
        pace = pace.after(pace.rows, 5.0)
    assert pace.rows == 100
    assert pace.eased().rows == 50
    assert pace.eased().after(50, 5.0).rows == 50


@given(paces)
def test_giving_way_halves_and_never_ends(pace: Pace) -> None:
    assert pace.eased().rows == max(1, pace.rows // 2)
