"""What a bridge decides without a server: names, marks, which databases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.domain.restorenames import short_id
from databosun.engines.bridging import BridgeOrder
from databosun.engines.postgresql.bridge.databases import wanted_databases
from databosun.engines.postgresql.bridge.live import parts_of
from databosun.engines.postgresql.bridge.marker import Marker, read_marker
from databosun.engines.postgresql.bridge.names import LONGEST, before_name, staged_name, staged_suffix
from databosun.engines.postgresql.bridge.roles import split_list
from databosun.engines.registry import load_bridge

UID = "0d9b1a52-6a0f-4a53-9c33-1d5a2f4f9a11"


@given(st.text(min_size=1, max_size=63).filter(lambda text: len(text.encode()) <= LONGEST))
def test_a_name_fits_and_says_whose_it_is(name: str) -> None:
    for made in (staged_name(name, UID), before_name(name, UID)):
        assert len(made.encode()) <= LONGEST
        assert made.endswith(short_id(UID))
    assert staged_name(name, UID).endswith(staged_suffix(UID))
    assert staged_name(name, UID) != before_name(name, UID)


@given(st.lists(st.text("abü", min_size=40, max_size=60).filter(lambda text: len(text.encode()) <= LONGEST), min_size=2,
                max_size=5, unique=True))  # fmt: skip
def test_long_names_do_not_meet(names: list[str]) -> None:
    assert len({staged_name(name, UID) for name in names}) == len(names)


def test_two_restores_do_not_meet() -> None:
    assert staged_name("shop", UID) != staged_name("shop", UID.replace("0", "1"))


@given(comment=st.none() | st.text(), moved=st.booleans())
def test_a_mark_reads_as_it_was_written(comment: str | None, moved: bool) -> None:
    mark = Marker(UID, "restore-1", "shop", comment, moved, {"placed": [{"database": "shop"}]})
    assert read_marker(mark.text()) == mark


@pytest.mark.parametrize(
    "text", [None, "", "all that is sold", '{"databosun"', '{"databosun": {"uid": 1}}', '{"a": 1}']
)
def test_a_comment_of_somebody_else_is_no_mark(text: str | None) -> None:
    assert read_marker(text) is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", []),
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ('"a, b", c,"say ""hi"""', ["a, b", "c", 'say "hi"']),
    ],
)
def test_a_setting_that_is_a_list_is_read_as_its_names(value: str, names: list[str]) -> None:
    assert split_list(value) == names


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("public.orders", ("public", "orders")),
        ('"Odd schema"."T.1"', ("Odd schema", "T.1")),
        ('a."b""c"', ("a", 'b"c')),
    ],
)
def test_a_full_name_is_read_as_its_parts(text: str, parts: tuple[str, str]) -> None:
    assert parts_of(text) == parts


def manifest(method: str) -> dict[str, object]:
    databases = [
        {"name": "shop", "connectable": True, "folder": "db-shop"},
        {"name": "closed", "connectable": False},
        {"name": "template1", "connectable": True, "template": True},
    ]
    return {"id": "b1", "method": method, "environment": {"databases": databases}}


def test_all_that_can_be_connected_to_and_are_no_templates() -> None:
    assert wanted_databases(BridgeOrder(UID, "r"), manifest("Physical")) == ("shop",)
    assert wanted_databases(BridgeOrder(UID, "r"), manifest("Logical")) == ("shop",)


def test_a_database_may_be_younger_than_a_physical_backup_but_not_than_a_dump() -> None:
    order = BridgeOrder(UID, "r", databases=("young",))
    assert wanted_databases(order, manifest("Physical")) == ("young",)
    with pytest.raises(UserFault, match="holds no database young; it holds shop"):
        wanted_databases(order, manifest("Logical"))


def test_an_engine_without_a_bridge_is_refused_with_the_way_that_there_is() -> None:
    with pytest.raises(
        UserFault, match=r"Redis, which this release does not restore into a running server.*target\.volume"
    ):
        load_bridge(EngineName.REDIS)
