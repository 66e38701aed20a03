"""The operator is killed at every single write of every scenario, and the end is the same as without."""

from __future__ import annotations

import pytest

from support.chaoskube import Fault, Mode
from support.operator import Rig
from support.operator_scenarios import HOUR, SCENARIOS, Driver, End, end_of


async def play(name: str, fault: Fault | None = None) -> tuple[End, Driver]:
    rig = Rig(None)
    drive = Driver(rig, fault)
    try:
        await SCENARIOS[name](drive)
        await drive.idle(HOUR)
        doubled = [agent for agent, times in rig.agents.bucket.agents.items() if agent[0] == "backup" and times > 1]
        assert not doubled, "two agents were started for one folder"
        return await end_of(rig), drive
    finally:
        await rig.close()


@pytest.mark.parametrize("name", SCENARIOS)
async def test_killed_at_any_write_the_end_is_the_same(name: str) -> None:
    undisturbed, drive = await play(name)
    assert (undisturbed.jobs, undisturbed.pods) == (0, 0)
    writes = [str(write) for write in drive.writes]
    faults = [Fault(1, Mode.KILL_BEFORE)]
    for number in range(1, len(writes) + 1):
        faults += [Fault(number, Mode.KILL_AFTER), Fault(number, Mode.LOSE_ANSWER)]
    for fault in faults:
        end, driven = await play(name, fault)
        assert end == undisturbed, f"{fault} of {writes[fault.write - 1]}: {[str(one) for one in driven.writes]}"
        assert driven.kills == (fault.mode is not Mode.LOSE_ANSWER)
