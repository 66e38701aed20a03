"""The pure parts of lifecycle rules on PostgreSQL: kinds of trouble, bounds of partitions, hashes."""

from __future__ import annotations

import uuid

import pytest
from psycopg import sql

from databosun.engines.lifecycle import Trouble
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.conditions import written
from databosun.engines.postgresql.lifecycle.masks import Mask
from databosun.engines.postgresql.lifecycle.partitions import Partition
from databosun.engines.postgresql.lifecycle.statements import trouble_of


@pytest.mark.parametrize(
    ("sqlstate", "trouble"),
    [
        ("40001", Trouble.BUSY),  # serialization_failure
        ("40P01", Trouble.BUSY),  # deadlock_detected
        ("55P03", Trouble.BUSY),  # lock_not_available
        ("57014", Trouble.BUSY),  # query_canceled
        ("53100", Trouble.BUSY),  # disk_full
        ("57P01", Trouble.LOST),  # admin_shutdown
        ("08006", Trouble.LOST),  # connection_failure
        ("25006", Trouble.LOST),  # read_only_sql_transaction: a standby by now
        (None, Trouble.LOST),
        ("23503", Trouble.PERMANENT),  # foreign_key_violation
        ("23514", Trouble.PERMANENT),  # check_violation
        ("42501", Trouble.PERMANENT),  # insufficient_privilege
        ("42P01", Trouble.PERMANENT),  # undefined_table
        ("P0001", Trouble.PERMANENT),  # raise_exception
        ("22P02", Trouble.PERMANENT),  # invalid_text_representation
        ("XX001", Trouble.PERMANENT),  # data_corrupted
    ],
)
def test_only_what_passes_by_itself_is_tried_again(sqlstate: str | None, trouble: Trouble) -> None:
    assert trouble_of(sqlstate) is trouble


@pytest.mark.parametrize(
    ("bounds", "ends"),
    [
        ("FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-02-01 00:00:00+00')", True),
        ("FOR VALUES FROM (MINVALUE) TO ('2025-02-01')", False),
        ("FOR VALUES FROM ('2025-02-01') TO (MAXVALUE)", True),
        ("DEFAULT", False),
        ("FOR VALUES IN ('a', 'b')", False),
        ("FOR VALUES WITH (modulus 4, remainder 0)", False),
    ],
)
def test_bounds_are_read_as_the_server_words_them(bounds: str, ends: bool) -> None:
    part = Partition("public", "p2025_01", bounds, pending=False)
    low, high = part.ends
    assert (low is not None) is ends
    if "MAXVALUE" in bounds:
        assert high is None
    assert part.default is (bounds == "DEFAULT")


def test_a_hash_needs_the_key_and_is_the_same_everywhere() -> None:
    text, short, token = Mask("a", "text", None), Mask("b", "character varying(20)", None, 20), Mask("c", "uuid", None)
    (hashed,) = text.hashed(b"k", ["x"])
    assert text.hashed(b"k", ["y", "x", None, "x"])[1:] == [hashed, None, hashed]
    assert text.hashed(b"l", ["x"]) != [hashed]
    assert str(hashed).startswith(str(short.hashed(b"k", ["x"])[0]))
    assert uuid.UUID(str(token.hashed(b"k", ["x"])[0])).version == 8


def test_a_condition_cannot_swallow_what_follows() -> None:
    condition = sql.SQL("{} AND held").format(written("a = 1 -- of old"))
    assert condition.as_string().splitlines()[-1] == ") AND held"


@pytest.mark.parametrize(("name", "parts"), [("orders", ("public", "orders")), ("Odd.Ta ble", ("Odd", "Ta ble"))])
def test_a_name_without_a_schema_is_of_public(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts
