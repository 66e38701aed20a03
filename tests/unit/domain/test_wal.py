"""Arithmetic of the write-ahead log: what is formatted is parsed, names are those of `pg_wal`, histories in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.wal import (
    Branch,
    WalPoint,
    demand_segment_bytes,
    end_of_written,
    first_history,
    format_lsn,
    parse_history,
    parse_history_name,
    parse_lsn,
    parse_segment,
    segment_name,
    segment_start,
)

sizes = st.sampled_from([1 << power for power in range(20, 31)])
lsns = st.integers(min_value=0, max_value=2**64 - 1)
MIB = 1024 * 1024


@given(lsns)
def test_a_position_reads_back(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@given(lsns, sizes, st.integers(min_value=1, max_value=2**32 - 1))
def test_a_segment_name_reads_back(lsn: int, size: int, timeline: int) -> None:
    number = lsn // size
    assert parse_segment(segment_name(timeline, number, size), size) == (timeline, number)
    assert segment_start(lsn, size) == number * size


@given(lsns, lsns, sizes)
def test_names_sort_as_positions_do(one: int, other: int, size: int) -> None:
    names = [segment_name(7, lsn // size, size) for lsn in (one, other)]
    assert (names[0] < names[1]) == (one // size < other // size)


@pytest.mark.parametrize(
    ("lsn", "size", "name"),
    [
        ("16/B374D848", 16 * MIB, "0000000100000016000000B3"),
        ("16/B374D848", MIB, "000000010000001600000B37"),
        ("1/FFFFFFFF", 1024 * MIB, "000000010000000100000003"),
        ("2/0", 1024 * MIB, "000000010000000200000000"),
    ],
)
def test_names_are_those_of_postgresql(lsn: str, size: int, name: str) -> None:
    assert segment_name(1, parse_lsn(lsn) // size, size) == name


@pytest.mark.parametrize("text", ["", "0", "1/", "/1", "1/2/3", "g/0", "123456789/0", "0/123456789"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        parse_lsn(text)


@pytest.mark.parametrize("size", [0, MIB - 1, 3 * MIB, 2048 * MIB])
def test_what_is_no_segment_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        demand_segment_bytes(size)


def test_a_name_of_another_segment_size_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        parse_segment("000000010000001600000B37", 16 * MIB)


def test_a_page_header_that_nobody_wrote_is_not_counted() -> None:
    def end(lsn: int) -> int:
        return end_of_written(lsn, block_bytes=8192, segment_bytes=MIB)

    assert end(3 * MIB + 40) == 3 * MIB
    assert end(3 * MIB + 8192 + 24) == 3 * MIB + 8192
    assert end(3 * MIB + 8192 + 32) == 3 * MIB + 8192 + 32
    assert end(3 * MIB) == 3 * MIB


def test_a_history_says_which_timeline_holds_a_position() -> None:
    history = parse_history(5, "1\t0/3000158\tno recovery target specified\n\n3\t0/5000000\tbefore 2026-03-01 # x\n")
    assert history.branches == (
        Branch(1, 0, 0x3000158),
        Branch(3, 0x3000158, 0x5000000),
        Branch(5, 0x5000000, None),
    )
    assert [history.branch_at(lsn).timeline for lsn in (0, 0x3000157, 0x3000158, 0x5000000)] == [1, 1, 3, 5]
    assert [one.timeline for one in history.branches_in(3, 16 * MIB)] == [3, 1]
    assert [one.timeline for one in history.branches_in(5, 16 * MIB)] == [5, 3, 1]
    assert first_history().branch_at(2**63).timeline == 1


@pytest.mark.parametrize("text", ["nonsense", "2\t0/1", "1\t0/5\n1\t0/6", "1\t0/5\n2\t0/4", "9\t0/5", "1\tnowhere"])
def test_a_damaged_history_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"histor|position|ancestor"):
        parse_history(2, text)


def test_a_history_file_is_known_by_its_name() -> None:
    assert parse_history_name("0000000A.history") == 10
    assert parse_history_name("0000000A.histor") is None


def test_newer_timelines_are_later() -> None:
    assert WalPoint(2, 5) > WalPoint(1, 9)
    assert str(WalPoint(2, 5)) == "0/5 on timeline 2"
