"""The operator is killed at every single write of every scenario, and the end is the same as without."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from support.chaoskube import Fault, Mode
from support.cluster import Cluster
from support.operator import Rig
from support.operator_scenarios import SCENARIOS
from support.operatordriver import HOUR, Driver
from support.operatorends import WORK, End, end_of

# On a real API server a life takes seconds: so many kills a scenario, the same each time.
KILLS_ON_A_SERVER = int(os.environ.get("DATABOSUN_TEST_KILLS", "3"))


async def play(name: str, fault: Fault | None = None, rig: Callable[[], Rig] = lambda: Rig(None)) -> tuple[End, Driver]:
    made = rig()
    drive = Driver(made, fault)
    try:
        await SCENARIOS[name](drive)
        await drive.idle(HOUR)
        doubled = [agent for agent, times in made.agents.bucket.agents.items() if agent[0] in WORK and times > 1]
        assert not doubled, "two agents were started for one folder"
        return await end_of(made), drive
    finally:
        await made.close()


def faults_of(writes: int) -> list[Fault]:
    """Before the first write, and after each one; or the write is done and nobody hears of it."""
    faults = [Fault(1, Mode.KILL_BEFORE)]
    for number in range(1, writes + 1):
        faults += [Fault(number, Mode.KILL_AFTER), Fault(number, Mode.LOSE_ANSWER)]
    return faults


@pytest.mark.parametrize("name", SCENARIOS)
async def test_killed_at_any_write_the_end_is_the_same(name: str) -> None:
    undisturbed, drive = await play(name)
    assert (undisturbed.jobs, undisturbed.pods) == (0, 0)
    writes = [str(write) for write in drive.writes]
    for fault in faults_of(len(writes)):
        end, driven = await play(name, fault)
        assert end == undisturbed, f"{fault} of {writes[fault.write - 1]}: {[str(one) for one in driven.writes]}"
        assert driven.kills == (fault.mode is not Mode.LOSE_ANSWER)


@pytest.mark.api
@pytest.mark.parametrize("name", SCENARIOS)
async def test_on_a_real_api_server_it_is_the_same(name: str, kinds: Cluster, new_namespace: Callable[[], str]) -> None:
    def rig() -> Rig:
        return Rig(kinds.kubeconfig, new_namespace())

    in_memory, drive = await play(name)
    faults = faults_of(len(drive.writes))
    chosen = random.Random(name).sample(faults, min(KILLS_ON_A_SERVER, len(faults)))
    for fault in chosen:
        end, _ = await play(name, fault, rig)
        assert end == in_memory, f"{fault}"
