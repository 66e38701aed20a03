"""Durations and sizes: what people write, and what is no such thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.quantities import format_duration, humanize_bytes, parse_duration, parse_quantity

GI = 2**30


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(minutes=90)),
        ("7y", timedelta(days=7 * 365)),
        ("2w", timedelta(days=14)),
        ("500ms", timedelta(milliseconds=500)),
        ("1m500ms", timedelta(seconds=60, milliseconds=500)),
        ("0s", timedelta(0)),
        ("100000s", timedelta(seconds=100000)),
        ("1y2w3d4h5m6s7ms", timedelta(days=365 + 14 + 3, hours=4, minutes=5, seconds=6, milliseconds=7)),
    ],
)
def test_a_duration_is_read(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "1h 30m", "30m1h", "1h1h", "1H", "1h\n", "9999y", "1M"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90d or 1h30m") as refused:
        parse_duration(text)
    assert repr(text) in str(refused.value)


def test_the_longest_duration_stays_within_the_calendar() -> None:
    longest = parse_duration("999y9999w99999d999999h99999999m999999999s999999999ms")
    assert datetime(2026, 1, 1, tzinfo=UTC) + longest
    assert datetime(2026, 1, 1, tzinfo=UTC) - longest


@given(st.integers(min_value=0, max_value=99_999 * 86_400))
def test_a_duration_written_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (93_600, "1d2h"), (59.9, "59s")])
def test_a_duration_is_written_the_short_way(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10Gi", 10 * GI),
        ("500M", 500_000_000),
        ("1.5Gi", 3 * GI // 2),
        ("1024", 1024),
        (1024, 1024),
        ("0.1", 1),
        ("1k", 1000),
    ],
)
def test_a_size_is_read(text: str | int, count: int) -> None:
    assert parse_quantity(text) == count


@pytest.mark.parametrize("text", ["", "ten", "10GB", "-1Gi", "1 Gi", "1e3", "0x10", "1Gi\n", "100m", -1])
def test_what_is_no_size_is_refused_with_an_example(text: str | int) -> None:
    with pytest.raises(ValueError, match="such as 10Gi or 500M"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (1503238553, "1.4GiB"), (150 * GI, "150GiB"), (2**60, "1048576TiB")],
)
def test_a_size_is_shown_for_people(count: int, text: str) -> None:
    assert humanize_bytes(count) == text
