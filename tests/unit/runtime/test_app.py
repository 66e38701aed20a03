"""The operator's start: it waits for the API server, and decides nothing before all is listed."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from databosun.app import FILL_AGAIN, Operator
from databosun.controllers.intake import Intake
from databosun.domain.errors import UserFault, WorldFault
from databosun.runtime.settings import load_settings
from support.clock import FakeClock


class Lists:
    """Lists that fail as told, then succeed."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.asked = 0

    async def fill(self) -> None:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)


async def test_lists_that_take_too_long_are_made_again() -> None:
    clock = FakeClock()
    slow = WorldFault("ApiUnreachable", "no answer")
    lists = Lists(slow, slow)
    filling = asyncio.ensure_future(Operator(load_settings({}), clock)._fill(cast("Intake", lists)))
    for asked in (1, 2):
        await clock.settle()
        assert (lists.asked, filling.done()) == (asked, False)
        await clock.advance(FILL_AGAIN)
    await filling
    assert lists.asked == 3


async def test_a_right_that_is_missing_is_not_waited_for() -> None:
    lists = Lists(UserFault("Forbidden", "list backups"))
    with pytest.raises(UserFault, match="list backups"):
        await Operator(load_settings({}), FakeClock())._fill(cast("Intake", lists))
