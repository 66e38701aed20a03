"""Events are lost, doubled, late, disordered or stale, or two operators are at work: the end is the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

from support.operator import Rig
from support.operator_scenarios import SCENARIOS
from support.operatordriver import HOUR, MINUTE, Driver
from support.operatorends import WORK, End, end_of
from support.operatorlife import At, Deliver, Event

RESYNC = 10 * MINUTE


class Doubled:
    """Each event comes twice, the second time after all others."""

    def __call__(self, events: list[Event]) -> Iterable[Event]:
        return [*events, *events]


class Backwards:
    """The newest first."""

    def __call__(self, events: list[Event]) -> Iterable[Event]:
        return list(reversed(events))


class Late:
    """Each event comes when the next ones are on their way."""

    def __init__(self) -> None:
        self._held: list[Event] = []

    def __call__(self, events: list[Event]) -> Iterable[Event]:
        out, self._held = self._held, events
        return out


class FromThePast:
    """Behind each event comes the one before it of the same object, as after a list that a stale server answered."""

    def __init__(self) -> None:
        self._before: dict[At, Event] = {}

    def __call__(self, events: list[Event]) -> Iterable[Event]:
        for event in events:
            at = (event.kind, event.body["metadata"]["name"], event.body["metadata"]["uid"])
            yield event
            if at in self._before:
                yield self._before[at]
            self._before[at] = event


class Lossy:
    """Most events are lost; only the list that is made every ten minutes tells."""

    def __init__(self) -> None:
        self._chance = random.Random(7)

    def __call__(self, events: list[Event]) -> Iterable[Event]:
        return [event for event in events if self._chance.random() < 0.3]


DELIVERIES: dict[str, tuple[Callable[[], Deliver], timedelta | None]] = {
    "doubled": (Doubled, None),
    "backwards": (Backwards, None),
    "late": (Late, None),
    "from the past": (FromThePast, None),
    "lossy": (Lossy, RESYNC),
}


async def play(name: str, driver: Callable[[Rig], Driver]) -> End:
    rig = Rig(None)
    drive = driver(rig)
    try:
        await SCENARIOS[name](drive)
        await drive.idle(HOUR)
        doubled = [agent for agent, times in rig.agents.bucket.agents.items() if agent[0] in WORK and times > 1]
        assert not doubled, "two agents were started for one folder"
        return await end_of(rig)
    finally:
        await rig.close()


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_however_events_come_the_end_is_the_same(name: str, delivery: str) -> None:
    make, resync = DELIVERIES[delivery]
    undisturbed = await play(name, Driver)
    assert await play(name, lambda rig: Driver(rig, deliver=make(), resync=resync)) == undisturbed


@pytest.mark.parametrize("name", SCENARIOS)
async def test_two_operators_at_once_start_and_delete_nothing_twice(name: str) -> None:
    undisturbed = await play(name, Driver)
    assert await play(name, lambda rig: Driver(rig, pair=True)) == undisturbed


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_second_look_writes_nothing(name: str) -> None:
    rig = Rig(None)
    drive = Driver(rig)
    try:
        await SCENARIOS[name](drive)
        await drive.idle(HOUR)
        before = len(drive.writes)
        intake = rig.lives[-1].wired.intake
        await intake.resync()
        for at, body in (await rig.everything()).items():
            if at[0] not in ("Job", "Pod"):
                intake.changed(at[0], body)
        await rig.lives[-1].settle()
        assert [str(write) for write in drive.writes[before:]] == []
        # The same after a restart, which knows nothing but what the API server tells.
        again = Driver(rig)
        await again.idle(MINUTE)
        assert [str(write) for write in rig.lives[-1].writes] == []
    finally:
        await rig.close()
