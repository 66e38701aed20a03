"""While a database is written all the time, its archiver is killed again and again, and its store goes away.

For moments in `make test`, for ten minutes each in `make soak`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from support.clusterapi import Object
from support.faultproxy import Act, Fault, FaultProxy
from support.length import Length, lasting
from support.stackfaults import end, processes_of, store_proxy
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

    def demand_truth(self) -> float:
        """Within a minute the status holds what was committed up to now, and no gap; the seconds that it took."""
        began = now()
        committed = self.commits.acknowledged[-1][1]
        self.place.wait("the status is true again", lambda: self.shipping.latest() >= committed, 60)
        self.place.wait("all is well", lambda: self.shipping.health() == ("True", "Archiving"), 60)
        took = now() - began
        assert took <= MINUTE
        assert self.shipping.gaps() == []
        return round(took.total_seconds(), 1)

    def demand_commits(self) -> None:
        """The database goes on whatever becomes of its log."""
        done = len(self.commits.acknowledged)
        self.place.wait("commits go on", lambda: len(self.commits.acknowledged) > done + 50)

    def archiver(self) -> Object | None:
        """Its pod, once it has begun."""
        pod = self.shipping.pod()
        return pod if pod is not None and pod["status"].get("phase") == "Running" else None

    def kill_archiver(self) -> None:
        """All of its processes, in mid-sentence; without the pod, whose restarts would be put off longer and longer."""
        pod = self.archiver()
        assert pod is not None
        end(list(processes_of(pod)))
        where = ("-n", self.place.namespace, pod["metadata"]["name"])
        self.place.stack.kubectl("delete", "pod", *where, "--grace-period=0", "--force")

        def another() -> bool:
            found = self.archiver()
            return found is not None and found["metadata"]["uid"] != pod["metadata"]["uid"]

        self.place.wait("another pod ships the log", another)


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


def test_killed_again_and_again_it_leaves_no_gap(stressed: Stressed, length: Length, say: Callable[..., None]) -> None:
    before, kills, until = len(stressed.commits.acknowledged), 0, time.monotonic() + 60 * length.minutes
    while kills < KILLS or time.monotonic() < until:
        stressed.kill_archiver()
        kills += 1
        time.sleep(random.random() * 4)  # it is killed at any moment of its life: while it starts, catches up, ships
    commits = len(stressed.commits.acknowledged) - before
    assert commits > 100, "it was written meanwhile"
    say(minutes=length.minutes, kills=kills, commits=commits, seconds_to_truth=stressed.demand_truth())


def test_a_store_that_is_away_is_said_and_made_up_for(
    stressed: Stressed, length: Length, say: Callable[..., None]
) -> None:
    place, shipping = stressed.place, stressed.shipping
    fault, began = stressed.proxy.add(Fault(Act.REFUSE)), now()
    try:
        place.wait("the stalled log is seen", lambda: shipping.health()[0] == "False", SEEN_WITHIN.total_seconds())
        seen = now() - began
        for _ in lasting(length.minutes):
            assert shipping.health() == ("False", "StorageFailed")
            assert shipping.latest() <= began + MAX_LAG, "nothing is claimed that is not there"
            stressed.demand_commits()
    finally:
        fault.times = 0
    truth = stressed.demand_truth()
    say(minutes=length.minutes, seconds_to_see=round(seen.total_seconds(), 1), seconds_to_truth=truth)


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
