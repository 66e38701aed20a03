"""The operator, the store and the node were away: within a minute the status is true again, and no gap is hidden.

The outages are shorter than those that people fear (an hour, ten minutes): what grows with their length is tried in
memory, where a clock can be turned. Here it is that every part finds back by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import pytest

from support.cluster import Cluster
from support.clusterapi import Object
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

    def commit(self) -> datetime:
        """One row; when it was committed at the latest."""
        self.source.sql("insert into beats (at) values (clock_timestamp())")
        return now()


@pytest.fixture(scope="module")
def shipped(place: Place) -> Shipped:
    source = Source(place).start(settings="max_slot_wal_keep_size = '1GB'")
    place.apply(database_of("orders", source.host, objectives={"rpo": "2m"}), policy("orders", continuous=CONTINUOUS))
    source.sql("create table beats (i bigserial primary key, at timestamptz, filler text)")
    shipping = Shipping(place)
    shipping.wait_until_healthy()
    return Shipped(place, source, shipping)


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


def test_a_store_that_hangs_is_said_and_made_up_for(shipped: Shipped) -> None:
    place, shipping = shipped.place, shipped.shipping
    (pod,) = place.stack.api.list("pods", SHOP_NAMESPACE, "app=objects")
    with Commits(shipped.source) as commits:
        stopped, began = freeze(pod, "weed"), now()
        try:
            place.wait("the stalled log is seen", lambda: shipping.health()[0] == "False", SEEN_WITHIN)
            assert shipping.latest() <= now()
            assert shipping.latest() < began or (shipping.latest() - began).total_seconds() < 5
        finally:
            wake(stopped)
        shipped.truth_comes_back(commits.acknowledged[-1][1])
        place.wait("all is well", lambda: shipping.health() == ("True", "Archiving"), 60)
    assert shipping.gaps() == []


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
    place.wait("all is well", lambda: shipped.shipping.health() == ("True", "Archiving"), 60)
    assert shipped.shipping.gaps() == []


def _end(pod: Object) -> None:
    for pid in processes_of(pod):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _answers(source: Source) -> bool:
    with suppress(AssertionError):
        return source.sql("select 1") == "1"
    return False


def test_a_gap_of_the_time_without_an_operator_is_not_hidden(shipped: Shipped) -> None:
    """The slot is dropped, and the log removed, while nobody looks; the archiver alone saw it."""
    place, source, shipping = shipped.place, shipped.source, shipped.shipping
    name = place.status("databases", "orders")["archiver"]["name"]
    archiver = ("-n", place.namespace, f"deployment/{name}")
    shipping.drained(source)
    with no_operator(place):
        place.stack.kubectl("scale", *archiver, "--replicas=0")
        place.wait("no archiver is left", lambda: shipping.pod() is None)
        place.wait(
            "nobody holds the slot", lambda: source.sql("select bool_or(active) from pg_replication_slots") == "f"
        )
        source.sql(SLOT)
        for _ in range(3):
            source.sql(SWITCH)
        place.stack.kubectl("scale", *archiver, "--replicas=1")
        place.wait("the archiver ships again", lambda: bool(shipping.line().get("gaps")))
        committed = shipped.commit()
    place.wait("the gap stands in the status", lambda: len(shipping.gaps()) == 1, 60)
    shipping.wait_until_healthy()
    shipped.truth_comes_back(committed)
    (gap,) = shipping.gaps()
    assert gap["reason"] in {"SlotLost", "WalRemoved"}, gap
    assert datetime.fromisoformat(gap["to"]) <= committed


def test_after_all_that_everything_that_is_there_comes_back(shipped: Shipped) -> None:
    shipped.shipping.drained(shipped.source)
    rows = shipped.source.sql("select count(*) from beats")
    shipped.source.lose()
    check = {
        "name": "rows",
        "type": "Query",
        "database": "orders",
        "query": "select count(*) from beats",
        "value": rows,
    }
    latest = {"from": "Latest", "pointInTime": "Latest"}
    ask_for_drill(shipped.place, "after-all", "orders", checks=[check], selection=latest)
    status = shipped.place.verdict("after-all")
    assert status["phase"] == "Passed", status
