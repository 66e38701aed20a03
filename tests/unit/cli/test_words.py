"""Spans read as a person says them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from databosun.cli.words import ago, ahead, short

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=45), "45s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=12, seconds=30), "12m"),
        (timedelta(minutes=119), "119m"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(hours=3), "3h"),
        (timedelta(days=2, hours=4), "2d4h"),
        (timedelta(days=31, hours=4), "31d"),
    ],
)
def test_a_span_is_shown_in_its_two_greatest_units(span: timedelta, text: str) -> None:
    assert short(span) == text


def test_the_past_and_the_future() -> None:
    assert ago(None, NOW) == "-"
    assert ago(NOW - timedelta(minutes=5), NOW) == "5m"
    assert ahead(None, NOW) == "-"
    assert ahead(NOW, NOW) == "now"
    assert ahead(NOW - timedelta(minutes=5), NOW) == "now"
    assert ahead(NOW + timedelta(hours=90), NOW) == "in 3d18h"
