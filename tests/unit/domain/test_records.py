"""A record that was changed, moved, taken out or replaced is found, and what was not is left alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.records import Found, Place, Record, chained, place_of, read_records
from databosun.domain.sealing import digest_of
from databosun.storage.manifest import seal
from support.evidence import Chain, chain_of, document, joint

KEY = Ed25519PrivateKey.generate()
PUBLIC = (KEY.public_key(),)


def judged(found: list[Found], told: dict[tuple[str, str], str] | None = None) -> tuple[list[Record], list[str]]:
    records, missing = chained(read_records(found).records, told or {})
    return records, [text for texts in missing.values() for text in texts]


def wrong(found: list[Found], told: dict[tuple[str, str], str] | None = None) -> dict[str, tuple[str, ...]]:
    """What is wrong with each run's record."""
    return {one.run: one.problems for one in judged(found, told)[0] if one.problems}


def with_keys(found: list[Found]) -> list[Found]:
    return [replace(one, keys=PUBLIC) for one in found]


def test_a_chain_as_written_is_right() -> None:
    chain = chain_of(4, key=KEY)
    records, missing = judged(with_keys(chain.found))
    assert (missing, [one.problems for one in records]) == ([], [()] * 4)
    assert all(one.signed for one in records)


def test_order_and_doubles_make_no_difference() -> None:
    found = chain_of(4).found
    assert judged([*reversed(found), *found]) == judged(found)


def test_a_chain_whose_begin_was_not_asked_for_is_right_and_says_so() -> None:
    records, missing = judged(chain_of(4).found[2:])
    assert missing == []
    assert records[0].problems == ()
    assert "older than those at hand" in records[0].notes[0]


def test_a_record_that_was_taken_out_is_missed() -> None:
    found = chain_of(4).found
    records, missing = judged([found[0], *found[2:]])
    assert len(missing) == 1
    assert "run orders-02 is missing" in missing[0]
    assert [one.problems for one in records] == [()] * 3


def test_a_record_that_was_changed_is_found_by_the_next_one() -> None:
    chain = chain_of(3)
    chain.found[1] = replace(chain.found[1], data=chain.found[1].data.replace(b"6 checks", b"9 checks"))
    assert list(wrong(chain.found)) == ["orders-02"]
    assert "changed or replaced" in wrong(chain.found)["orders-02"][0]


def test_the_last_record_changed_is_found_by_what_the_cluster_remembers() -> None:
    chain = chain_of(3)
    told = {("shop", "orders-03"): digest_of(chain.found[2].data)}
    assert wrong(chain.found, told) == {}
    chain.found[2] = replace(chain.found[2], data=chain.found[2].data.replace(b"6 checks", b"9 checks"))
    assert list(wrong(chain.found, told)) == ["orders-03"]


def test_a_record_with_other_spaces_was_edited() -> None:
    one = chain_of(1).found[0]
    edited = replace(one, data=json.dumps(json.loads(one.data), indent=1).encode())
    assert "edited" in wrong([edited])["orders-01"][0]


def test_where_a_key_is_given_an_unsigned_record_counts_for_nothing() -> None:
    assert len(wrong(with_keys(chain_of(2).found))) == 2
    assert wrong(with_keys(chain_of(2, key=Ed25519PrivateKey.generate()).found)).keys() == {"orders-01", "orders-02"}


def test_a_record_that_lies_where_it_was_not_written_is_not_believed() -> None:
    one = chain_of(1, key=KEY).found[0]
    moved = Found(one.where.replace("/orders/", "/billing/"), one.data, PUBLIC)
    assert "lies in the place of shop/billing" in wrong([moved])["orders-01"][0]


def test_two_records_of_one_run_are_both_doubted() -> None:
    chain = chain_of(1)
    other = Found("elsewhere/evidence.json", seal(document("orders-01", chain_at(chain), message="another"), None))
    assert "2 different records" in wrong([*chain.found, other])["orders-01"][0]


def chain_at(chain: Chain) -> object:
    return read_records(chain.found).records[0].evidence.completed_at


def test_drills_that_ran_at_one_time_are_no_fault() -> None:
    chain = chain_of(2)
    before = {"run": "orders-01", "sha256": digest_of(chain.found[0].data)}
    at = read_records(chain.found).records[1].evidence.completed_at
    beside = Found("x/shop/orders/drills/beside/evidence.json", seal(document("beside", at, previous=before), None))
    records, missing = judged([*chain.found, beside])
    assert missing == []
    assert [one.problems for one in records] == [()] * 3
    assert any("at one time" in note for one in records for note in one.notes)


def test_a_chain_that_begins_anew_is_said_and_no_fault() -> None:
    chain = chain_of(2)
    chain.found.append(Found("y/evidence.json", seal(document("anew", chain_end(chain)), None)))
    records, _ = judged(chain.found)
    assert [one.problems for one in records] == [()] * 3
    assert any("begins a chain anew" in note for one in records for note in one.notes)


def chain_end(chain: Chain) -> object:
    from datetime import timedelta

    return max(one.evidence.completed_at for one in read_records(chain.found).records) + timedelta(days=1)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"schema":2}', b"null"])
def test_what_is_no_record_is_named_and_nothing_else_is_lost(data: bytes) -> None:
    read = read_records([Found("a/b", data), *chain_of(1).found])
    assert len(read.records) == 1
    assert read.problems[0].startswith("a/b: ")


def test_a_path_says_what_a_record_is_of() -> None:
    assert place_of("s3://b/p/shop/orders/drills/r-1/evidence.json") == Place("shop", "orders", "r-1")
    assert place_of("evidence.json") is None
    assert place_of("shop/orders/restores/r-1/result.json") is None


CHAIN = chain_of(5, key=KEY)


@given(number=st.integers(0, 4), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_a_signed_record_can_be_flipped_unnoticed(number: int, at: int, bit: int) -> None:
    data = bytearray(CHAIN.found[number].data)
    data[at % len(data)] ^= 1 << bit
    spoilt = [replace(one, keys=PUBLIC) for one in CHAIN.found]
    spoilt[number] = replace(spoilt[number], data=bytes(data))
    read = read_records(spoilt)
    records, missing = chained(read.records, {})
    assert read.problems or missing or any(one.problems for one in records)


@given(gone=st.sets(st.integers(0, 4), max_size=4))
def test_what_is_taken_out_of_the_middle_is_missed(gone: set[int]) -> None:
    left = [one for number, one in enumerate(CHAIN.found) if number not in gone]
    first = min(set(range(5)) - gone)
    last = max(set(range(5)) - gone)
    records, missing = judged(left)
    holes = {number for number in gone if first < number < last and number + 1 not in gone}
    assert len(missing) == len(holes)
    assert all(one.problems == () for one in records)


def test_the_record_of_many_databases_is_no_record_of_one_and_no_fault_either() -> None:
    chain = chain_of(2)
    read = read_records([*chain.found, joint(chain.found)])
    assert ([one.run for one in read.records], read.problems) == (["orders-01", "orders-02"], ())
    assert [one.evidence.run for one in read.joint] == ["whole"]
    assert judged([*chain.found, joint(chain.found)]) == judged(chain.found)
