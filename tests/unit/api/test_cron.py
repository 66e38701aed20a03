"""The shape that the API server asks of a cron expression, against the parser that reads it afterwards."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given
from hypothesis import strategies as st

from databosun.api.v1alpha1.cron import CRON_SHAPE

START = datetime(2026, 1, 1, tzinfo=UTC)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def _shaped(expression: str) -> bool:
    return re.fullmatch(CRON_SHAPE, expression) is not None


def _parsed(expression: str) -> bool:
    try:
        CronSim(expression, START)
    except CronSimError:
        return False
    return True


@pytest.mark.parametrize(
    "expression",
    [
        "0 2 * * *",
        "*/15 * * * *",
        "0,30 1-5/2 * * mon-fri",
        "59 23 31 12 7",
        "00 02 01 01 00",
        "5/10 * * * *",
        "0 0 L * *",
        "0 0 lw,15 JAN,jul *",
        "0 0 * * 5L",
        "0 0 * * MON#2,3#1",
        "0  2  *  *  *",
    ],
)
def test_what_people_write_has_the_shape_and_is_parsed(expression: str) -> None:
    assert _shaped(expression)
    assert _parsed(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "-1 * * * *",
        "1,,2 * * * *",
        "MON * * * *",
        "* * * * MON#6",
        "* * * * L",
        "@daily",
        " 0 2 * * *",
        "0 2 * * *\n",
    ],
)
def test_what_is_no_schedule_lacks_the_shape(expression: str) -> None:
    assert not _shaped(expression)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high).map(str)
    spread = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    stepped = st.tuples(st.sampled_from(["*", f"{low}-{high}"]), st.integers(1, 59)).map(
        lambda one: f"{one[0]}/{one[1]}"
    )
    return st.lists(st.one_of(st.just("*"), value, spread, stepped), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(*(_field(low, high) for low, high in RANGES)).map(" ".join)


@given(EXPRESSIONS)
def test_every_list_of_values_ranges_and_steps_has_the_shape(expression: str) -> None:
    assert _shaped(expression)


@given(EXPRESSIONS, st.integers(0), st.sampled_from("0123456789*/-,#LWMON "))
def test_what_has_the_shape_is_parsed(expression: str, at: int, other: str) -> None:
    """But for ranges that run backwards and days that never come, which the reconciler refuses."""
    at %= len(expression)
    expression = f"{expression[:at]}{other}{expression[at + 1 :]}"
    assume(_shaped(expression))
    backwards = any(int(a) > int(b) for a, b in re.findall(r"(\d+)-(\d+)", expression))
    never = re.search("30|31", expression.split()[2])
    assert _parsed(expression) or backwards or never
