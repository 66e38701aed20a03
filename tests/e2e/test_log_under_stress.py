"""While a database is written all the time, its archiver is killed again and again, and its store goes away."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from support.faultproxy import Act, Fault, FaultProxy
from support.stackfaults import store_proxy
from support.stackplace import Place, ask_for_drill, database_of, policy, storage
from support.stacksource import CONTINUOUS, Commits, Shipping, Source, now

pytestmark = pytest.mark.e2e

KILLS = 6
MAX_LAG = timedelta(seconds=5)
SEEN_WITHIN = MAX_LAG + timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Stressed:
    """A server that is written all the time, and what lies between its archiver and the store."""

    place: Place
    source: Source
    shipping: Shipping
    commits: Commits
    proxy: FaultProxy

    def demand_truth(self) -> None:
        """Within a minute the status holds what was committed up to now, and no gap."""
        began = now()
        committed = self.commits.acknowledged[-1][1]
        self.place.wait("the status is true again", lambda: self.shipping.latest() >= committed, 60)
        self.place.wait("all is well", lambda: self.shipping.health() == ("True", "Archiving"), 60)
        assert now() - began <= MINUTE
        assert self.shipping.gaps() == []


@pytest.fixture(scope="module")
def stressed(place: Place) -> Iterator[Stressed]:
    source = Source(place).start(settings="max_slot_wal_keep_size = '1GB'")
    with store_proxy(place.stack) as proxy:
        place.apply(storage("proxied", proxy.endpoint, s3={"prefix": "stressed"}))
        kept = {"storageRef": {"name": "proxied"}, "continuous": CONTINUOUS}
        place.apply(database_of("orders", source.host, objectives={"rpo": "2m"}), policy("orders", **kept))
        shipping = Shipping(place)
        shipping.wait_until_healthy()
        with Commits(source, every=0.02) as commits:
            yield Stressed(place, source, shipping, commits, proxy)


def test_killed_again_and_again_it_leaves_no_gap(stressed: Stressed) -> None:
    place, before = stressed.place, len(stressed.commits.acknowledged)
    for _ in range(KILLS):
        found = stressed.shipping.pod()
        assert found is not None
        where = ("-n", place.namespace, found["metadata"]["name"])
        place.stack.kubectl("delete", "pod", *where, "--grace-period=0", "--force")

        def another(gone: str = found["metadata"]["uid"]) -> bool:
            pod = stressed.shipping.pod()
            return pod is not None and pod["metadata"]["uid"] != gone and pod["status"].get("phase") == "Running"

        place.wait("another pod ships the log", another)
        time.sleep(random.random() * 4)  # it is killed at any moment of its life: while it starts, catches up, ships
    assert len(stressed.commits.acknowledged) > before + 100, "it was written meanwhile"
    stressed.demand_truth()


def test_a_store_that_is_away_is_said_and_made_up_for(stressed: Stressed) -> None:
    place, shipping = stressed.place, stressed.shipping
    fault, began = stressed.proxy.add(Fault(Act.REFUSE)), now()
    try:
        place.wait("the stalled log is seen", lambda: shipping.health()[0] == "False", SEEN_WITHIN.total_seconds())
        status, reason = shipping.health()
        assert (status, reason) == ("False", "StorageFailed"), (status, reason)
        done = len(stressed.commits.acknowledged)
        place.wait("commits go on meanwhile", lambda: len(stressed.commits.acknowledged) > done + 50)
        assert shipping.latest() <= began + MAX_LAG, "nothing is claimed that is not there"
    finally:
        fault.times = 0
    stressed.demand_truth()


def test_every_acknowledged_commit_comes_back_from_the_bucket_alone(stressed: Stressed) -> None:
    """Without a last look: what was acknowledged while the log was shipped, the source vanishes right behind it."""
    stressed.commits.__exit__()
    number = stressed.commits.acknowledged[-1][0]
    stressed.shipping.drained(stressed.source)
    stressed.source.lose()
    all_of_them = {
        "name": "all",
        "type": "Query",
        "database": "orders",
        "query": f"select count(*) || ' ' || max(i) from beats where i <= {number}",
        "value": f"{len(stressed.commits.acknowledged)} {number}",
    }
    selection = {"from": "Latest", "pointInTime": "Latest"}
    ask_for_drill(stressed.place, "all-of-them", "orders", checks=[all_of_them], selection=selection)
    status = stressed.place.verdict("all-of-them")
    assert status["phase"] == "Passed", status
