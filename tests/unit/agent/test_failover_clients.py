"""The clients of a failover test: no more load than the database hardly notices, and a history without a hole."""

from __future__ import annotations

import itertools
import threading

import pytest

from databosun.agent.failovers.clients import (
    MOST_CLAIMS,
    MOST_SHARE,
    SAMPLE_WRITES,
    WATCH_SECONDS,
    Crowd,
    Eye,
    Way,
    rate_within,
)
from databosun.agent.failovers.paths import LONGEST_EXAMPLE, Shown
from databosun.agent.redact import MASK, Redactor
from databosun.api.failoverprobe import ErrorName, PathKind
from databosun.domain.ledger import Fate
from databosun.domain.ledgerturns import find_split_brain
from databosun.engines.failover import ProbeError


class Server:
    """Takes a while for each write. `ill_from`: the number of the write from which it answers none."""

    node: str | None = "n1"

    def __init__(self, ill_from: int = 1_000_000) -> None:
        self.at = 0.0
        self.taken = 0
        self._ill_from = ill_from
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.at

    def write(self, seq: int) -> None:
        with self._lock:
            self.at += 0.01
            if seq >= self._ill_from:
                raise ProbeError("gone", "no answer", Fate.UNKNOWN, broken=True)
            self.taken += 1

    def read(self) -> None: ...

    def close(self) -> None: ...


def crowd_at(server: Server, clients: int = 2) -> Crowd:
    crowd = Crowd(server.clock)
    crowd.add_writers(Way("service", lambda _: server), clients)
    return crowd


def test_a_sample_tells_what_the_database_takes_from_all_clients_together() -> None:
    server = Server()
    crowd = crowd_at(server)
    assert crowd.sample() == pytest.approx(100.0)
    assert server.taken == 2 * (SAMPLE_WRITES + 1)
    assert [one.count_acknowledged(0.0) for one in crowd.writes.clients.values()] == [SAMPLE_WRITES + 1] * 2


def test_a_database_that_answers_nothing_has_no_capacity_and_is_not_asked_on() -> None:
    crowd = crowd_at(Server(ill_from=0))
    assert crowd.sample() == 0.0
    assert [len(one) for one in crowd.writes.clients.values()] == [2, 2]


def test_one_that_stops_answering_is_told_by_what_it_answered() -> None:
    crowd = crowd_at(Server(ill_from=11), clients=1)
    assert crowd.sample() == pytest.approx(10 / 0.11)


def test_a_write_is_credited_to_whoever_answered_it_in_the_end() -> None:
    class Moved(Server):
        def write(self, seq: int) -> None:
            super().write(seq)
            self.node = "n2"

    crowd = crowd_at(Moved(), clients=1)
    crowd.sample()
    assert {one.node for one in crowd.writes} == {"n2"}


def test_what_a_thread_dies_of_is_raised() -> None:
    class Broken(Server):
        def write(self, seq: int) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crowd_at(Broken()).sample()


@pytest.mark.parametrize(
    ("asked", "clients", "capacity", "rate"),
    [(20.0, 4, 100_000.0, 20.0), (20.0, 4, 4000.0, 10.0), (20.0, 8, 4000.0, 5.0), (20.0, 4, 0.0, 20.0)],
)
def test_clients_stay_within_their_share(asked: float, clients: int, capacity: float, rate: float) -> None:
    assert rate_within(asked, clients, capacity) == rate


def test_the_share_is_a_hundredth_whatever_is_asked_for() -> None:
    for asked, clients, capacity in itertools.product((1.0, 200.0), (1, 16), (10.0, 1e4, 1e6)):
        assert clients * rate_within(asked, clients, capacity) <= max(MOST_SHARE * capacity, 0.0) + 1e-9


def test_a_way_by_which_nobody_gets_through_is_named_whatever_others_do() -> None:
    server = Server()

    def refuse(_: int) -> Server:
        raise ProbeError("ConnectionRefused", "nobody listens", Fate.FAILED, broken=True)

    crowd = Crowd(server.clock)
    crowd.add_writers(Way("service", lambda _: server), 2)
    crowd.add_writers(Way("pooler", refuse, PathKind.POOLER), 2)
    crowd.sample()
    (silent,) = crowd.silent_ways(0.0)
    assert (silent.name, crowd.examples(silent)) == ("pooler", ["ConnectionRefused: nobody listens"])
    assert crowd.writers[2].met["ConnectionRefused"][0] is ErrorName.CONNECTION_REFUSED
    assert [one.broken for one in crowd.writers] == [0, 0, 0, 0]  # nobody was connected


class Node:
    """Says that it takes writes while `leads`. A second goes by between two looks of its watcher's clock."""

    def __init__(self) -> None:
        self.leads = True

    def takes_writes(self) -> bool:
        return self.leads

    def close(self) -> None: ...


def look(eyes: list[Eye], at: float) -> None:
    """All of them once, one after the other, within a tick."""
    for number, eye in enumerate(eyes):
        instants = iter((at + 0.01 * number, at + 0.01 * number + 0.005))
        eye.step(lambda instants=instants: next(instants))  # type: ignore[misc]


def test_a_second_primary_is_seen_however_late_it_comes() -> None:
    """After an hour, and for five seconds, and only those who watch see it."""
    first, second = Node(), Node()
    eyes = [Eye("a", lambda: first), Eye("b", lambda: second)]
    ticks = int(3600 / WATCH_SECONDS)
    for tick in range(ticks):
        second.leads = tick >= ticks - 5 / WATCH_SECONDS
        look(eyes, tick * WATCH_SECONDS)
    assert all(len(eye.claims) < MOST_CLAIMS for eye in eyes)
    assert (eyes[0].took, eyes[1].took) == (ticks, int(5 / WATCH_SECONDS))
    proof = find_split_brain([eye.claims for eye in eyes], handovers=2)
    assert proof
    assert {claim.node for claim in proof.turns} == {"a", "b"}


def test_what_is_let_go_of_claims_invents_no_second_primary() -> None:
    first, second = Node(), Node()
    eyes = [Eye("a", lambda: first), Eye("b", lambda: second)]
    for tick in range(3 * MOST_CLAIMS):
        first.leads = tick < 2 * MOST_CLAIMS
        second.leads = not first.leads
        look(eyes, tick * WATCH_SECONDS)
    assert find_split_brain([eye.claims for eye in eyes], handovers=1) is None
    assert find_split_brain([eye.claims for eye in eyes], handovers=0)


@pytest.mark.parametrize("before", range(LONGEST_EXAMPLE - 20, LONGEST_EXAMPLE + 1, 5))
def test_a_secret_at_the_end_of_what_is_shown_of_an_error_is_masked_before_that_is_cut(before: int) -> None:
    secret = "pa55word-of-the-writer"
    said = f"{'x' * (before - len('Odd: '))}{secret} is refused"

    def refuse(_: int = 0) -> Server:
        raise ProbeError("Odd", said, Fate.FAILED, broken=True)

    crowd = Crowd(Server().clock)
    crowd.add_writers(Way("service", refuse), 1)
    crowd.add_eye("n1", refuse)  # type: ignore[arg-type]
    crowd.sample()
    crowd.eyes[0].step(Server().clock)
    (instance,) = Shown(crowd, Redactor([secret]).text).instances(0.0)
    (error,) = instance.errors
    assert error.example == f"Odd: {said}".replace(secret, MASK)[:LONGEST_EXAMPLE]
    assert "pa55" not in error.example
    assert len(error.example) <= LONGEST_EXAMPLE
