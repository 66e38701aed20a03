"""The clocks: the real one, and the one that tests move."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from databosun.runtime.clock import Clock, SystemClock
from support.clock import FakeClock


async def test_the_system_clock_is_aware_and_waits() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.02


async def test_the_system_clock_says_whether_the_event_came() -> None:
    clock = SystemClock()
    event = asyncio.Event()
    assert await clock.wait(event, 0.01) is False
    event.set()
    assert await clock.wait(event, None) is True


async def test_sleepers_wake_in_the_order_due_and_only_when_due() -> None:
    clock: FakeClock = FakeClock("2026-03-01T12:00:00Z")
    woken: list[str] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(f"{seconds} {clock.now():%M:%S}")

    tasks = [asyncio.ensure_future(sleeper(seconds)) for seconds in (90, 30, 60)]
    await clock.advance(59)
    assert woken == ["30 00:30"]
    await clock.advance(timedelta(seconds=31))
    assert woken == ["30 00:30", "60 01:00", "90 01:30"]
    await asyncio.gather(*tasks)


async def test_a_chain_of_sleeps_runs_within_one_advance() -> None:
    clock = FakeClock()
    ticks = 0

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await clock.sleep(10)
            ticks += 1

    task = asyncio.ensure_future(ticker())
    await clock.advance(100)
    assert ticks == 10
    task.cancel()


async def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    clock = FakeClock()
    event = asyncio.Event()
    waiting = asyncio.ensure_future(clock.wait(event, 10))
    await clock.advance(9)
    assert not waiting.done()
    event.set()
    await clock.settle()
    assert waiting.result() is True
    event.clear()
    waiting = asyncio.ensure_future(clock.wait(event, 10))
    await clock.advance(10)
    assert waiting.result() is False


async def test_a_jump_wakes_nobody() -> None:
    clock = FakeClock()
    sleeping = asyncio.ensure_future(clock.sleep(10))
    await clock.settle()
    clock.jump(timedelta(days=1))
    await clock.settle()
    assert not sleeping.done()
    await clock.advance(10)
    assert sleeping.done()


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    sleeping = asyncio.ensure_future(clock.sleep(10))
    await clock.settle()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert clock.sleepers == 0
    await clock.advance(20)
