"""How long what failed is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from databosun.controllers.setbacks import FIRST, Setbacks, pause

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_pauses_double_up_to_their_bound_however_often_it_fails() -> None:
    found = [pause(tries, HOUR) for tries in (1, 2, 3, 4, 5, 6, 10_000)]
    assert found == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, HOUR, HOUR, HOUR]


def test_what_nobody_asks_for_any_more_is_forgotten_and_begins_anew() -> None:
    setbacks = Setbacks(HOUR)
    setbacks.note("policy", ["a", "b"], "refused", NOW)
    setbacks.note("policy", ["a"], "refused again", NOW)
    setbacks.note("other", ["a"], "refused", NOW)
    known = setbacks.of("policy", {"a"})
    assert {at: (one.why, one.tries) for at, one in known.items()} == {"a": ("refused again", 2)}
    assert setbacks.of("policy", {"b"}) == {}
    setbacks.note("policy", ["a"], "refused", NOW)
    assert setbacks.of("policy", {"a"})["a"].tries == 1
    assert setbacks.of("other", {"a"})["a"].until == NOW + FIRST
