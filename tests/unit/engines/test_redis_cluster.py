"""What nodes of a Redis Cluster say, understood; and what each of them may say that keeps it from being in order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.engines.redis.cluster import SLOTS, View, joined, key_slot, miscounted, parse_view, range_text
from databosun.engines.redis.failover.clusterlook import Look
from databosun.engines.redis.failover.nodes import Place

A, B, C, D = (letter * 40 for letter in "abcd")
SAID = f"""\
{A} 10.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-5460 5462 [93->-{C}] [5462-<-{C}]
{B} 10.0.0.2:6379@16379,redis-2.shop slave {A} 0 1 3 connected
{C} 10.0.0.3:6380@16380,,tls-port=0,shard-id=57 master,fail? - 9 1 2 connected 5461 5463-16383
{D} :0@0 slave,fail,noaddr {C} 9 1 2 disconnected
"""


def look(views: dict[str, View], silent: dict[str, str] | None = None, state: str = "ok") -> Look:
    seed = next(iter(views))
    places = {name: Place(name, 6379) for name in views}
    return Look(
        places[seed],
        views[seed],
        {places[name]: view for name, view in views.items()},
        dict.fromkeys(places.values(), state),
        {Place(name, 6379): why for name, why in (silent or {}).items()},
    )


def test_lines_of_every_version_are_understood() -> None:
    view = parse_view(SAID.encode())
    assert view.myself
    assert (view.myself.id, view.myself.slots, view.myself.moving) == (A, ((0, 5460), (5462, 5462)), (93, 5462))
    assert [(one.host, one.port, one.master, one.failing) for one in view.nodes] == [
        ("10.0.0.1", 6379, None, False),
        ("10.0.0.2", 6379, A, False),
        ("10.0.0.3", 6380, None, True),
        ("", 0, C, True),
    ]
    assert [shard.slots for shard in view.shards] == ["0-5460,5462", "5461,5463-16383"]
    shard = view.shard_of(5461)
    assert shard
    assert (shard.master.id, [one.id for one in shard.replicas]) == (C, [D])
    with pytest.raises(ValueError, match="is no line of CLUSTER NODES"):
        parse_view(b"what is this")


def test_a_shard_of_many_ranges_is_told_apart_in_a_few_words() -> None:
    ranges = tuple((slot, slot) for slot in range(0, 2000, 2))
    master = replace(parse_view(SAID.encode()).nodes[0], slots=ranges)
    told = View((master,)).shards[0].slots
    assert told.startswith("0,2,4,6,8,10,12,14 and 992 ranges more (")
    assert told != View((replace(master, slots=ranges[:-1]),)).shards[0].slots


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        (b"123456789", 0x31C3),  # the specification's own example
        (b"foo", 12182),
        (b"{foo}.bar", 12182),
        (b"x{foo}{bar}", 12182),
        (b"foo{}{bar}", 8363),
        (b"", 0),
    ],
)
def test_slots_of_keys_are_those_of_the_specification(name: bytes, slot: int) -> None:
    assert key_slot(name) == slot


@given(st.sets(st.integers(0, SLOTS - 1), max_size=60))
def test_each_slot_must_be_served_once(missing: set[int]) -> None:
    served = joined([slot for slot in range(SLOTS) if slot not in missing])
    told = range_text(joined(sorted(missing)))
    assert miscounted([served]) == (f"nobody serves {told}" if missing else None)
    assert miscounted([((0, SLOTS - 1),), joined(sorted(missing))]) == (
        f"more than one serves {told}" if missing else None
    )


def well() -> View:
    text = "\n".join(line.partition(" [")[0].replace(",fail?", "") for line in SAID.splitlines()[:3])
    return parse_view(text.encode())


def test_a_cluster_that_is_well_is_so_by_the_word_of_all() -> None:
    found = look({"n1": well(), "n2": well()})
    assert list(found.ill()) == []
    assert found.moving() is None


def test_whatever_keeps_it_from_being_so_is_told() -> None:
    other = View(tuple(replace(one, slots=()) if one.id == C else one for one in well().nodes))
    assert [*look({"n1": well()}, {"n2": "gone"}).ill()] == ["n2:6379 does not answer: gone"]
    assert [*look({"n1": well()}, state="fail").ill()] == ["n1:6379 says cluster_state:fail"]
    assert [*look({"n1": well(), "n2": other}).ill()] == ["n2:6379 and n1:6379 do not agree on who serves which slots"]
    assert "of the slots, nobody serves 5461,5463-16383" in [*look({"n1": other}).ill()]
    failing = parse_view(SAID.encode())
    assert "n2:6379 holds 10.0.0.3:6380 for fail?,master" in [*look({"n1": well(), "n2": failing}).ill()]
    assert look({"n1": well(), "n2": failing}).moving() == "93,5462"
