"""Whatever happened to the writes, the ledger counts exactly that; and it accuses nobody whom one primary explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise, product

from hypothesis import example, given
from hypothesis import strategies as st

from databosun.domain.ledger import Bits, Claim, Fate, History, ReadBack
from databosun.domain.ledgerjudge import Span, judge
from databosun.domain.ledgerlines import ledger_lines, parse_ledger
from databosun.domain.ledgerturns import find_split_brain


class Truth(Enum):
    """What really became of a write."""

    KEPT = "committed, acknowledged, kept"
    LOST = "acknowledged, gone with the old primary"
    LOST_AND_BACK = "acknowledged, gone, back with the rejoin"
    GONE_BY_REJOIN = "acknowledged, kept by the promotion, gone with the rejoin"
    REFUSED = "refused, not done"
    PHANTOM = "refused, done all the same"
    IN_DOUBT_DONE = "connection lost after the commit"
    IN_DOUBT_NOT = "connection lost before the commit"
    PENDING_DONE = "no answer by the end, done"


FATES = {
    Truth.KEPT: Fate.ACKNOWLEDGED, Truth.LOST: Fate.ACKNOWLEDGED, Truth.LOST_AND_BACK: Fate.ACKNOWLEDGED,
    Truth.GONE_BY_REJOIN: Fate.ACKNOWLEDGED, Truth.REFUSED: Fate.FAILED, Truth.PHANTOM: Fate.FAILED,
    Truth.IN_DOUBT_DONE: Fate.UNKNOWN, Truth.IN_DOUBT_NOT: Fate.UNKNOWN,
}  # fmt: skip
FIRST_ABSENT = {Truth.LOST, Truth.LOST_AND_BACK, Truth.REFUSED, Truth.IN_DOUBT_NOT}
SECOND_ABSENT = {Truth.LOST, Truth.GONE_BY_REJOIN, Truth.REFUSED, Truth.IN_DOUBT_NOT}


@dataclass(frozen=True)
class Step:
    """One write of a client. `visible`: one on its way while the rows are read is seen."""

    pause: float
    took: float
    truth: Truth
    visible: bool


SECONDS = st.floats(0.001, 2.0)
STEPS = st.builds(
    Step, SECONDS, SECONDS, st.sampled_from([t for t in Truth if t is not Truth.PENDING_DONE]), st.booleans()
)
CLIENTS = st.dictionaries(st.sampled_from(["one", "two", "three", "four"]), st.lists(STEPS, max_size=25), min_size=1)


@dataclass
class World:
    """What happened, and what it looks like."""

    history: History
    truths: dict[tuple[str, int], tuple[Truth, float, float, bool]]

    def present(self, absent: set[Truth], began: float) -> dict[str, Bits]:
        rows: dict[str, Bits] = {}
        for (client, seq), (truth, sent, ended, visible) in self.truths.items():
            if truth not in absent and (ended <= began or (sent < began and visible)):
                rows.setdefault(client, Bits()).add(seq)
        return rows


def happen(clients: dict[str, list[Step]], *, pending: bool) -> World:
    world = World(History(), {})
    for name, steps in clients.items():
        at = 0.0
        for step in steps:
            sent, ended = at + step.pause, at + step.pause + step.took
            seq = world.history.client(name).send(sent)
            world.history.client(name).end(ended, FATES[step.truth], node="a", error="x")
            world.truths[name, seq] = (step.truth, sent, ended, step.visible)
            at = ended
        if pending:
            seq = world.history.client(name).send(at)
            world.truths[name, seq] = (Truth.PENDING_DONE, at, at, True)
    return world


@given(CLIENTS, st.floats(0, 60), st.floats(0, 60), st.booleans())
def test_every_write_is_counted_as_what_became_of_it(
    clients: dict[str, list[Step]], first: float, later: float, pending: bool
) -> None:
    world = happen(clients, pending=pending)
    second = first + later
    backs = [
        ReadBack(first, world.present(FIRST_ABSENT, first)),
        ReadBack(second, world.present(SECOND_ABSENT, second)),
    ]
    found = judge(world.history, backs, Span(0.0, 100.0))

    truths = [(truth, ended, (client, seq)) for (client, seq), (truth, _, ended, _) in world.truths.items()]
    held = [{(client, seq) for client, rows in back.present.items() for seq in rows} for back in backs]
    acknowledged = [one for one in truths if FATES.get(one[0]) is Fate.ACKNOWLEDGED]
    # What the first read-back had to hold is lost where its truth says so; what only the second had to, likewise.
    lost = [
        one for one in acknowledged
        if (one[1] <= first and one[0] in {Truth.LOST, Truth.LOST_AND_BACK})
        or (first < one[1] <= second and one[0] in {Truth.LOST, Truth.GONE_BY_REJOIN} and one[2] not in held[0])
    ]  # fmt: skip
    assert found.losses.lost.count == len(lost)
    assert found.losses.reappeared == sum(one[2] in held[1] for one in lost)
    assert found.losses.rejoin_lost.count == len(held[0] - held[1])
    assert found.losses.unchecked == sum(one[1] > second for one in acknowledged)
    assert found.losses.phantom.count == sum(
        truth is Truth.PHANTOM and (row in held[0] or row in held[1]) for truth, _, row in truths
    )
    assert found.acknowledged == len(acknowledged)
    assert found.unexplained == 0
    in_doubt = {Truth.IN_DOUBT_DONE, Truth.IN_DOUBT_NOT, Truth.PENDING_DONE}
    assert found.unknown == sum(truth in in_doubt for truth, _, _ in truths)


@given(CLIENTS, st.data())
def test_each_injected_loss_is_found_and_nothing_else(clients: dict[str, list[Step]], data: st.DataObject) -> None:
    kept = {
        name: [Step(one.pause, one.took, Truth.KEPT, one.visible) for one in steps] for name, steps in clients.items()
    }
    world = happen(kept, pending=False)
    rows = sorted(world.truths)
    taken = data.draw(st.sets(st.sampled_from(rows))) if rows else set()
    present: dict[str, Bits] = {}
    for client, seq in rows:
        if (client, seq) not in taken:
            present.setdefault(client, Bits()).add(seq)
    losses = judge(world.history, [ReadBack(1000.0, present)], Span(0.0, 1000.0)).losses
    assert losses.lost.count == len(taken)
    assert {(one.client, one.seq) for one in losses.lost.sample} <= taken


@given(CLIENTS, st.booleans())
def test_a_ledger_says_the_same_after_it_was_written_down(clients: dict[str, list[Step]], pending: bool) -> None:
    world = happen(clients, pending=pending)
    backs = [ReadBack(20.0, world.present(FIRST_ABSENT, 20.0))]
    seen = [Claim("a", 1.0, 2.0), Claim("b", 2.5, 2.75)]
    history, read_backs, claims = parse_ledger(ledger_lines(world.history, backs, seen))
    again = judge(history, read_backs, Span(0.0, 100.0), [claims])
    before = judge(world.history, backs, Span(0.0, 100.0), [seen])
    assert (again.losses.lost.count, again.acknowledged, again.unknown, again.split_brain is None) == (
        before.losses.lost.count, before.acknowledged, before.unknown, before.split_brain is None,
    )  # fmt: skip
    assert abs(again.downtime.seconds - before.downtime.seconds) < 0.00001


@given(st.floats(0.05, 20.0), st.floats(11.0, 15.0), st.integers(1, 4), st.sampled_from([0.02, 0.05, 0.2]))
def test_downtime_is_never_less_than_the_truth_and_more_by_a_write_at_most(
    outage: float, began: float, clients: int, pace: float
) -> None:
    history, until = History(), began + outage + 5.0
    for number in range(clients):
        client, at = history.client(f"c{number}"), number * pace / clients
        while at < until:
            client.send(at)
            down = began <= at + 0.001 < began + outage
            client.end(at + 0.001, Fate.FAILED if down else Fate.ACKNOWLEDGED)
            at += pace
    found = judge(history, [], Span(10.0, until)).downtime
    assert found.resumed
    assert outage - 1e-6 <= found.seconds or outage < pace
    assert found.seconds <= outage + 2 * pace + 1e-6


NODES = ("a", "b")


@given(
    st.lists(st.floats(0.5, 10.0), max_size=5),
    st.lists(st.lists(st.tuples(SECONDS, SECONDS, st.floats(0, 1)), max_size=20), max_size=4),
)
def test_one_primary_after_the_other_is_never_a_split_brain(
    reigns: list[float], clients: list[list[tuple[float, float, float]]]
) -> None:
    ends = [sum(reigns[: number + 1]) for number in range(len(reigns))]

    def primary(at: float) -> str:
        return NODES[sum(end <= at for end in ends) % 2]

    streams = []
    for steps in clients:
        claims, at = [], 0.0
        for pause, took, when in steps:
            began, ended = at + pause, at + pause + took
            claims.append(Claim(primary(began + when * (ended - began)), began, ended))
            at = ended
        streams.append(claims)
    assert find_split_brain(streams, handovers=len(reigns)) is None


REIGNS = sorted(product((0, 1), repeat=10), key=lambda reign: sum(one != other for one, other in pairwise(reign)))


def fewest_handovers(claims: Sequence[Claim]) -> int:
    """By trying everything: who is primary at each instant, so that each claim has its node within its time."""
    wanted = [(NODES.index(one.node), slice(int(one.began), int(one.ended) + 1)) for one in claims]
    reign = next(reign for reign in REIGNS if all(node in reign[within] for node, within in wanted))
    return sum(one != other for one, other in pairwise(reign))


@given(st.permutations(range(10)), st.lists(st.sampled_from(NODES), min_size=5, max_size=5))
@example(list(range(10)), ["a", "b", "a", "b", "a"])
@example([0, 2, 1, 3, 4, 6, 5, 8, 7, 9], ["a", "b", "a", "b", "a"])
def test_a_split_brain_is_found_just_where_no_order_of_primaries_explains_the_claims(
    instants: list[int], nodes: list[str]
) -> None:
    pairs = [sorted(instants[at : at + 2]) for at in range(0, 10, 2)]
    claims = [Claim(node, began, ended) for node, (began, ended) in zip(nodes, pairs, strict=True)]
    fewest = fewest_handovers(claims)
    assert find_split_brain([[one] for one in claims], fewest) is None
    if fewest:
        found = find_split_brain([[one] for one in claims], fewest - 1)
        assert found is not None
        assert found.handovers == fewest
        assert all(one.ended < after.began for one, after in pairwise(found.turns))
        assert all(one.node != after.node for one, after in pairwise(found.turns))
