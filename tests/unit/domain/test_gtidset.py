"""Sets of MySQL's transactions, and what they are compared with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.gtid import holds, is_of
from databosun.domain.gtidset import GtidSet, parse_gtid_set

UUID, OTHER = "6e4300c6-ec45-11f1-956a-02fc00000001", "7e4300c6-ec45-11f1-956a-02fc00000002"
NUMBERS = st.lists(st.integers(1, 40), max_size=40)


def of(numbers: list[int], tag: str = "") -> GtidSet:
    return GtidSet((UUID, tag, one, one) for one in numbers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        (f"{UUID}:7", f"{UUID}:7"),
        (f"{OTHER}:3,\n{UUID.upper()}:1-5:7:6", f"{UUID}:1-7,{OTHER}:3"),
        (f"{UUID}:9-12:mine:1:2:Yours:5", f"{UUID}:9-12:mine:1-2:yours:5"),
    ],
)
def test_a_set_is_said_as_the_server_says_it(text: str, said: str) -> None:
    assert str(parse_gtid_set(text)) == said
    assert parse_gtid_set(said) == parse_gtid_set(text)


@pytest.mark.parametrize("text", ["0-1-12", f"{UUID}:0", f"{UUID}:1-", f"{UUID}:5:-", "12:7", f"{UUID}:1;2"])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one is of the library
        parse_gtid_set(text)


@given(NUMBERS, NUMBERS)
def test_whatever_the_order_a_set_holds_what_was_added_and_nothing_else(some: list[int], others: list[int]) -> None:
    found, other = of(some), of(others)
    assert found == of(sorted(some))
    assert found == parse_gtid_set(str(found))
    assert (found <= other) is (set(some) <= set(others))
    assert bool(found) is bool(some)
    assert found - other == of(list(set(some) - set(others)))


def test_tags_and_servers_are_kept_apart() -> None:
    assert not of([1], "mine") <= of([1])
    assert not of([1]) <= GtidSet([(OTHER, "", 1, 1)])
    assert of([1], "mine") <= parse_gtid_set(f"{UUID}:3:mine:1-2")


@pytest.mark.parametrize(
    ("position", "gtid", "held"),
    [
        (f"{UUID}:1-5", f"{UUID}:5", True),
        (f"{UUID}:1-5", f"{UUID}:1-6", False),
        (f"{UUID}:1-5", f"{UUID}:mine:1", False),
        ("0-1-12", f"{UUID}:1", False),
        (f"{UUID}:1-5", "0-1-12", False),
        ("0-1-12", "0-1-11", True),
    ],
)
def test_a_backup_holds_what_lies_before_it(position: str, gtid: str, held: bool) -> None:
    assert holds(position, gtid) is held


def test_each_product_writes_them_its_own_way() -> None:
    assert is_of(EngineName.MYSQL, f"{UUID}:1")
    assert is_of(EngineName.MARIADB, "0-1-12")
    assert not is_of(EngineName.MYSQL, "0-1-12")
    assert not is_of(EngineName.MARIADB, f"{UUID}:1")
