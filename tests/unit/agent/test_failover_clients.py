"""The clients of a failover test: no more load than the database hardly notices, and a history without a hole."""

from __future__ import annotations

import itertools
import threading

import pytest

from databosun.agent.failovers.clients import MOST_SHARE, SAMPLE_WRITES, Crowd, Way, rate_within
from databosun.api.failoverprobe import ErrorName, PathKind
from databosun.domain.ledger import Fate
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
