"""What a ledger says of what clients were told and of what was read back."""

from __future__ import annotations

import tracemalloc

import pytest

from databosun.domain.ledger import Bits, Claim, Fate, History, ReadBack
from databosun.domain.ledgerjudge import Gap, Span, judge, longest_gap
from databosun.domain.ledgerlines import ledger_lines, parse_ledger, ranges
from databosun.domain.ledgerturns import find_split_brain

SPAN = Span(since=10.0, until=20.0, promoted="b")


def wrote(history: History, client: str, sent: float, fate: Fate, node: str | None = None, took: float = 0.01) -> int:
    one = history.client(client)
    seq = one.send(sent)
    if fate is not Fate.SENT:
        one.end(sent + took, fate, node=node, error=None if fate is Fate.ACKNOWLEDGED else "gone")
    return seq


@pytest.fixture
def history() -> History:
    """A client that writes to a, sees three seconds of nothing from 12 on, and goes on with b."""
    made = History()
    for tenth in range(0, 120):
        wrote(made, "c", tenth / 10, Fate.ACKNOWLEDGED, "a")
    wrote(made, "c", 12.0, Fate.UNKNOWN, took=1.0)
    wrote(made, "c", 13.0, Fate.FAILED, took=0.5)
    for tenth in range(150, 200):
        wrote(made, "c", tenth / 10, Fate.ACKNOWLEDGED, "b")
    return made


def test_all_there_is_nothing_lost(history: History) -> None:
    found = judge(history, [ReadBack(20.0, {"c": range(120)}), ReadBack(30.0, {"c": range(172)})], SPAN)
    assert found.losses.lost.count == 50  # b's writes were acknowledged before the first read-back
    found = judge(history, [ReadBack(20.0, {"c": [*range(120), *range(122, 172)]})], SPAN)
    losses = found.losses
    assert (found.acknowledged, found.failed, found.unknown, found.before) == (170, 1, 1, 100)
    assert (losses.lost.count, losses.rejoin_lost.count, losses.phantom.count, losses.unchecked) == (0, 0, 0, 0)


def test_a_lost_write_is_named(history: History) -> None:
    found = judge(history, [ReadBack(20.0, {"c": [*range(117), *range(122, 172)]})], SPAN)
    assert [(one.client, one.seq, one.node) for one in found.losses.lost.sample] == [
        ("c", 117, "a"), ("c", 118, "a"), ("c", 119, "a"),
    ]  # fmt: skip


def test_a_write_acknowledged_after_the_read_back_is_not_held_against_it(history: History) -> None:
    found = judge(history, [ReadBack(15.0, {"c": range(120)})], SPAN)
    assert (found.losses.lost.count, found.losses.unchecked) == (0, 50)


def test_an_unknown_outcome_is_no_loss_and_no_phantom_whichever_it_was(history: History) -> None:
    rest = [*range(120), *range(122, 172)]
    gone, there = (judge(history, [ReadBack(20.0, {"c": rows})], SPAN).losses for rows in (rest, [*rest, 120]))
    assert (gone.lost.count, gone.phantom.count, gone.unknown_present) == (0, 0, 0)
    assert (there.lost.count, there.phantom.count, there.unknown_present) == (0, 0, 1)


def test_a_refused_write_that_is_there_is_a_phantom(history: History) -> None:
    found = judge(history, [ReadBack(20.0, {"c": [*range(120), *range(121, 172)]})], SPAN)
    assert [one.seq for one in found.losses.phantom.sample] == [121]


def test_what_the_rejoin_took_is_told_apart_from_what_the_switch_lost(history: History) -> None:
    first = [seq for seq in range(172) if seq not in (5, 121)]
    second = [seq for seq in range(172) if seq not in (7, 121)]
    found = judge(history, [ReadBack(20.0, {"c": first}), ReadBack(30.0, {"c": second})], SPAN).losses
    assert [one.seq for one in found.lost.sample] == [5]
    assert found.reappeared == 1
    assert [one.seq for one in found.rejoin_lost.sample] == [7]


def test_rows_that_nobody_wrote_are_counted(history: History) -> None:
    rows = {"c": [*range(120), *range(122, 172), 172], "stranger": [0, 1]}
    assert judge(history, [ReadBack(20.0, rows)], SPAN).unexplained == 3


def test_downtime_is_the_longest_time_without_an_acknowledgement(history: History) -> None:
    found = judge(history, [], SPAN)
    assert found.downtime == Gap(pytest.approx(3.1), pytest.approx(11.91), resumed=True)
    assert found.clients[0].first_success == pytest.approx(5.01)
    assert found.clients[0].errors == {"gone": 2}


def test_another_client_that_could_write_shortens_the_outage_but_not_the_gap_of_the_first(history: History) -> None:
    for tenth in range(0, 200, 5):
        wrote(history, "d", tenth / 10, Fate.ACKNOWLEDGED, "b" if tenth > 120 else "a")
    found = judge(history, [], SPAN)
    assert found.downtime.seconds == pytest.approx(0.5)
    assert [one.gap.seconds for one in found.clients] == [pytest.approx(3.1), pytest.approx(0.5)]


def test_a_gap_before_the_switch_was_ordered_is_none_of_its() -> None:
    gap = longest_gap([1.0, 9.0, 9.9, 10.1, 10.2, 19.9], Span(since=10.0, until=19.95))
    assert gap == Gap(pytest.approx(9.7), 10.2, resumed=True)


def test_writes_that_never_resumed_count_until_the_end() -> None:
    assert longest_gap([9.0, 9.9], SPAN) == Gap(pytest.approx(10.1), 9.9, resumed=False)
    assert longest_gap([], SPAN) == Gap(10.0, None, resumed=False)


def test_an_outage_could_hide_where_no_write_was_on_its_way(history: History) -> None:
    assert judge(history, [], SPAN).blind == pytest.approx(1.5)  # from 13.5, when the refusal came, until 15


def test_one_after_the_other_is_no_split_brain(history: History) -> None:
    assert judge(history, [], SPAN).split_brain is None


def test_the_old_one_acknowledging_after_the_new_one_is(history: History) -> None:
    wrote(history, "d", 17.0, Fate.ACKNOWLEDGED, "a")
    found = judge(history, [], SPAN).split_brain
    assert found is not None
    assert [claim.node for claim in found.turns] == ["a", "b", "a", "b"]
    assert found.handovers == 3
    assert found.overlap == pytest.approx(17.0 - 15.01)


def test_the_same_at_the_same_time_is_not_proven() -> None:
    assert find_split_brain([[Claim("a", 0, 2)], [Claim("b", 1, 3)], [Claim("a", 2, 4)]], 1) is None


def test_a_node_that_says_that_it_takes_writes_counts_as_one_that_does(history: History) -> None:
    sighted = [[Claim("a", 16.0, 16.01)]]
    assert judge(history, [], SPAN, sighted).split_brain is not None
    assert judge(history, [], Span(10.0, 20.0, handovers=3), sighted).split_brain is None


def test_a_clock_that_goes_back_is_refused() -> None:
    client = History().client("c")
    client.send(2.0)
    with pytest.raises(ValueError, match=r"the clock of client c went back from 2\.000000 to 1\.000000"):
        client.end(1.0, Fate.ACKNOWLEDGED)
    client.end(2.5, Fate.ACKNOWLEDGED)
    with pytest.raises(ValueError, match="went back"):
        client.send(2.4)


def test_a_client_has_one_write_on_its_way() -> None:
    client = History().client("c")
    with pytest.raises(ValueError, match="no write on its way"):
        client.end(1.0, Fate.FAILED)
    client.send(2.0)
    with pytest.raises(ValueError, match="sends write 1 while write 0 is on its way"):
        client.send(3.0)


def test_bits_are_those_of_redis() -> None:
    bits = Bits([0, 9, 3])
    assert list(bits) == [0, 3, 9]
    assert len(bits) == 3
    assert 9 in bits
    assert 10 not in bits
    assert list(Bits.of(b"\x90\x40")) == [0, 3, 9]
    with pytest.raises(ValueError, match="below 0"):
        bits.add(-1)


def test_numbers_as_ranges() -> None:
    assert ranges([5, 1, 2, 3, 7, 8]) == [[1, 3], [5, 5], [7, 8]]


def test_what_is_no_ledger_is_refused() -> None:
    with pytest.raises(ValueError, match="no line of a ledger"):
        parse_ledger(['{"other": 1}'])
    with pytest.raises(ValueError, match="write 3 of client c is not the next one"):
        parse_ledger(['{"write": {"client": "c", "seq": 3, "sent": 1.0, "fate": "Sent"}}'])


def test_a_write_takes_few_bytes_to_keep_and_none_to_judge() -> None:
    tracemalloc.start()
    try:
        history, backs = History(), ReadBack(1801.0, {f"c{n}": Bits(range(3000)) for n in range(4)})
        for number in range(4):
            client = history.client(f"c{number}")
            for seq in range(3000):
                client.send(seq / 20 + number / 80)
                client.end(seq / 20 + number / 80 + 0.002, Fate.ACKNOWLEDGED, node="a")
        found = judge(history, [backs, backs], Span(75.0, 150.0))
        lines = sum(1 for _ in ledger_lines(history, [backs]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.acknowledged, found.losses.lost.count, lines) == (12_000, 0, 12_001)
    assert peak < 12_000 * 60  # four clients with 20 writes a second each come to 9 MiB in half an hour
