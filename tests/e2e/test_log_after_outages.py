"""The operator, the store and the node were away: within a minute the status is true again, and no gap is hidden.

The outages last for moments in `make test`, and an hour, or ten minutes, in `make soak`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from support.cluster import Cluster
from support.clusterapi import Object
from support.length import Length, lasting
from support.stack import SHOP_NAMESPACE, SYSTEM
from support.stackfaults import freeze, processes_of, wake
from support.stackplace import Place, ask_for_drill, database_of, policy
from support.stacksource import CONTINUOUS, Commits, Shipping, Source, now

pytestmark = [pytest.mark.e2e, pytest.mark.disruptive]

SEEN_WITHIN = 5 + 30
OPERATOR = ("-n", SYSTEM, "deployment/databosun")
SLOT = "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
SWITCH = "insert into beats (at) values (now()); select pg_switch_wal(); checkpoint;"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A server whose log is shipped."""

    place: Place
    source: Source
    shipping: Shipping

    def truth_comes_back(self, committed: datetime) -> None:
        """Within a minute it can be said that this commit comes back."""
        self.place.wait("the status is true again", lambda: self.shipping.latest() >= committed, 60)

    def demand_health(self) -> None:
        """Within a minute all is well, without a gap."""
        self.place.wait("all is well", lambda: self.shipping.health() == ("True", "Archiving"), 60)
        assert self.shipping.gaps() == []

    def commit(self) -> datetime:
        """One row; when it was committed at the latest."""
        self.source.sql("insert into beats (at) values (clock_timestamp())")
        return now()


def _ship(place: Place, name: str) -> Shipped:
    source = Source(place, name).start(settings="max_slot_wal_keep_size = '1GB'")
    place.apply(database_of(name, source.host, objectives={"rpo": "2m"}), policy(name, continuous=CONTINUOUS))
    source.sql("create table beats (i bigserial primary key, at timestamptz, filler text)")
    return Shipped(place, source, Shipping(place, name))


@pytest.fixture(scope="module")
def both(place: Place) -> tuple[Shipped, Shipped]:
    made = _ship(place, "orders"), _ship(place, "stock")
    for one in made:
        one.shipping.wait_until_healthy()
    return made


@pytest.fixture(scope="module")
def shipped(both: tuple[Shipped, Shipped]) -> Shipped:
    """The one that everything happens to."""
    return both[0]


@contextmanager
def no_operator(place: Place) -> Iterator[None]:
    """As long as the block lasts; then another one is ready."""
    stack = place.stack
    stack.kubectl("scale", *OPERATOR, "--replicas=0")
    try:
        label = "app.kubernetes.io/component=operator"
        place.wait("no operator is left", lambda: not stack.api.list("pods", SYSTEM, label))
        yield
    finally:
        stack.kubectl("scale", *OPERATOR, "--replicas=1")
        stack.kubectl("rollout", "status", *OPERATOR, "--timeout=120s")


def test_a_store_that_hangs_is_said_and_made_up_for(shipped: Shipped, length: Length, say: Callable[..., None]) -> None:
    place, shipping = shipped.place, shipped.shipping
    (pod,) = place.stack.api.list("pods", SHOP_NAMESPACE, "app=objects")
    with Commits(shipped.source) as commits:
        stopped, began = freeze(pod, "weed"), now()
        try:
            place.wait("the stalled log is seen", lambda: shipping.health()[0] == "False", SEEN_WITHIN)
            seen = now() - began
            for _ in lasting(length.minutes):
                assert shipping.health()[0] == "False"
                assert shipping.latest() - began < timedelta(seconds=5)
        finally:
            wake(stopped)
        woken = now()
        shipped.truth_comes_back(commits.acknowledged[-1][1])
        shipped.demand_health()
    say(minutes=length.minutes, seconds_to_see=_seconds(seen), seconds_to_truth=_seconds(now() - woken))


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 1)


def test_a_node_that_restarts_under_it_costs_no_commit(shipped: Shipped, cluster: Cluster) -> None:
    place, stack = shipped.place, shipped.place.stack
    with Commits(shipped.source) as commits:
        cluster.command("kubelet", "stop")
        try:
            for pod in stack.api.ask("GET", "/api/v1/pods?fieldSelector=metadata.namespace!=kube-system")["items"]:
                _end(pod)
        finally:
            cluster.command("kubelet", "start")
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
    for where in (OPERATOR, ("-n", SHOP_NAMESPACE, "deployment/objects"), ("-n", place.namespace, "deployment/orders")):
        stack.kubectl("rollout", "status", *where, "--timeout=120s")
    place.wait("the source answers", lambda: _answers(shipped.source), 60)
    count = f"select count(*) from beats where i <= {commits.acknowledged[-1][0]} and filler is not null"
    assert int(shipped.source.sql(count)) >= len(commits.acknowledged)
    shipped.truth_comes_back(shipped.commit())
    shipped.demand_health()


def _end(pod: Object) -> None:
    for pid in processes_of(pod):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _answers(source: Source) -> bool:
    with suppress(AssertionError):
        return source.sql("select 1") == "1"
    return False


def test_after_a_time_without_an_operator_the_status_is_true_and_hides_no_gap(
    both: tuple[Shipped, Shipped], length: Length, say: Callable[..., None]
) -> None:
    """A slot is dropped, and the log removed, while nobody looks; the archiver alone saw it. The other log is whole."""
    (shipped, whole), place = both, both[0].place
    for one in both:
        one.shipping.drained(one.source)
    with Commits(whole.source, every=1) as commits:
        with no_operator(place):
            before = len(commits.acknowledged)
            _tear(shipped)
            for _ in lasting(length.away_minutes, pause=30):
                for one in both:
                    one.shipping.drained(one.source)
            committed, unseen = shipped.commit(), len(commits.acknowledged) - before
        back = now()
        whole.truth_comes_back(commits.acknowledged[-1][1])
        whole.demand_health()
        place.wait("the gap stands in the status", lambda: len(shipped.shipping.gaps()) == 1, 60)
        truth = now() - back
    shipped.shipping.wait_until_healthy()
    shipped.truth_comes_back(committed)
    (gap,) = shipped.shipping.gaps()
    assert gap["reason"] in {"SlotLost", "WalRemoved"}, gap
    assert datetime.fromisoformat(gap["to"]) <= committed
    assert truth <= timedelta(minutes=1)
    say(minutes=length.away_minutes, commits=unseen, seconds_to_truth=_seconds(truth), gap=gap)


def _tear(shipped: Shipped) -> None:
    """Have its log lose a part while its archiver is away, and the archiver come back."""
    place, source, shipping = shipped.place, shipped.source, shipped.shipping
    name = place.status("databases", source.name)["archiver"]["name"]
    archiver = ("-n", place.namespace, f"deployment/{name}")
    place.stack.kubectl("scale", *archiver, "--replicas=0")
    place.wait("no archiver is left", lambda: shipping.pod() is None)
    place.wait("nobody holds the slot", lambda: source.sql("select bool_or(active) from pg_replication_slots") == "f")
    source.sql(SLOT)
    for _ in range(3):
        source.sql(SWITCH)
    place.stack.kubectl("scale", *archiver, "--replicas=1")
    place.wait("the archiver ships again", lambda: bool(shipping.line().get("gaps")))


def test_after_all_that_everything_that_is_there_comes_back(both: tuple[Shipped, Shipped]) -> None:
    for one in both:
        one.shipping.drained(one.source)
        query = "select count(*) from beats"
        check = {"name": "rows", "type": "Query", "database": "orders", "query": query, "value": one.source.sql(query)}
        one.source.lose()
        latest = {"from": "Latest", "pointInTime": "Latest"}
        ask_for_drill(one.place, f"after-all-{one.source.name}", one.source.name, checks=[check], selection=latest)
    for one in both:
        status = one.place.verdict(f"after-all-{one.source.name}")
        assert status["phase"] == "Passed", status
