"""The operator, killed again and again while slots come and backups expire: no run is lost, none is doubled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from databosun.domain.database import slot_of
from support.chaoskube import Fault, Mode
from support.cluster import Cluster
from support.length import Length
from support.objects import database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, ready
from support.operatorlife import Pair, Process

pytestmark = pytest.mark.soak
DATABASES = 5
# A life ends at one of its first writes so many: some in the middle of a rush, some in that of a retention.
WRITES = 40


class Deadly(Driver):
    """Each life but the last gets a fault of its own."""

    def __init__(self, rig: Rig, faults: Iterator[Fault]) -> None:
        super().__init__(rig, workers=4)
        self._faults = faults

    async def process(self) -> Process | Pair:
        if self._process is None:
            self._fault = next(self._faults, None)
        return await super().process()


def faults(count: int) -> Iterator[Fault]:
    chance = random.Random(count)
    modes = (Mode.KILL_BEFORE, Mode.KILL_AFTER)
    for _ in range(count):
        yield Fault(chance.randint(1, WRITES), chance.choice(modes))


async def killed_all_along(rig: Rig, kills: int) -> dict[str, int]:
    """Hourly slots of several databases, with retention, for as long as there are kills left; the figures."""
    drive = Deadly(rig, faults(kills))
    try:
        await rig.create(storage(maxConcurrentRuns=DATABASES))
        for number in range(DATABASES):
            name = f"db{number}"
            rules = {"retention": {"keepLast": 6, "grace": "0s"}, "jitter": "0s", "deletionPolicy": "Delete"}
            await rig.create(database(name))
            await rig.create(policy(f"p{number}", "0 * * * *", databaseRef={"name": name}, **rules))
        await drive.until(lambda: ready(rig))
        begun = rig.clock.now()
        while drive.kills < kills:
            await drive.idle(6 * HOUR)
        await drive.idle(HOUR)
        return account(rig, begun, rig.clock.now()) | {"kills": drive.kills, "lives": len(rig.lives)}
    finally:
        await rig.close()


def account(rig: Rig, begun: datetime, end: datetime) -> dict[str, int]:
    """Every slot of every database was answered by one agent, once."""
    times: Counter[tuple[str, datetime]] = Counter()
    for (task, run, _attempt), count in rig.agents.bucket.agents.items():
        slot = slot_of(run) if task == "backup" else None
        if slot is not None:
            times[run.split("-")[0], slot] += count
    first = begun.replace(minute=0, second=0, microsecond=0) + HOUR
    slots = [first + index * HOUR for index in range(int((end - first) / HOUR) + 1)]
    wanted = {
        (f"db{number}", slot) for number in range(DATABASES) for slot in slots if slot + timedelta(minutes=5) < end
    }
    lost = wanted - times.keys()
    doubled = {at: count for at, count in times.items() if count > 1}
    assert not lost, sorted(lost)[:5]
    assert not doubled, sorted(doubled)[:5]
    return {"slots": len(wanted), "lost": len(lost), "doubled": len(doubled)}


async def test_killed_a_thousand_times_no_run_is_lost_or_doubled(length: Length, say: Callable[..., None]) -> None:
    say(**await killed_all_along(Rig(None), length.kills))


@pytest.mark.api
async def test_the_same_on_a_real_api_server(
    length: Length, kinds: Cluster, namespace: str, say: Callable[..., None]
) -> None:
    say(**await killed_all_along(Rig(kinds.kubeconfig, namespace), length.server_kills))
